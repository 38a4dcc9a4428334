//! Which words, marks and comments does a text consist of?
//!
//! Lexing never fails: what can't be read becomes a [`Kind::Unknown`] token, which the parser reports.

use logos::{Lexer, Logos};

use super::syntax::Span;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Logos)]
#[logos(skip r"[ \t\r\n\f\u{feff}]+")]
pub(crate) enum Kind {
    /// `{`
    #[token("{")]
    BraceOpen,
    /// `}`
    #[token("}")]
    BraceClose,
    /// `[`
    #[token("[")]
    BracketOpen,
    /// `]`
    #[token("]")]
    BracketClose,
    /// `(`
    #[token("(")]
    ParenOpen,
    /// `)`
    #[token(")")]
    ParenClose,
    /// `<`
    #[token("<")]
    AngleOpen,
    /// `>`
    #[token(">")]
    AngleClose,
    /// `:`
    #[token(":")]
    Colon,
    /// `,`
    #[token(",")]
    Comma,
    /// `?`
    #[token("?")]
    Question,
    /// `@`
    #[token("@")]
    At,
    /// A name, a keyword, `true`.
    #[regex("[A-Za-z_][A-Za-z0-9_]*")]
    Word,
    /// `-1`, `0.5`, `1e9`
    #[regex(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", priority = 10)]
    Number,
    /// Digits and letters: `10s`.
    #[regex("[0-9]+[A-Za-z_][A-Za-z0-9_]*", priority = 5)]
    Quantity,
    /// Text in double or single quotes; it has no escapes and may span lines.
    #[token("\"", |lexer| quoted(lexer, '"'))]
    #[token("'", |lexer| quoted(lexer, '\''))]
    Text,
    /// `// ...`, and with three slashes a doc comment.
    #[regex("//[^\n]*", allow_greedy = true)]
    LineComment,
    /// `/* ... */`
    #[token("/*", block_comment)]
    BlockComment,
    /// Text without its closing quote, up to the end of the line.
    UnclosedText,
    /// `/*` without `*/`, up to the end of the file.
    UnclosedComment,
    /// Anything else.
    Unknown,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it stands.
    pub(crate) span: Span,
}

/// Which marks a comment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommentKind {
    /// `// ...`
    Line,
    /// `/// ...`
    Doc,
    /// `/* ... */`
    Block,
}

/// A comment and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comment {
    /// Its marks.
    pub(crate) kind: CommentKind,
    /// Where it stands, without the line's end.
    pub(crate) span: Span,
}

/// Tokens and comments of a text, each in source order.
#[must_use]
pub(crate) fn lex(text: &str) -> (Vec<Token>, Vec<Comment>) {
    let mut tokens: Vec<Token> = Vec::new();
    let mut comments = Vec::new();
    for (result, range) in Kind::lexer(text).spanned() {
        let kind = result.unwrap_or(Kind::Unknown);
        let span = Span::from(range.clone());
        match kind {
            Kind::LineComment => comments.push(line_comment(&text[range], span.start)),
            Kind::BlockComment => comments.push(Comment { kind: CommentKind::Block, span }),
            Kind::Unknown => push_unknown(&mut tokens, span),
            _ => tokens.push(Token { kind, span }),
        }
    }
    (tokens, comments)
}

/// One unreadable stretch is one token, so that it gets one diagnostic.
fn push_unknown(tokens: &mut Vec<Token>, span: Span) {
    match tokens.last_mut() {
        Some(last) if last.kind == Kind::Unknown && last.span.end == span.start => last.span.end = span.end,
        _ => tokens.push(Token { kind: Kind::Unknown, span }),
    }
}

fn line_comment(text: &str, start: usize) -> Comment {
    let text = text.trim_end();
    let kind = if text.starts_with("///") && !text.starts_with("////") { CommentKind::Doc } else { CommentKind::Line };
    Comment { kind, span: Span { start, end: start + text.len() } }
}

fn quoted(lexer: &mut Lexer<'_, Kind>, quote: char) -> Kind {
    let rest = lexer.remainder();
    if let Some(end) = rest.find(quote) {
        lexer.bump(end + 1);
        return Kind::Text;
    }
    let line = rest.find('\n').unwrap_or(rest.len());
    lexer.bump(rest[..line].trim_end().len());
    Kind::UnclosedText
}

fn block_comment(lexer: &mut Lexer<'_, Kind>) -> Kind {
    let rest = lexer.remainder();
    if let Some(end) = rest.find("*/") {
        lexer.bump(end + 2);
        return Kind::BlockComment;
    }
    lexer.bump(rest.len());
    Kind::UnclosedComment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        lex(text).0.into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_durations_and_words_are_told_apart() {
        assert_eq!(
            kinds("12 -1 0.5 1e9 10s 1h30m s10"),
            [Kind::Number, Kind::Number, Kind::Number, Kind::Number, Kind::Quantity, Kind::Quantity, Kind::Word]
        );
    }

    #[test]
    fn a_comment_may_end_the_file() {
        let (tokens, comments) = lex("model A {} // end");
        assert_eq!((tokens.len(), comments.len()), (4, 1));
    }

    #[test]
    fn three_slashes_are_documentation_and_four_are_not() {
        let (_, comments) = lex("/// a\r\n//// b\n// c\n/* d */");
        let kinds: Vec<_> = comments.iter().map(|comment| comment.kind).collect();
        assert_eq!(kinds, [CommentKind::Doc, CommentKind::Line, CommentKind::Line, CommentKind::Block]);
        assert_eq!(comments[0].span, Span { start: 0, end: 5 });
    }

    #[test]
    fn texts_have_no_escapes_and_may_span_lines() {
        assert_eq!(kinds("\"a\\\" 'b \"c\"' \"d\ne\""), [Kind::Text, Kind::Text, Kind::Text]);
    }

    #[test]
    fn what_is_not_closed_is_one_token() {
        assert_eq!(kinds("a \"b c\nd"), [Kind::Word, Kind::UnclosedText, Kind::Word]);
        assert_eq!(kinds("a /* b\nc"), [Kind::Word, Kind::UnclosedComment]);
    }

    #[test]
    fn unreadable_characters_are_one_token_per_stretch() {
        assert_eq!(kinds("é€ ; a"), [Kind::Unknown, Kind::Unknown, Kind::Word]);
    }
}
