//! Where do the comments go?

use super::Printer;
use crate::schema::lexer::{Comment, CommentKind};

impl Printer<'_> {
    /// Prints the comments that begin before `end` and were not yet printed, each on a line of its own.
    pub(super) fn comments_before(&mut self, end: usize) {
        while let Some(comment) = self.peek_comment().filter(|comment| comment.span.start < end) {
            self.start_line(comment.span.start);
            self.comment(comment);
            self.out.push('\n');
        }
    }

    /// Prints the comments that follow `end` on the same line, with nothing but commas between.
    pub(super) fn comments_behind(&mut self, mut end: usize) {
        while let Some(comment) = self.peek_comment().filter(|comment| comment.span.start >= end) {
            let between = &self.text[end..comment.span.start];
            if !between.chars().all(|character| matches!(character, ' ' | '\t' | ',')) {
                return;
            }
            self.out.push(' ');
            self.comment(comment);
            end = comment.span.end;
        }
    }

    /// Whether a comment that was not yet printed begins before `end`.
    pub(super) fn has_comments_before(&self, end: usize) -> bool {
        self.peek_comment().is_some_and(|comment| comment.span.start < end)
    }

    /// Whether a comment that was not yet printed is between two offsets.
    pub(super) fn has_comments_in(&self, start: usize, end: usize) -> bool {
        let from = self.comments.partition_point(|comment| comment.span.start < start).max(self.next);
        self.comments.get(from).is_some_and(|comment| comment.span.start < end)
    }

    /// Whether there is an empty line between two offsets, not counting those inside of comments.
    pub(super) fn blank_line_in(&self, mut start: usize, end: usize) -> bool {
        let from = self.comments.partition_point(|comment| comment.span.start < start);
        for comment in self.comments[from..].iter().take_while(|comment| comment.span.start < end) {
            if has_blank_line(&self.text[start..comment.span.start]) {
                return true;
            }
            start = comment.span.end;
        }
        start < end && has_blank_line(&self.text[start..end])
    }

    /// Whether there is an empty line between what was printed last and `start`.
    pub(super) fn blank_line_before(&self, start: usize) -> bool {
        self.position < start && has_blank_line(&self.text[self.position..start])
    }

    fn peek_comment(&self) -> Option<Comment> {
        self.comments.get(self.next).copied()
    }

    fn comment(&mut self, comment: Comment) {
        self.next += 1;
        self.position = self.position.max(comment.span.end);
        let text = &self.text[comment.span.start..comment.span.end];
        match comment.kind {
            CommentKind::Block => {
                let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                self.out.push_str(&lines.join("\n"));
            }
            CommentKind::Line | CommentKind::Doc => self.out.push_str(text.trim_end()),
        }
    }
}

fn has_blank_line(gap: &str) -> bool {
    let mut lines = gap.split('\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_some() && line.trim().is_empty() {
            return true;
        }
    }
    false
}
