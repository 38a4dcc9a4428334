//! `rohas version`: exactly one line.

use crate::cli::Outcome;

pub(super) fn run() -> Outcome {
    outln!("rohas {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}
