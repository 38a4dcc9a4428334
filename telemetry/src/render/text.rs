//! Is a text safe to print? What handlers and callers wrote must not move the cursor, change colours or swap letters.

use std::borrow::Cow;

/// One line: control characters and line breaks are spelled out.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) { Cow::Owned(spell(text)) } else { Cow::Borrowed(text) }
}

/// The lines of a text, each as by [`line()`], with tabs as blanks.
pub fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
    text.trim_end().lines().map(|text| line(&text.replace('\t', "    ")).into_owned())
}

fn is_unsafe(character: char) -> bool {
    // The latter are those that turn the direction of what follows.
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn spell(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len() + 8), |mut spelled, character| {
        if is_unsafe(character) {
            spelled.extend(character.escape_default());
        } else {
            spelled.push(character);
        }
        spelled
    })
}

/// A JSON object as `key=value` pairs; anything else as it is.
pub(super) fn fields(json: &str) -> String {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(json) else { return line(json).into_owned() };
    let pair = |(key, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(text) if is_word(text) => format!("{key}={text}"),
        value => format!("{key}={value}"),
    };
    line(&object.iter().map(pair).collect::<Vec<_>>().join(" ")).into_owned()
}

/// Whether a text can stand without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|character: char| character.is_whitespace() || matches!(character, '"' | '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_spelled_out() {
        assert_eq!(line("a\u{1b}[31mb\rc\nd\u{202e}e"), r"a\u{1b}[31mb\rc\nd\u{202e}e");
        assert_eq!(line("größe ✓"), "größe ✓");
        assert_eq!(lines("a\n\tb\u{7}\n\n").collect::<Vec<_>>(), ["a", r"    b\u{7}"]);
    }

    #[test]
    fn fields_are_pairs() {
        assert_eq!(
            fields(r#"{"id":7,"name":"Ada","text":"two words","deep":{"a":[1]}}"#),
            r#"id=7 name=Ada text="two words" deep={"a":[1]}"#
        );
        assert_eq!(fields("no json"), "no json");
    }
}
