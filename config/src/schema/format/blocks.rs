//! How are declarations and the lines of their blocks printed?

use super::{Printer, WIDTH, values};
use crate::schema::syntax::{Declaration, Entry, Keyword, Span, Value, ValueKind};

/// What stands between the name and the value of a line, and which lines are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `name`
    Variants,
    /// `name Type @attributes`, aligned.
    Fields,
    /// `name: Type @attributes`
    ColonFields,
    /// `name: value`
    Properties,
}

impl Style {
    fn of(keyword: Keyword) -> Self {
        match keyword {
            Keyword::Enum => Self::Variants,
            Keyword::Model => Self::Fields,
            Keyword::Type | Keyword::Input => Self::ColonFields,
            Keyword::Api | Keyword::Event | Keyword::Cron | Keyword::Ws => Self::Properties,
        }
    }

    fn colon(self) -> &'static str {
        match self {
            Self::Variants | Self::Fields => "",
            Self::ColonFields | Self::Properties => ":",
        }
    }
}

/// How wide names and types are in a group of lines.
#[derive(Debug, Clone, Copy, Default)]
struct Columns {
    name: usize,
    value: usize,
}

impl Printer<'_> {
    pub(super) fn declaration(&mut self, declaration: &Declaration) {
        self.comments_before(declaration.block.start);
        self.start_line(declaration.span.start);
        let head = format!("{} {} ", declaration.keyword.as_str(), declaration.name.text);
        self.out.push_str(&head);
        match self.flat_enum(declaration, head.len()) {
            Some(variants) => {
                self.out.push_str(&variants);
                self.end_line(declaration.span.end);
            }
            None => self.block(&declaration.entries, declaration.block, Style::of(declaration.keyword)),
        }
    }

    /// Enums stand on one line when they fit and nothing is said about their variants.
    fn flat_enum(&self, declaration: &Declaration, head: usize) -> Option<String> {
        let block = declaration.block;
        let plain = declaration.keyword == Keyword::Enum && !declaration.entries.is_empty();
        if !plain || self.has_comments_in(block.start, block.end) {
            return None;
        }
        let variants: Vec<String> = declaration.entries.iter().map(values::flat_entry).collect();
        let text = format!("{{ {} }}", variants.join(", "));
        (head + text.len() <= WIDTH).then_some(text)
    }

    /// From `{` to the end of the line of `}`.
    pub(super) fn block(&mut self, entries: &[Entry], block: Span, style: Style) {
        self.out.push('{');
        if entries.is_empty() && !self.has_comments_in(block.start, block.end) {
            self.out.push('}');
            return self.end_line(block.end);
        }
        self.position = block.start + 1;
        self.comments_behind(block.start + 1);
        self.out.push('\n');
        self.indent += 1;
        self.at_start = true;
        self.entries(entries, style);
        self.comments_before(block.end);
        self.indent -= 1;
        self.at_start = false;
        self.apart = false;
        self.push_indent();
        self.out.push('}');
        self.end_line(block.end);
    }

    fn entries(&mut self, entries: &[Entry], style: Style) {
        let mut rest = entries;
        while !rest.is_empty() {
            let group = self.group(rest);
            let columns = self.columns(&rest[..group], style);
            for entry in &rest[..group] {
                self.entry(entry, style, columns);
            }
            rest = &rest[group..];
        }
    }

    /// How many lines there are up to the next empty one.
    fn group(&self, entries: &[Entry]) -> usize {
        let pairs = entries.windows(2);
        let together = pairs.take_while(|pair| !self.blank_line_in(pair[0].span.end, pair[1].span.start));
        together.count() + 1
    }

    fn columns(&self, group: &[Entry], style: Style) -> Columns {
        if style != Style::Fields {
            return Columns::default();
        }
        let mut columns = Columns::default();
        for entry in group {
            columns.name = columns.name.max(values::key(entry).len());
            let value = entry.value.as_ref();
            columns.value = columns.value.max(value.map_or(0, |value| values::flat(value).len()));
        }
        columns
    }

    fn entry(&mut self, entry: &Entry, style: Style, columns: Columns) {
        let plain = entry.attributes.is_empty();
        let head = entry.value.as_ref().filter(|value| plain && self.may_break(value));
        // What stands inside of a broken value stays there; what stands inside of anything else goes before it.
        self.comments_before(head.map_or(entry.span.end, |value| value.span.start));
        self.start_line(entry.span.start);
        let name = format!("{}{}", values::key(entry), style.colon());
        self.out.push_str(&name);
        let Some(value) = &entry.value else {
            self.attributes(entry);
            return self.end_line(entry.span.end);
        };
        self.pad(columns.name.saturating_sub(name.len()) + 1);
        let used = self.indent * super::INDENT + name.len() + 1;
        if head.is_some() && self.must_break(value, used) {
            return self.broken(value, entry);
        }
        let text = values::flat(value);
        self.out.push_str(&text);
        if !entry.attributes.is_empty() {
            self.pad(columns.value.saturating_sub(text.chars().count()));
            self.attributes(entry);
        }
        self.end_line(entry.span.end);
    }

    fn attributes(&mut self, entry: &Entry) {
        for attribute in &entry.attributes {
            self.out.push(' ');
            self.out.push_str(&values::attribute(attribute));
        }
    }

    fn pad(&mut self, width: usize) {
        self.out.extend(std::iter::repeat_n(' ', width));
    }

    /// Lists and objects that hold something can take several lines.
    fn may_break(&self, value: &Value) -> bool {
        let filled = match &value.kind {
            ValueKind::List(items) => !items.is_empty(),
            ValueKind::Object(entries) => !entries.is_empty(),
            _ => false,
        };
        filled || (values::is_container(value) && self.has_comments_in(value.span.start, value.span.end))
    }

    fn must_break(&self, value: &Value, used: usize) -> bool {
        self.has_comments_before(value.span.end) || used + values::flat(value).chars().count() > WIDTH
    }

    fn broken(&mut self, value: &Value, entry: &Entry) {
        match &value.kind {
            ValueKind::List(items) => self.broken_list(items, value.span, entry),
            ValueKind::Object(entries) => self.block(entries, value.span, Style::ColonFields),
            _ => {
                self.out.push_str(&values::flat(value));
                self.end_line(value.span.end);
            }
        }
    }

    fn broken_list(&mut self, items: &[Value], span: Span, entry: &Entry) {
        self.out.push('[');
        self.position = span.start + 1;
        self.comments_behind(span.start + 1);
        self.out.push('\n');
        self.indent += 1;
        self.at_start = true;
        for item in items {
            self.comments_before(item.span.end);
            self.start_line(item.span.start);
            self.out.push_str(&values::flat(item));
            self.out.push(',');
            self.end_line(item.span.end);
        }
        self.comments_before(span.end);
        self.indent -= 1;
        self.at_start = false;
        self.push_indent();
        self.out.push(']');
        self.end_line(entry.span.end.max(span.end));
    }
}
