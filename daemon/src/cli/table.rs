//! How do lists look on a terminal? Columns as wide as their texts, under a heading, safe to print.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rohas_telemetry::render;

/// Rows under a heading, as lines.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| render::line(cell).into_owned())).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str()).chain([heading[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    push(&mut out, heading, &widths);
    for row in &rows {
        push(&mut out, row.each_ref().map(String::as_str), &widths);
    }
    out
}

fn push<const N: usize>(out: &mut String, cells: [&str; N], widths: &[usize; N]) {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    let line = padded.collect::<Vec<_>>().join("  ");
    writeln!(out, "{}", line.trim_end()).expect("a string takes everything");
}

/// A time of the JSON form as this machine's clock shows it.
pub(super) fn local(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_unreadable) => rfc3339.to_owned(),
    }
}

/// The beginning of a text that is too long for its column.
pub(super) fn short(text: &str, width: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width - 1).collect();
    format!("{kept}…")
}

/// A count and its noun: `1 message`, `3 messages`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_texts_and_nothing_moves_the_cursor() {
        let rows = [["a".to_owned(), "1".to_owned()], ["größer".to_owned(), "2\u{1b}[2J".to_owned()]];
        assert_eq!(table(["N", "COUNT"], &rows), "N       COUNT\na       1\ngrößer  2\\u{1b}[2J\n");
    }

    #[test]
    fn long_texts_are_cut_at_their_first_line() {
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde…");
        assert_eq!(short("ab\ncd", 6), "ab");
    }
}
