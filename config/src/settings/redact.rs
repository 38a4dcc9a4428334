//! How is a text shown without the secrets in it? With stars in their place, so that every other byte stays where it is.

use std::ops::Range;

/// Words in the names of keys whose values are secrets, or may have some in them.
const SECRET_WORDS: [&str; 5] = ["key", "secret", "token", "password", "url"];

/// Hides a value: what is between quotes, or all of a text without any. Numbers and booleans of TOML are no secrets.
pub(super) fn mask(text: &mut String, span: Range<usize>) {
    let Some(value) = text.get(span.clone()) else { return };
    let is_quoted = value.contains(['"', '\'']);
    let is_whole_text = span.end == text.len() && !text.contains('\n');
    if !is_quoted && !is_whole_text {
        return;
    }
    let stars = stars(value);
    text.replace_range(span, &stars);
}

/// Hides what looks like a secret in a file that cannot be parsed.
pub(super) fn mask_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.split_once('=') {
            Some((key, value)) if may_be_secret(key) => format!("{key}={}", stars(value)),
            _ => line.to_owned(),
        })
        .collect()
}

/// Whether a key has the name of a secret.
pub(super) fn may_be_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

fn stars(value: &str) -> String {
    let keep = |byte: u8| matches!(byte, b'\n' | b'\r' | b' ' | b'"' | b'\'' | b'[' | b']' | b',');
    value.bytes().map(|byte| if keep(byte) { char::from(byte) } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_value_keeps_its_length_and_shape() {
        let mut text = "a = [\"xä\", 'y']\nb = 1\n".to_owned();
        let length = text.len();
        mask(&mut text, 4..16);
        assert_eq!(text, "a = [\"***\", '*']\nb = 1\n");
        mask(&mut text, 21..22);
        assert_eq!((text.len(), text.ends_with("b = 1\n")), (length, true));
    }

    #[test]
    fn the_value_of_a_variable_is_masked_as_a_whole() {
        let mut text = "ROHAS_X__Y=abc".to_owned();
        mask(&mut text, 11..14);
        assert_eq!(text, "ROHAS_X__Y=***");
    }

    #[test]
    fn secrets_of_a_broken_file_are_masked_by_their_names() {
        assert_eq!(mask_lines("a = 1\napi_key = \"x\nb = 2"), "a = 1\napi_key = \"*\nb = 2");
    }
}
