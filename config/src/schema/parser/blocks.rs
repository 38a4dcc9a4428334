//! How are files, declarations and the lines of their blocks read?

use super::{Parser, join_docs};
use crate::schema::{
    diagnostic::Code,
    lexer::Kind,
    suggest::did_you_mean,
    syntax::{Declaration, Entry, Import, Item, Keyword, Name, Span, Value},
};

/// What the lines of a block look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// A name.
    Variants,
    /// `name Type @attributes`, with or without a colon.
    Fields,
    /// `name: value`
    Properties,
}

impl Lines {
    fn of(keyword: Keyword) -> Self {
        match keyword {
            Keyword::Enum => Self::Variants,
            Keyword::Model | Keyword::Type | Keyword::Input => Self::Fields,
            Keyword::Api | Keyword::Event | Keyword::Cron | Keyword::Ws => Self::Properties,
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Variants => "a variant",
            Self::Fields => "a field",
            Self::Properties => "a property",
        }
    }
}

impl Parser<'_> {
    pub(super) fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        while self.peek().is_some() {
            let before = self.next;
            items.extend(self.item());
            if self.next == before {
                self.next += 1;
            }
        }
        items
    }

    fn item(&mut self) -> Option<Item> {
        let doc = self.docs_before();
        let Some(word) = self.word_at(0).map(str::to_owned) else {
            self.unexpected("a declaration");
            self.skip_to_declaration();
            return None;
        };
        if word == "import" && self.kind_at(1) != Some(Kind::BraceOpen) {
            return self.import().map(Item::Import);
        }
        if let Some(keyword) = Keyword::parse(&word) {
            let start = self.advance()?.span;
            return self.declaration(keyword, start, doc).map(Item::Declaration);
        }
        if self.kind_at(1) == Some(Kind::BraceOpen)
            && let Some(keyword) = glued_keyword(&word)
        {
            return self.glued_declaration(keyword, doc).map(Item::Declaration);
        }
        self.unknown_keyword(&word);
        None
    }

    fn import(&mut self) -> Option<Import> {
        let start = self.advance()?.span;
        if !matches!(self.kind(), Some(Kind::Text | Kind::UnclosedText)) {
            self.unexpected("the path of a `.ro` file in quotes");
            self.skip_to_declaration();
            return None;
        }
        let path_span = self.here();
        let path = self.text_value()?;
        Some(Import { path, path_span, span: start.to(path_span) })
    }

    fn declaration(&mut self, keyword: Keyword, start: Span, doc: Option<String>) -> Option<Declaration> {
        let Some(name) = self.word() else {
            self.unexpected(&format!("the name of the {}", keyword.as_str()));
            self.skip_to_block_or_declaration();
            if self.at(Kind::BraceOpen) {
                self.block(Lines::of(keyword), keyword.as_str());
            }
            return None;
        };
        self.declaration_of(keyword, name, start, doc)
    }

    /// `modelUser {`: the original's grammar needs no space between a keyword and a name.
    fn glued_declaration(&mut self, keyword: Keyword, doc: Option<String>) -> Option<Declaration> {
        let span = self.advance()?.span;
        let cut = span.start + keyword.as_str().len();
        let name_span = Span { start: cut, end: span.end };
        let name = Name { text: self.slice(name_span).to_owned(), span: name_span };
        let message = format!("`{}` is read as `{} {}`", self.slice(span), keyword.as_str(), name.text);
        let fault = self.fault(Code::MissingSpace, span, message);
        self.report(fault.help(format!("write `{} {}`", keyword.as_str(), name.text)));
        self.declaration_of(keyword, name, Span { start: span.start, end: cut }, doc)
    }

    fn declaration_of(
        &mut self,
        keyword: Keyword,
        name: Name,
        start: Span,
        doc: Option<String>,
    ) -> Option<Declaration> {
        if !self.at(Kind::BraceOpen) {
            self.unexpected(&format!("`{{` after `{} {}`", keyword.as_str(), name.text));
            self.skip_to_block_or_declaration();
            if !self.at(Kind::BraceOpen) {
                let span = start.to(name.span);
                let entries = Vec::new();
                return Some(Declaration { keyword, name, doc, entries, block: span, span, without_block: true });
            }
        }
        let owner = format!("{} {}", keyword.as_str(), name.text);
        let (entries, block, inner_doc) = self.block(Lines::of(keyword), &owner);
        let doc = join_docs(join_docs(doc, inner_doc), self.doc_behind());
        Some(Declaration { keyword, name, doc, entries, block, span: start.to(block), without_block: false })
    }

    fn unknown_keyword(&mut self, word: &str) {
        let known = Keyword::ALL.iter().map(|keyword| keyword.as_str()).chain(["import"]);
        let help = did_you_mean(word, known).unwrap_or_else(|| {
            "a declaration starts with enum, model, type, input, api, event, cron, ws or import".into()
        });
        let span = self.here();
        let fault = self.fault(Code::UnknownKeyword, span, format!("`{word}` does not start a declaration"));
        self.report(fault.help(help));
        self.next += 1;
        self.skip_to_block_or_declaration();
        if self.at(Kind::BraceOpen) {
            self.skip_group();
        }
    }

    /// Reads from `{` to `}`; also gives the block's place and a doc comment on the line of the `{`.
    pub(super) fn block(&mut self, lines: Lines, owner: &str) -> (Vec<Entry>, Span, Option<String>) {
        let open = self.here();
        self.next += 1;
        let doc = self.doc_behind();
        let mut entries = Vec::new();
        loop {
            if let Some(close) = self.eat(Kind::BraceClose) {
                return (entries, open.to(close), doc);
            }
            if self.peek().is_none() || self.at_declaration() {
                break;
            }
            let before = self.next;
            entries.extend(self.entry(lines, 0));
            if self.next == before {
                self.next += 1;
            }
        }
        let fault = self.fault(Code::UnclosedBlock, open, format!("the block of `{owner}` is not closed"));
        self.report(fault.label("begins here").help("add `}` at its end"));
        (entries, open.to(self.last_span()), doc)
    }

    /// One line of a block and the comma that may follow it.
    pub(super) fn entry(&mut self, lines: Lines, depth: usize) -> Option<Entry> {
        let doc = self.docs_before();
        let quoted = self.at(Kind::Text);
        let Some(name) = self.entry_name(lines) else {
            self.skip_line();
            return None;
        };
        let colon = self.eat(Kind::Colon).is_some();
        let value = match lines {
            Lines::Variants if colon => self.stray_value(&name),
            Lines::Variants => None,
            Lines::Fields | Lines::Properties => Some(self.entry_value(lines, &name, colon, depth)?),
        };
        let attributes = self.attributes(depth);
        let span = name.span.to(self.last_span());
        self.eat(Kind::Comma);
        let doc = join_docs(doc, self.doc_behind());
        Some(Entry { doc, name, quoted, value, attributes, span })
    }

    fn entry_name(&mut self, lines: Lines) -> Option<Name> {
        if let Some(name) = self.word() {
            return Some(name);
        }
        if lines == Lines::Fields && self.at(Kind::Text) {
            let span = self.here();
            return self.text_value().map(|text| Name { text, span });
        }
        if self.at(Kind::At) && self.kind_at(1) == Some(Kind::At) {
            self.block_attribute();
            return None;
        }
        if self.at(Kind::Quantity) {
            let fault = self.fault(Code::BadName, self.here(), format!("{} is not a name", self.found()));
            self.report(fault.help("names start with a letter"));
            return None;
        }
        self.unexpected(&format!("{} or `}}`", lines.singular()));
        None
    }

    /// The value of a field or property. `None` when there is none and the fault has been reported.
    fn entry_value(&mut self, lines: Lines, name: &Name, colon: bool, depth: usize) -> Option<Value> {
        if lines == Lines::Properties && !colon {
            let fault = self.fault(Code::UnexpectedToken, self.here(), format!("expected `:` after `{}`", name.text));
            self.report(fault.label("expected `:`").help(format!("write `{}: ...`", name.text)));
            self.skip_line_unless_value();
        }
        if self.value_is_missing(lines) {
            if lines == Lines::Properties && !colon {
                return None;
            }
            let what = if lines == Lines::Properties { "value" } else { "type" };
            let fault = self.fault(Code::UnexpectedToken, name.span, format!("`{}` has no {what}", name.text));
            self.report(fault.label(format!("a {what} must follow")));
            self.eat(Kind::Comma);
            return None;
        }
        let value = self.value(depth);
        if value.is_none() {
            self.skip_line();
        }
        value
    }

    /// The next token begins something else: the block's end, another declaration, or the next line's entry.
    fn value_is_missing(&self, lines: Lines) -> bool {
        match self.kind() {
            None | Some(Kind::BraceClose | Kind::Comma | Kind::At) => true,
            Some(Kind::Word) if lines == Lines::Properties => self.kind_at(1) == Some(Kind::Colon),
            Some(Kind::Word) => self.at_declaration() || self.at_next_field(),
            _ => false,
        }
    }

    /// `id` without a type, and on the next line `name String`. Line ends mean nothing in the language, so this looks
    /// at what no real file has: a type on a line of its own that starts in lower case and is followed by a type.
    fn at_next_field(&self) -> bool {
        let lower = self.word_at(0).is_some_and(|word| word.starts_with(|first: char| first.is_ascii_lowercase()));
        let colon = self.kind_at(1) == Some(Kind::Colon);
        let upper = self.word_at(1).is_some_and(|word| word.starts_with(|first: char| first.is_ascii_uppercase()));
        self.at_line_start() && lower && (colon || upper)
    }

    fn stray_value(&mut self, name: &Name) -> Option<Value> {
        let fault = self.fault(
            Code::UnexpectedToken,
            self.last_span(),
            format!("the variant `{}` can't have a value", name.text),
        );
        self.report(fault.help("the name of a variant is its value"));
        self.value(0)
    }

    /// `keyword Name {` or `import "..."`: a closing brace before it is missing.
    pub(super) fn at_declaration(&self) -> bool {
        let Some(word) = self.word_at(0) else { return false };
        let declares =
            Keyword::parse(word).is_some() && self.word_at(1).is_some() && self.kind_at(2) == Some(Kind::BraceOpen);
        declares || (word == "import" && self.kind_at(1) == Some(Kind::Text) && self.kind_at(2) != Some(Kind::At))
    }

    /// Skips to the next line of the block, or to what ends the block.
    fn skip_line(&mut self) {
        let mut first = true;
        while let Some(kind) = self.kind() {
            if kind == Kind::BraceClose
                || self.at_declaration()
                || (!first && kind == Kind::Word && self.at_line_start())
            {
                return;
            }
            first = false;
            if matches!(kind, Kind::BraceOpen | Kind::BracketOpen | Kind::ParenOpen) {
                self.skip_group();
            } else {
                self.next += 1;
            }
        }
    }

    fn skip_line_unless_value(&mut self) {
        if !self.at_line_start() {
            return;
        }
        self.skip_line();
    }

    fn skip_to_block_or_declaration(&mut self) {
        while self.peek().is_some() && !self.at(Kind::BraceOpen) && !self.at_declaration_line() {
            self.next += 1;
        }
    }

    fn skip_to_declaration(&mut self) {
        while self.peek().is_some() && !self.at_declaration_line() {
            self.next += 1;
        }
    }

    /// A line outside of blocks that begins with a keyword.
    fn at_declaration_line(&self) -> bool {
        let begins = self.word_at(0).is_some_and(|word| Keyword::parse(word).is_some() || word == "import");
        self.at_declaration() || (begins && self.at_line_start())
    }
}

fn glued_keyword(word: &str) -> Option<Keyword> {
    let begins = |keyword: &Keyword| {
        let rest = word.strip_prefix(keyword.as_str()).unwrap_or_default();
        rest.starts_with(|first: char| first.is_ascii_alphabetic())
    };
    Keyword::ALL.into_iter().find(begins)
}
