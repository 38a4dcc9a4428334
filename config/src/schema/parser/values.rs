//! How are types, values and attributes read?

use super::{MAX_DEPTH, Parser, blocks::Lines};
use crate::schema::{
    diagnostic::Code,
    lexer::Kind,
    syntax::{Attribute, Entry, Name, Span, TypeExpr, Value, ValueKind},
};

impl Parser<'_> {
    /// A value; `None` when none begins here, which has then been reported.
    pub(super) fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            self.too_deep();
            return None;
        }
        let start = self.here();
        let kind = match self.kind() {
            Some(Kind::Text | Kind::UnclosedText) => ValueKind::Text(self.text_value()?),
            Some(Kind::Number) => ValueKind::Number(self.advance_text()),
            Some(Kind::Quantity) => ValueKind::Quantity(self.advance_text()),
            Some(Kind::BracketOpen) => ValueKind::List(self.list(depth)),
            Some(Kind::BraceOpen) => ValueKind::Object(self.object(depth)),
            Some(Kind::Word) if self.kind_at(1) == Some(Kind::ParenOpen) => self.call(depth)?,
            Some(Kind::Word) => ValueKind::Type(self.type_expr(depth)?),
            _ => {
                self.unexpected("a type or value");
                return None;
            }
        };
        Some(Value { kind, span: start.to(self.last_span()) })
    }

    /// The text between the quotes of the next token.
    pub(super) fn text_value(&mut self) -> Option<String> {
        let token = self.advance()?;
        let raw = self.slice(token.span).to_owned();
        if token.kind == Kind::UnclosedText {
            let fault = self.fault(Code::UnclosedText, token.span, "the text has no closing quote");
            let quote = raw.get(..1).unwrap_or("\"");
            self.report(fault.label("begins here").help(format!("add `{quote}` where it ends")));
            return Some(raw.get(1..).unwrap_or_default().to_owned());
        }
        if raw.contains('\n') {
            let first_line = raw.find('\n').unwrap_or(raw.len());
            let span = Span { start: token.span.start, end: token.span.start + raw[..first_line].trim_end().len() };
            let fault = self.fault(Code::MultilineText, span, "the text spans lines");
            self.report(fault.label("begins here").help("is its closing quote missing?"));
        }
        raw.get(1..raw.len() - 1).map(str::to_owned)
    }

    fn advance_text(&mut self) -> String {
        self.advance().map(|token| self.slice(token.span).to_owned()).unwrap_or_default()
    }

    fn list(&mut self, depth: usize) -> Vec<Value> {
        let open = self.here();
        self.next += 1;
        self.values_until(Kind::BracketClose, open, depth)
    }

    fn call(&mut self, depth: usize) -> Option<ValueKind> {
        let name = self.word()?;
        let arguments = self.arguments(depth);
        Some(ValueKind::Call { name, arguments })
    }

    /// From `(` to `)`.
    fn arguments(&mut self, depth: usize) -> Vec<Value> {
        let open = self.here();
        self.next += 1;
        self.values_until(Kind::ParenClose, open, depth)
    }

    fn values_until(&mut self, close: Kind, open: Span, depth: usize) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            if self.eat(close).is_some() {
                return values;
            }
            if self.list_ended_early() {
                self.unclosed_list(close, open);
                return values;
            }
            let before = self.next;
            values.extend(self.value(depth + 1));
            if self.eat(Kind::Comma).is_none() && !self.at(close) && !self.list_ended_early() {
                self.unexpected(if close == Kind::ParenClose { "`,` or `)`" } else { "`,` or `]`" });
                self.skip_to_comma(close);
            }
            if self.next == before {
                self.next += 1;
            }
        }
    }

    /// A token that can't be inside of a list: the bracket is missing before it.
    fn list_ended_early(&self) -> bool {
        match self.kind() {
            None | Some(Kind::BraceClose | Kind::At) => true,
            Some(Kind::Word) => self.kind_at(1) == Some(Kind::Colon),
            _ => false,
        }
    }

    fn unclosed_list(&mut self, close: Kind, open: Span) {
        let mark = if close == Kind::ParenClose { ')' } else { ']' };
        let fault = self.fault(Code::UnclosedBlock, open, format!("`{}` is not closed", self.slice(open)));
        self.report(fault.label("begins here").help(format!("add `{mark}` where it ends")));
    }

    fn skip_to_comma(&mut self, close: Kind) {
        while !self.at(close) && !self.list_ended_early() && self.eat(Kind::Comma).is_none() {
            self.next += 1;
        }
    }

    fn object(&mut self, depth: usize) -> Vec<Entry> {
        let open = self.here();
        self.next += 1;
        let mut entries = Vec::new();
        while self.eat(Kind::BraceClose).is_none() {
            if self.peek().is_none() || self.at_declaration() {
                let fault = self.fault(Code::UnclosedBlock, open, "`{` is not closed");
                self.report(fault.label("begins here").help("add `}` where it ends"));
                break;
            }
            let before = self.next;
            entries.extend(self.entry(Lines::Fields, depth + 1));
            if self.next == before {
                self.next += 1;
            }
        }
        entries
    }

    fn type_expr(&mut self, depth: usize) -> Option<TypeExpr> {
        let name = self.word()?;
        let argument = if self.at(Kind::AngleOpen) { Some(self.type_argument(depth)?) } else { None };
        let mut arrays = self.array_marks();
        let optional = self.eat(Kind::Question).is_some();
        if optional {
            let misplaced = self.array_marks();
            if misplaced > 0 {
                self.report_early_question(&name);
                arrays += misplaced;
            }
        }
        if arrays > MAX_DEPTH {
            self.too_deep_at(name.span);
            arrays = MAX_DEPTH;
        }
        let span = name.span.to(self.last_span());
        Some(TypeExpr { name, argument, arrays, optional, span })
    }

    fn type_argument(&mut self, depth: usize) -> Option<Box<TypeExpr>> {
        if depth > MAX_DEPTH {
            self.too_deep();
            return None;
        }
        let open = self.here();
        self.next += 1;
        if !self.at(Kind::Word) {
            self.unexpected("a type");
            self.eat(Kind::AngleClose);
            return None;
        }
        let argument = self.type_expr(depth + 1)?;
        if self.eat(Kind::AngleClose).is_none() {
            self.report_type_arguments(open);
        }
        Some(Box::new(argument))
    }

    fn report_type_arguments(&mut self, open: Span) {
        let mut end = open.to(self.last_span());
        while matches!(self.kind(), Some(Kind::Comma | Kind::Word)) && self.eat(Kind::AngleClose).is_none() {
            end = end.to(self.here());
            self.next += 1;
        }
        if let Some(close) = self.eat(Kind::AngleClose) {
            end = end.to(close);
        }
        let fault = self.fault(Code::BadType, end, "a map has one type argument");
        self.report(fault.help("keys are always texts; write only the type of the values: `Map<Int>`"));
    }

    fn array_marks(&mut self) -> usize {
        let mut marks = 0;
        while self.at(Kind::BracketOpen) && self.kind_at(1) == Some(Kind::BracketClose) {
            self.next += 2;
            marks += 1;
        }
        marks
    }

    fn report_early_question(&mut self, name: &Name) {
        let span = name.span.to(self.last_span());
        let fault = self.fault(Code::BadType, span, "an array of optional items is not a type");
        self.report(fault.help(format!("`?` comes last and makes the whole field optional: `{}[]?`", name.text)));
    }

    pub(super) fn attributes(&mut self, depth: usize) -> Vec<Attribute> {
        let mut attributes = Vec::new();
        while let Some(at) = self.eat(Kind::At) {
            if self.at(Kind::At) {
                self.next -= 1;
                self.block_attribute();
                continue;
            }
            let Some(name) = self.word() else {
                self.unexpected("the name of an attribute");
                continue;
            };
            let arguments = if self.at(Kind::ParenOpen) { self.arguments(depth) } else { Vec::new() };
            attributes.push(Attribute { name, arguments, span: at.to(self.last_span()) });
        }
        attributes
    }

    /// `@@name(...)`, which other languages have for whole records.
    pub(super) fn block_attribute(&mut self) {
        let start = self.here();
        self.next += 2;
        self.eat(Kind::Word);
        let end = self.last_span();
        if self.at(Kind::ParenOpen) {
            self.skip_group();
        }
        let message = "attributes of a whole declaration do not exist";
        let fault = self.fault(Code::UnexpectedToken, start.to(end), message);
        self.report(fault.help("put the attribute on a field, with one `@`"));
    }

    /// Skips from an opening bracket to the one that closes it, without recursion.
    pub(super) fn skip_group(&mut self) {
        let mut open = 0_usize;
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::BraceOpen | Kind::BracketOpen | Kind::ParenOpen | Kind::AngleOpen => open += 1,
                Kind::BraceClose | Kind::BracketClose | Kind::ParenClose | Kind::AngleClose => {
                    open = open.saturating_sub(1);
                }
                _ => {}
            }
            self.next += 1;
            if open == 0 {
                return;
            }
        }
    }

    fn too_deep(&mut self) {
        self.too_deep_at(self.here());
        self.skip_group();
    }

    fn too_deep_at(&mut self, span: Span) {
        let fault = self.fault(Code::TooDeep, span, format!("nested more than {MAX_DEPTH} levels deep"));
        self.report(fault.help("declare a model or type for the inner part"));
    }
}
