//! Which tokens can't be part of any file, and what was probably meant by them?
//!
//! What the lexer could not read is reported and taken out here, before parsing, so that it costs one diagnostic.

use super::Parser;
use crate::schema::{
    diagnostic::Code,
    lexer::{Kind, Token},
    syntax::Span,
};

impl Parser<'_> {
    /// The tokens without unreadable ones; words with unreadable parts are made whole.
    pub(super) fn repair(&mut self, tokens: Vec<Token>) -> Vec<Token> {
        let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let mut span = token.span;
            let mut broken = self.breaks_a_name(token);
            if broken || token.kind == Kind::Word {
                while let Some(part) =
                    tokens.next_if(|next| next.span.start == span.end && self.continues_a_name(*next))
                {
                    span = span.to(part.span);
                    broken = true;
                }
            }
            match token.kind {
                _ if broken => {
                    self.report_bad_name(span);
                    kept.push(Token { kind: Kind::Word, span });
                }
                Kind::Unknown => self.report_unknown(span),
                Kind::UnclosedComment => self.report_unclosed_comment(span),
                _ => kept.push(token),
            }
            if self.faults.len() > super::MAX_FAULTS {
                break;
            }
        }
        kept
    }

    fn breaks_a_name(&self, token: Token) -> bool {
        token.kind == Kind::Unknown && self.slice(token.span).chars().all(char::is_alphanumeric)
    }

    fn continues_a_name(&self, token: Token) -> bool {
        let text = self.slice(token.span);
        match token.kind {
            Kind::Word | Kind::Quantity => true,
            Kind::Number => !text.contains('.'),
            Kind::Unknown => {
                text.chars().all(|character| character.is_alphanumeric() || matches!(character, '-' | '$'))
            }
            _ => false,
        }
    }

    fn report_bad_name(&mut self, span: Span) {
        let text = self.slice(span);
        let better: String =
            text.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect();
        let help = match better.trim_start_matches(|character: char| !character.is_ascii_alphabetic()) {
            "" => "names are made of ASCII letters, digits and underscores, and start with a letter".to_owned(),
            better => format!("names are made of ASCII letters, digits and underscores: `{better}`"),
        };
        let fault = self.fault(Code::BadName, span, format!("`{text}` is not a name"));
        self.report(fault.help(help));
    }

    fn report_unknown(&mut self, span: Span) {
        let text = self.slice(span);
        let help = match text {
            ";" => Some("nothing is needed between fields; remove it"),
            "=" => Some("write `:` between a name and its value, and `@default(...)` for a default"),
            "|" => Some("declare an `enum` for a closed set of values"),
            "." => Some("a path to a file stands in quotes"),
            _ => None,
        };
        let shown: String = text.chars().take(20).collect();
        let fault = self.fault(Code::UnknownCharacter, span, format!("`{shown}` has no meaning here"));
        self.report(fault.maybe_help(help.map(str::to_owned)));
    }

    fn report_unclosed_comment(&mut self, span: Span) {
        let start = Span { start: span.start, end: span.start + 2 };
        let fault = self.fault(Code::UnclosedComment, start, "the comment is not closed");
        self.report(fault.label("begins here").help("add `*/` where it ends; block comments do not nest"));
    }
}
