//! Settings of the adapter type `memory`.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Serialize;

use super::BUFFER_SIZE;
use crate::settings::reader::Section;

/// Settings of the adapter type `memory`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Memory {
    /// Most messages of a subscription that the daemon holds in memory at a time
    ///
    /// Nothing is dropped beyond it: a publisher to `memory` waits, others keep the rest. Of those that stay behind others of their key it holds as many again. Unit: messages, at least 1. Default: 1000.
    pub buffer_size: NonZeroU32,
}

impl Default for Memory {
    fn default() -> Self {
        Self { buffer_size: BUFFER_SIZE }
    }
}

impl Memory {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { buffer_size: section.get("buffer_size", BUFFER_SIZE) }
    }
}
