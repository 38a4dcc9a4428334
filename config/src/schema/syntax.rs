//! What does a `.ro` file say, before anyone asks whether it makes sense? The syntax tree.
//!
//! The tree keeps everything that was written, repeated and unknown properties included: the checker judges it, the
//! formatter prints it. Comments are not in the tree, they stand beside it in [`File::comments`].

use std::ops::Range;

use super::lexer::Comment;

/// Byte offsets into one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// From the beginning of this one to the end of another.
    #[must_use]
    pub fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end.max(self.end) }
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    /// Imports and declarations in source order.
    pub(crate) items: Vec<Item>,
    /// All comments in source order, doc comments included.
    pub(crate) comments: Vec<Comment>,
}

/// What stands at the top level of a file.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// `import "..."`
    Import(Import),
    /// Everything else.
    Declaration(Declaration),
}

/// `import "..."`
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// What stands between the quotes.
    pub(crate) path: String,
    /// The text with its quotes.
    pub(crate) path_span: Span,
    /// The whole import.
    pub(crate) span: Span,
}

/// Which keyword starts a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Keyword {
    /// `enum`
    Enum,
    /// `model`
    Model,
    /// `type`
    Type,
    /// `input`
    Input,
    /// `api`
    Api,
    /// `event`
    Event,
    /// `cron`
    Cron,
    /// `ws`
    Ws,
}

impl Keyword {
    /// All of them, in the order of the manual.
    pub(crate) const ALL: [Self; 8] =
        [Self::Enum, Self::Model, Self::Type, Self::Input, Self::Api, Self::Event, Self::Cron, Self::Ws];

    /// As written in a file.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enum => "enum",
            Self::Model => "model",
            Self::Type => "type",
            Self::Input => "input",
            Self::Api => "api",
            Self::Event => "event",
            Self::Cron => "cron",
            Self::Ws => "ws",
        }
    }

    /// The keyword that reads like this.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keyword| keyword.as_str() == text)
    }
}

/// A keyword, a name and a block.
#[derive(Debug, Clone)]
pub(crate) struct Declaration {
    /// The keyword.
    pub(crate) keyword: Keyword,
    /// The declared name.
    pub(crate) name: Name,
    /// Text of the doc comments.
    pub(crate) doc: Option<String>,
    /// The block: fields, properties or variants.
    pub(crate) entries: Vec<Entry>,
    /// From `{` to `}`.
    pub(crate) block: Span,
    /// From the keyword to `}`.
    pub(crate) span: Span,
    /// The block is missing, which has been reported: nothing else needs to be said about what is missing.
    pub(crate) without_block: bool,
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The word; for quoted keys without the quotes.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) span: Span,
}

/// One line of a block: a field, a property, a variant, or a member of an object value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Text of the doc comments.
    pub(crate) doc: Option<String>,
    /// What stands first.
    pub(crate) name: Name,
    /// `name` was written in quotes.
    pub(crate) quoted: bool,
    /// What follows; variants have none.
    pub(crate) value: Option<Value>,
    /// `@...`
    pub(crate) attributes: Vec<Attribute>,
    /// From the name to the last attribute.
    pub(crate) span: Span,
}

/// `@name` or `@name(...)`
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    /// Without the `@`.
    pub(crate) name: Name,
    /// Arguments; none for `@name` and `@name()`.
    pub(crate) arguments: Vec<Value>,
    /// From the `@` to the last character.
    pub(crate) span: Span,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// What it is.
    pub(crate) kind: ValueKind,
    /// Where it stands.
    pub(crate) span: Span,
}

/// What may stand behind a name, a colon or in an argument.
#[derive(Debug, Clone)]
pub(crate) enum ValueKind {
    /// A type, a plain word, `true`, `false` or `null`.
    Type(TypeExpr),
    /// `now()`
    Call {
        /// The word before the parentheses.
        name: Name,
        /// What stands between them.
        arguments: Vec<Value>,
    },
    /// Text, without its quotes.
    Text(String),
    /// A number, as written.
    Number(String),
    /// Digits followed by letters, as written: `10s`, `1h30m`.
    Quantity(String),
    /// `[a, b]`
    List(Vec<Value>),
    /// `{ a: 1 }` or an inline record.
    Object(Vec<Entry>),
}

/// A type as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeExpr {
    /// The word: `Int`, `Order`, `Map`.
    pub(crate) name: Name,
    /// What stands in `<` and `>`.
    pub(crate) argument: Option<Box<TypeExpr>>,
    /// Number of `[]`.
    pub(crate) arrays: usize,
    /// `?`
    pub(crate) optional: bool,
    /// Where it stands.
    pub(crate) span: Span,
}

impl TypeExpr {
    /// The word, when that is all there is.
    #[must_use]
    pub(crate) fn as_word(&self) -> Option<&Name> {
        (self.argument.is_none() && self.arrays == 0 && !self.optional).then_some(&self.name)
    }
}

impl Value {
    /// The plain word that this is.
    #[must_use]
    pub(crate) fn as_word(&self) -> Option<&Name> {
        match &self.kind {
            ValueKind::Type(expr) => expr.as_word(),
            _ => None,
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            ValueKind::Type(expr) if expr.as_word().is_some() => "a name",
            ValueKind::Type(_) => "a type",
            ValueKind::Call { .. } => "a call",
            ValueKind::Text(_) => "a text",
            ValueKind::Number(_) => "a number",
            ValueKind::Quantity(_) => "a duration",
            ValueKind::List(_) => "a list",
            ValueKind::Object(_) => "a block",
        }
    }
}
