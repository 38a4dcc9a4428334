//! Which known name did someone probably mean?

/// More names than this are not searched, so that a broken file with many names stays cheap.
const MAX_KNOWN: usize = 1_000;

/// Longer names than this were not mistyped.
const MAX_LENGTH: usize = 64;

/// "did you mean `x`?", when a known name is close enough to what was written.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(written, known).map(|name| format!("did you mean `{name}`?"))
}

/// The known name nearest to what was written: the same but for case, else at most a third of its letters away.
pub(crate) fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > MAX_LENGTH {
        return None;
    }
    let lower = written.to_lowercase();
    let allowed = (written.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .take(MAX_KNOWN)
        .filter(|name| name.len().abs_diff(written.len()) <= 4 * allowed)
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn distance(left: &str, right: &str) -> usize {
    strsim::damerau_levenshtein(left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_slips_are_recognised() {
        let known = ["String", "Int", "DateTime", "OrderPlaced"];
        for (written, meant) in
            [("string", "String"), ("Datetime", "DateTime"), ("OrderPlcaed", "OrderPlaced"), ("Itn", "Int")]
        {
            assert_eq!(closest(written, known), Some(meant));
        }
    }

    #[test]
    fn strangers_are_not_suggested() {
        assert_eq!(did_you_mean("Customer", ["String", "Int"]), None);
        assert_eq!(did_you_mean("Date", ["Float"]), None);
    }
}
