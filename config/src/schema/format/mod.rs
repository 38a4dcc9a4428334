//! How is a schema file written canonically? What `rohas fmt` prints.
//!
//! Every comment is kept, nothing is reordered, and formatting what was formatted changes nothing. A file with syntax
//! errors is not formatted.

mod blocks;
mod comments;
mod values;

#[cfg(test)]
mod tests;

use super::{
    diagnostic::Diagnostic,
    lexer::Comment,
    parser,
    source::{FileId, Sources},
    syntax::{File, Item},
};

/// Lines are broken before they get longer than this, where that is possible.
const WIDTH: usize = 100;

const INDENT: usize = 2;

/// Comments in odd places move before the thing that they stand in, which can change what is aligned with what: so the
/// result is printed again until it stays the same, at most this often.
const ROUNDS: usize = 4;

/// The canonical text of a file. `name` is the file's name in diagnostics.
///
/// # Errors
///
/// The diagnostics of a file that is not UTF-8 text of the language; such a file should be left alone.
pub fn format(name: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut printed = print_once(name, text)?;
    for _ in 1..ROUNDS {
        let again = print_once(name, &printed)?;
        if again == printed {
            break;
        }
        printed = again;
    }
    Ok(printed)
}

fn print_once(name: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    let sources = Sources::from_texts([(name, text)]);
    let parsed = parser::parse(text, FileId::FIRST);
    if parsed.faults.has_errors() {
        return Err(parsed.faults.into_diagnostics(&sources));
    }
    Ok(Printer::new(text, &parsed.file).print(&parsed.file))
}

/// Writes a file from its tree, and its comments where they stood.
struct Printer<'t> {
    text: &'t str,
    comments: &'t [Comment],
    /// The first comment that was not yet printed.
    next: usize,
    /// End, in the source, of what was printed last.
    position: usize,
    /// A blank line is due before whatever comes next.
    apart: bool,
    /// Nothing was printed yet in the file or block.
    at_start: bool,
    indent: usize,
    out: String,
}

impl<'t> Printer<'t> {
    fn new(text: &'t str, file: &'t File) -> Self {
        let out = String::with_capacity(text.len());
        Self { text, comments: &file.comments, next: 0, position: 0, apart: false, at_start: true, indent: 0, out }
    }

    fn print(mut self, file: &File) -> String {
        let mut after_import = false;
        for item in &file.items {
            let import = matches!(item, Item::Import(_));
            self.apart |= !(self.at_start || (import && after_import));
            self.item(item);
            after_import = import;
        }
        self.apart = !file.items.is_empty();
        self.comments_before(self.text.len());
        self.out
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Import(import) => {
                self.comments_before(import.span.end);
                self.start_line(import.span.start);
                self.out.push_str("import ");
                self.push_text(&import.path);
                self.end_line(import.span.end);
            }
            Item::Declaration(declaration) => self.declaration(declaration),
        }
    }

    /// Begins a line for what stands at `start` in the source, with a blank line before it if there is one.
    fn start_line(&mut self, start: usize) {
        if !self.at_start && (self.apart || self.blank_line_before(start)) {
            self.out.push('\n');
        }
        self.apart = false;
        self.at_start = false;
        self.push_indent();
    }

    /// Ends the line of what ends at `end` in the source, with the comments on that line.
    fn end_line(&mut self, end: usize) {
        self.position = self.position.max(end);
        self.comments_behind(end);
        self.out.push('\n');
    }

    fn push_indent(&mut self) {
        self.out.extend(std::iter::repeat_n(' ', self.indent * INDENT));
    }
}
