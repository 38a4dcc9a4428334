//! Does any text make the schema language panic? Mutations of the fixtures, for `ROHAS_FUZZ_SECONDS` (2 without it).
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rohas_config::schema::{Context, Sources, check, format};

/// Pieces that the grammar gives a meaning to.
const PIECES: [&str; 36] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    ":",
    ",",
    "?",
    "@",
    "\"",
    "'",
    "//",
    "/*",
    "*/",
    "///",
    "\n",
    "\0",
    "\u{feff}",
    "é",
    "model ",
    "event ",
    "api ",
    "cron ",
    "ws ",
    "enum ",
    "import ",
    "Map<",
    "String",
    "@default(",
    "-1",
    "1e999",
    "10ms",
    "99999999999999999999",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut texts = Vec::new();
    for directory in ["valid", "invalid"] {
        for entry in fs::read_dir(tests.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "ro") {
                texts.push(fs::read(path).unwrap());
            }
        }
    }
    texts.sort();
    texts
}

fn mutate(text: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(5) {
        0 => drop(text.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
        1 => {
            let end = (at + random.below(12)).min(text.len());
            drop(text.drain(at..end));
        }
        2 => {
            let from = random.below(other.len() + 1);
            let piece = other[from..(from + random.below(200)).min(other.len())].to_vec();
            drop(text.splice(at..at, piece));
        }
        3 if at < text.len() => text[at] = u8::try_from(random.below(256)).unwrap(),
        _ => {
            let end = (at + random.below(40)).min(text.len());
            let piece = text[at..end].repeat(1 + random.below(50));
            drop(text.splice(at..at, piece));
        }
    }
}

#[test]
fn fuzz_any_text_gets_a_schema_or_diagnostics() {
    let seconds = std::env::var("ROHAS_FUZZ_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let corpus = corpus();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut executions = 0_u64;
    while Instant::now() < until {
        let mut text = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(8) {
            let other = random.below(corpus.len());
            mutate(&mut text, &corpus[other], &mut random);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let checked = check(&Sources::from_texts([("schema/fuzz.ro", &*text)]), &Context::default());
        assert!(checked.schema.is_some() || !checked.diagnostics.is_empty(), "no answer to:\n{text}");
        if let Ok(once) = format::format("schema/fuzz.ro", &text) {
            let twice = format::format("schema/fuzz.ro", &once).unwrap();
            assert_eq!(once, twice, "not idempotent for:\n{text}");
        }
        executions += 1;
    }
    eprintln!("schema fuzzing: {executions} executions in {seconds} s");
}
