//! What does a reference in the file stand for? `${NAME}` and `${NAME:-default}` for environment variables,
//! `file:path` for the content of a file (secrets only).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::layers::LeafValue;
use super::value::Fault;

/// What a reference to a file begins with.
pub(super) const FILE_PREFIX: &str = "file:";

/// Replaces the references in a value. A string with one becomes text, so that `port = "${PORT}"` is a number.
pub(super) fn resolve(value: toml::Value, environment: &BTreeMap<String, String>) -> Result<LeafValue, Fault> {
    match value {
        toml::Value::String(text) => Ok(match expand(&text, environment)? {
            Some(expanded) => LeafValue::Text(expanded),
            None => LeafValue::Toml(toml::Value::String(text)),
        }),
        toml::Value::Array(items) => {
            let items = items.into_iter().map(|item| resolve_item(item, environment)).collect::<Result<_, _>>()?;
            Ok(LeafValue::Toml(toml::Value::Array(items)))
        }
        other => Ok(LeafValue::Toml(other)),
    }
}

fn resolve_item(item: toml::Value, environment: &BTreeMap<String, String>) -> Result<toml::Value, Fault> {
    match item {
        toml::Value::String(text) => Ok(toml::Value::String(expand(&text, environment)?.unwrap_or(text))),
        other => Ok(other),
    }
}

/// The text with its references replaced, `None` when it has none. `$${` stands for `${` itself.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> Result<Option<String>, Fault> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = &reference[2..];
            continue;
        }
        expanded.push_str(before);
        let Some((name, after)) = reference[2..].split_once('}') else {
            return Err(Fault::new("a reference to an environment variable has no end")
                .help("write ${NAME}, or $${ for the characters themselves"));
        };
        expanded.push_str(lookup(name, environment)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(Some(expanded))
}

fn lookup<'a>(reference: &'a str, environment: &'a BTreeMap<String, String>) -> Result<&'a str, Fault> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(Fault::new(format!("{name:?} is not the name of an environment variable"))
            .help("write ${NAME}, or $${ for the characters themselves"));
    }
    match (environment.get(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (None, None) => Err(Fault::new(format!("the environment variable {name} is not set"))
            .help(format!("set it, or write ${{{name}:-default}} for a value that holds without it"))),
    }
}

/// The secret that a text stands for: the content of a file for `file:path`, else the text itself.
pub(super) fn secret(text: &str, root: &Path) -> Result<String, Fault> {
    let Some(path) = text.strip_prefix(FILE_PREFIX) else { return non_empty(text.to_owned(), "the secret is empty") };
    let content = fs::read_to_string(root.join(path)).map_err(|error| {
        Fault::new(format!("cannot read the secret from {path}: {error}"))
            .help("relative paths count from the project's root")
    })?;
    // Editors and `echo` end a file with a line break that is not part of the secret.
    let secret = content.strip_suffix('\n').map_or(content.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    non_empty(secret.to_owned(), &format!("the secret in {path} is empty"))
}

fn non_empty(secret: String, message: &str) -> Result<String, Fault> {
    if secret.is_empty() { Err(Fault::new(message).help("remove the key to have none")) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [("A", "1"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn references_are_replaced_in_text() {
        for (text, expanded) in [
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("$${A}", "${A}"),
            ("${B:-2}", "2"),
            ("${EMPTY:-2}", "2"),
            ("${EMPTY}", ""),
            ("$$$${A}", "$$${A}"),
        ] {
            assert_eq!(expand(text, &environment()).unwrap().as_deref(), Some(expanded), "{text}");
        }
        assert_eq!(expand("$A {A}", &environment()), Ok(None));
    }

    #[test]
    fn a_reference_to_nothing_is_refused() {
        for text in ["${B}", "${A", "${}", "${a b}", "${1}"] {
            assert!(expand(text, &environment()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_from_a_file_without_its_last_line_break() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("key"), "s3cret\r\n").unwrap();
        fs::write(root.path().join("empty"), "\n").unwrap();
        assert_eq!(secret("file:key", root.path()).as_deref(), Ok("s3cret"));
        assert_eq!(secret("plain", root.path()).as_deref(), Ok("plain"));
        assert!(secret("file:empty", root.path()).is_err());
        assert!(secret("file:missing", root.path()).unwrap_err().message.contains("missing"));
    }
}
