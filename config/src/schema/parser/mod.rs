//! Which syntax tree does a text have? A recursive descent that reports every fault and goes on.
//!
//! Holds for any input: it ends, it doesn't panic, its recursion is bounded by [`MAX_DEPTH`], and it reports at most
//! [`MAX_FAULTS`] faults per file.

mod blocks;
mod repair;
mod values;

use super::{
    diagnostic::{Code, Fault, Faults},
    lexer::{Comment, CommentKind, Kind, Token, lex},
    source::{FileId, Place},
    syntax::{File, Name, Span},
};

/// How deeply lists, objects and type arguments may be nested.
const MAX_DEPTH: usize = 16;

/// Reading stops after this many syntax faults in one file.
const MAX_FAULTS: usize = 100;

/// A file's tree, and what was wrong with it.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) file: File,
    pub(crate) faults: Faults,
}

/// Parses the text of the file `id`.
pub(crate) fn parse(text: &str, id: FileId) -> Parsed {
    let (tokens, comments) = lex(text);
    let end = text.trim_end().len();
    let mut parser = Parser { text, end, id, tokens: Vec::new(), comments, next: 0, faults: Vec::new() };
    parser.tokens = parser.repair(tokens);
    let items = parser.items();
    let mut faults = Faults::default();
    if parser.faults.len() > MAX_FAULTS {
        parser.faults.truncate(MAX_FAULTS);
        let end = parser.faults.last().map_or_else(|| parser.place(Span::default()), Fault::place);
        let message = format!("more than {MAX_FAULTS} syntax errors: the rest of the file was not read");
        parser.faults.push(Fault::new(Code::TooManyErrors, end, message));
    }
    parser.faults.into_iter().for_each(|fault| faults.push(fault));
    Parsed { file: File { items, comments: parser.comments }, faults }
}

struct Parser<'text> {
    text: &'text str,
    /// Where the last line's text ends.
    end: usize,
    id: FileId,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
    next: usize,
    faults: Vec<Fault>,
}

impl Parser<'_> {
    fn place(&self, span: Span) -> Place {
        Place { file: self.id, span }
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    fn fault(&self, code: Code, span: Span, message: impl Into<String>) -> Fault {
        Fault::new(code, self.place(span), message)
    }

    fn report(&mut self, fault: Fault) {
        self.faults.push(fault);
        if self.faults.len() > MAX_FAULTS {
            self.next = self.tokens.len();
        }
    }

    fn peek(&self) -> Option<Token> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<Token> {
        self.tokens.get(self.next + ahead).copied()
    }

    fn kind(&self) -> Option<Kind> {
        self.peek().map(|token| token.kind)
    }

    fn kind_at(&self, ahead: usize) -> Option<Kind> {
        self.peek_at(ahead).map(|token| token.kind)
    }

    fn at(&self, kind: Kind) -> bool {
        self.kind() == Some(kind)
    }

    fn advance(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    fn eat(&mut self, kind: Kind) -> Option<Span> {
        if !self.at(kind) {
            return None;
        }
        self.advance().map(|token| token.span)
    }

    /// Where the last token that was read stands.
    fn last_span(&self) -> Span {
        self.next.checked_sub(1).map_or_else(Span::default, |last| self.tokens[last].span)
    }

    /// The next token's place, or the file's end.
    fn here(&self) -> Span {
        self.peek().map_or(Span { start: self.end, end: self.end }, |token| token.span)
    }

    /// The next token, as it is called in messages.
    fn found(&self) -> String {
        let Some(token) = self.peek() else { return "the end of the file".to_owned() };
        let text = self.slice(token.span);
        match token.kind {
            Kind::Text | Kind::UnclosedText if text.len() > 40 || text.contains('\n') => "a text".to_owned(),
            Kind::Text | Kind::UnclosedText => format!("the text {text}"),
            _ => format!("`{text}`"),
        }
    }

    fn unexpected(&mut self, expected: &str) {
        let fault =
            self.fault(Code::UnexpectedToken, self.here(), format!("expected {expected}, found {}", self.found()));
        self.report(fault.label(format!("expected {expected}")));
    }

    fn word(&mut self) -> Option<Name> {
        let span = self.eat(Kind::Word)?;
        Some(Name { text: self.slice(span).to_owned(), span })
    }

    fn word_at(&self, ahead: usize) -> Option<&str> {
        let token = self.peek_at(ahead)?;
        (token.kind == Kind::Word).then(|| self.slice(token.span))
    }

    /// A line ends between the last token that was read and the next one.
    fn at_line_start(&self) -> bool {
        self.next == 0 || self.text[self.last_span().end..self.here().start].contains('\n')
    }

    /// The doc comments right before the next token, up to a blank line between them.
    fn docs_before(&self) -> Option<String> {
        let after = if self.next == 0 { 0 } else { self.last_span().end };
        let mut docs: Vec<Span> = Vec::new();
        for comment in self.comments_between(after, self.here().start).iter().rev() {
            let blank = |next: &Span| self.text[comment.span.end..next.start].matches('\n').count() > 1;
            if comment.kind != CommentKind::Doc || self.trails(after, comment.span) {
                continue;
            }
            if docs.last().is_some_and(blank) {
                break;
            }
            docs.push(comment.span);
        }
        docs.reverse();
        self.doc_text(&docs)
    }

    /// A doc comment on the same line as the last token that was read.
    fn doc_behind(&self) -> Option<String> {
        let after = self.last_span().end;
        let comments = self.comments_between(after, self.here().start.max(after)).iter();
        let trailing = comments.filter(|comment| comment.kind == CommentKind::Doc && self.trails(after, comment.span));
        let spans: Vec<_> = trailing.map(|comment| comment.span).collect();
        self.doc_text(&spans)
    }

    fn trails(&self, after: usize, comment: Span) -> bool {
        self.next > 0 && !self.text[after..comment.start].contains('\n')
    }

    fn comments_between(&self, start: usize, end: usize) -> &[Comment] {
        let from = self.comments.partition_point(|comment| comment.span.start < start);
        // A file that ends with a comment has its last token's successor before that comment.
        let end = if self.peek().is_none() { self.text.len() } else { end };
        let to = self.comments.partition_point(|comment| comment.span.start < end);
        &self.comments[from..to.max(from)]
    }

    fn doc_text(&self, spans: &[Span]) -> Option<String> {
        let lines = spans.iter().map(|span| {
            let line = self.slice(*span).trim_start_matches('/');
            line.strip_prefix(' ').unwrap_or(line)
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Both doc comments of one thing.
fn join_docs(before: Option<String>, behind: Option<String>) -> Option<String> {
    match (before, behind) {
        (Some(before), Some(behind)) => Some(format!("{before}\n{behind}")),
        (before, behind) => before.or(behind),
    }
}
