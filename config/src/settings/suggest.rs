//! Which of the known words was probably meant?

/// The known word nearest to what was written, when it is near enough to be a slip or the only one that begins so.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    slip(&lower, &known).or_else(|| beginning(&lower, &known))
}

fn beginning<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut longer = known.iter().filter(|word| written.len() >= 4 && word.starts_with(written));
    longer.next().copied().filter(|_| longer.next().is_none())
}

fn slip<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(written, &word.to_lowercase()), *word))
        .filter(|(distance, word)| *distance <= 1.max(word.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The words in quotes, for a sentence: `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        assert_eq!(nearest("prot", ["host", "port"]), Some("port"));
        assert_eq!(nearest("Port", ["host", "port"]), Some("port"));
        assert_eq!(nearest("maxbody", ["max_body", "port"]), Some("max_body"));
        assert_eq!(nearest("retention", ["retention_days", "port"]), Some("retention_days"));
        assert_eq!(nearest("colour", ["host", "port"]), None);
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(one_of(&["a"]), "\"a\"");
        assert_eq!(one_of(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
