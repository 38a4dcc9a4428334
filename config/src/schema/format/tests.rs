//! Formatting keeps what is said, and formatting twice is formatting once: on files that nobody would write.

use std::fmt::Write;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{format, values};
use crate::schema::{
    checker::{Context, check},
    diagnostic::render,
    lexer::lex,
    parser::parse,
    source::{FileId, Sources},
    syntax::{Declaration, Item},
};

/// What a file says, without its layout.
fn meaning(text: &str) -> String {
    let mut meaning = String::new();
    for item in parse(text, FileId::FIRST).file.items {
        match item {
            Item::Import(import) => writeln!(meaning, "import {:?}", import.path).unwrap(),
            Item::Declaration(Declaration { keyword, name, entries, .. }) => {
                let entries: Vec<String> = entries.iter().map(values::flat_entry).collect();
                writeln!(meaning, "{} {} {{{}}}", keyword.as_str(), name.text, entries.join(";")).unwrap();
            }
        }
    }
    meaning
}

fn comments(text: &str) -> Vec<String> {
    let mut comments: Vec<String> = lex(text)
        .1
        .into_iter()
        .map(|comment| {
            text[comment.span.start..comment.span.end].lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
        })
        .collect();
    comments.sort();
    comments
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-zA-Z0-9_]{0,11}",
        select(vec!["model", "type", "event", "import", "now", "true"]).prop_map(str::to_owned)
    ]
}

fn ty() -> impl Strategy<Value = Vec<String>> {
    let base = prop_oneof![
        select(vec!["Int", "String", "Json", "Order", "order"]).prop_map(|name| vec![name.to_owned()]),
        Just(["Map", "<", "Int", ">"].map(str::to_owned).to_vec()),
        Just(["Map", "<", "Map", "<", "X", "[", "]", ">", ">"].map(str::to_owned).to_vec()),
    ];
    (base, 0..3_usize, any::<bool>()).prop_map(|(mut tokens, arrays, optional)| {
        tokens.extend(["[".to_owned(), "]".to_owned()].into_iter().cycle().take(2 * arrays));
        tokens.extend(optional.then(|| "?".to_owned()));
        tokens
    })
}

fn scalar() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        "\"[a-z' /{}:*]{0,12}\"",
        "'[a-z\" ]{0,12}'",
        "-?[0-9]{1,5}(\\.[0-9]{1,3})?",
        "[0-9]{1,4}(ms|s|m|h|d)",
        word(),
    ]
    .prop_map(|token| vec![token])
}

fn comma_separated(items: Vec<Vec<String>>, open: &str, close: &str) -> Vec<String> {
    let mut tokens = vec![open.to_owned()];
    for item in items {
        tokens.extend(item);
        tokens.push(",".to_owned());
    }
    tokens.push(close.to_owned());
    tokens
}

fn value() -> impl Strategy<Value = Vec<String>> {
    scalar().prop_recursive(3, 24, 5, |inner| {
        let entry = (word(), inner.clone()).prop_map(|(name, value)| [vec![name, ":".to_owned()], value].concat());
        prop_oneof![
            vec(inner, 0..6).prop_map(|items| comma_separated(items, "[", "]")),
            vec(entry, 0..5).prop_map(|items| comma_separated(items, "{", "}")),
        ]
    })
}

fn attribute() -> impl Strategy<Value = Vec<String>> {
    (word(), vec(value(), 0..3)).prop_map(|(name, arguments)| {
        let mut tokens = vec!["@".to_owned(), name];
        if !arguments.is_empty() {
            tokens.extend(comma_separated(arguments, "(", ")"));
        }
        tokens
    })
}

fn block(head: String, entries: Vec<Vec<String>>) -> Vec<String> {
    let mut tokens = vec![head, "Name".to_owned(), "{".to_owned()];
    tokens.extend(entries.into_iter().flatten());
    tokens.push("}".to_owned());
    tokens
}

fn declaration() -> impl Strategy<Value = Vec<String>> {
    let field = (word(), any::<bool>(), ty(), vec(attribute(), 0..3)).prop_map(|(name, colon, ty, attributes)| {
        let colon = colon.then(|| ":".to_owned()).into_iter().collect();
        [vec![name], colon, ty, attributes.concat()].concat()
    });
    let property =
        (word(), prop_oneof![value(), ty()]).prop_map(|(name, value)| [vec![name, ":".to_owned()], value].concat());
    let record = (select(vec!["model", "type", "input"]), vec(field, 0..5));
    let properties = (select(vec!["api", "event", "cron", "ws"]), vec(property, 0..5));
    prop_oneof![
        record.prop_map(|(keyword, fields)| block(keyword.to_owned(), fields)),
        properties.prop_map(|(keyword, properties)| block(keyword.to_owned(), properties)),
        vec(word(), 0..4)
            .prop_map(|names| block("enum".to_owned(), names.into_iter().map(|name| vec![name]).collect())),
        Just(vec!["import".to_owned(), "\"a.ro\"".to_owned()]),
    ]
}

fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => Just(" ".to_owned()),
        4 => Just("\n".to_owned()),
        1 => Just("\n\n".to_owned()),
        1 => Just("\r\n  \r\n".to_owned()),
        1 => "//[/ a-z]{0,6}\n",
        1 => " /\\*[ a-z\n]{0,6}\\*/ ",
    ]
}

/// Files that parse, with anything between their tokens.
fn file() -> impl Strategy<Value = String> {
    let tokens = vec(declaration(), 0..4).prop_map(|declarations| declarations.concat());
    (tokens, vec(gap(), 200)).prop_map(|(tokens, gaps)| {
        let mut gaps = gaps.iter().cycle();
        tokens.iter().fold(String::new(), |text, token| text + gaps.next().unwrap() + token) + gaps.next().unwrap()
    })
}

proptest! {
    #[test]
    fn formatting_keeps_meaning_and_comments_and_is_final(text in file()) {
        let Ok(printed) = format("a.ro", &text) else { return Ok(()) };
        prop_assert_eq!(meaning(&text), meaning(&printed));
        prop_assert_eq!(comments(&text), comments(&printed));
        let again = format("a.ro", &printed);
        prop_assert_eq!(again.as_deref().ok(), Some(printed.as_str()));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        answer(&text);
    }

    #[test]
    fn any_value_is_answered(
        schedule in "[-0-9*/,#LWA-Z@? ]{0,24}",
        path in "/?[a-z{}:/.%*? ]{0,24}",
        zone in "[A-Za-z/_+0-9-]{0,16}",
        pattern in "[a-z(){}\\\\\\[\\]?*+|^$.<>:=!0-9-]{0,24}",
        quantity in "[0-9]{1,30}[a-z0-9]{0,6}",
        number in "-?[0-9]{1,400}(\\.[0-9]{1,9})?(e[0-9]{1,4})?",
    ) {
        answer(&format!("cron A {{ schedule: \"{schedule}\" timezone: \"{zone}\" timeout: {quantity} }}"));
        answer(&format!("cron A {{ schedule: \"{} {schedule} * * *\" }}", schedule.len()));
        answer(&format!("ws A {{ path: \"{path}\" }} model B {{ a String @pattern(\"{pattern}\") }}"));
        answer(&format!("event A {{ concurrency: {number} }} model B {{ a Float @min({number}) @default({number}) b Int @default({number}) }}"));
    }

    #[test]
    fn any_mixture_of_tokens_is_answered(words in vec(select(WORDS.to_vec()), 0..80)) {
        answer(&words.join(" "));
        answer(&words.concat());
    }
}

const WORDS: [&str; 52] = [
    "model",
    "type",
    "input",
    "enum",
    "api",
    "event",
    "cron",
    "ws",
    "import",
    "A",
    "B",
    "id",
    "Int",
    "String",
    "Map",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    ":",
    ",",
    "?",
    "@",
    "@@",
    "default",
    "min",
    "now",
    "uuid",
    "\"/a/{id}\"",
    "\"",
    "'",
    "// c\n",
    "/// d\n",
    "/*",
    "*/",
    "\n",
    "\n\n",
    "-1",
    "0.5",
    "10s",
    "GET",
    "method",
    "path",
    "payload",
    "schedule",
    "\"* * * * *\"",
    "-",
    "é",
];

/// Whatever the text is, there is a schema or an error, and both can be printed.
fn answer(text: &str) {
    let sources = Sources::from_texts([("a.ro", text)]);
    let checked = check(&sources, &Context::default());
    assert_eq!(checked.schema.is_none(), checked.diagnostics.iter().any(crate::schema::Diagnostic::is_error));
    assert_eq!(render(&checked.diagnostics, false).is_empty(), checked.diagnostics.is_empty());
    serde_json::to_string(&checked.diagnostics).unwrap();
    if let Ok(printed) = format("a.ro", text) {
        assert_eq!(meaning(text), meaning(&printed));
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for part in ["[", "{", "(", "<", "Map<", "a {", "@a(", "a: [", "a: {a:", "@default([", "\"", "'", "@", "[]", ","] {
        for head in ["", "model A { a ", "model A { a Int @default(", "event A { retry: "] {
            answer(&format!("{head}{}", part.repeat(20_000)));
        }
    }
    let chain: String =
        (0..20_000).map(|index| format!("model A{index} {{ a A{} }}\n", (index + 1) % 20_000)).collect();
    answer(&chain);
}

#[test]
fn what_parses_is_formatted() {
    let text = "model A { /// about A\n id Int // number\n\n\n\n  longName String? @email\n  /// doc\n x Int }\n// end";
    let expected = "model A { /// about A\n  id Int // number\n\n  longName String? @email\n  /// doc\n  x        Int\n}\n\n// end\n";
    assert_eq!(format("a.ro", text).unwrap(), expected);
}

#[test]
fn long_and_commented_lists_take_several_lines() {
    let names: Vec<String> = (0..12).map(|index| format!("handler_{index}")).collect();
    let text = format!("event A {{ handler: [{}] triggers: [ // two\n B, /* last */ C ] }}", names.join(", "));
    let lines: String = names.iter().map(|name| format!("    {name},\n")).collect();
    let expected =
        format!("event A {{\n  handler: [\n{lines}  ]\n  triggers: [ // two\n    B, /* last */\n    C,\n  ]\n}}\n");
    assert_eq!(format("a.ro", &text).unwrap(), expected);
}

#[test]
fn a_file_with_syntax_errors_is_left_alone() {
    let diagnostics = format("a.ro", "model A {").unwrap_err();
    assert_eq!(diagnostics.len(), 1);
}

#[test]
fn an_empty_file_stays_empty() {
    assert_eq!(format("a.ro", " \n\n").unwrap(), "");
}
