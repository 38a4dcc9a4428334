//! Which traces are in a block? A sorted array of the first eight bytes of each trace id, so that a search is a bisection.
//!
//! Two ids with the same eight bytes only cost the reading of a block in vain.

use crate::TraceId;

/// All trace ids that begin with the same hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRange {
    low: [u8; 16],
    high: [u8; 16],
}

impl IdRange {
    /// Exactly this id.
    pub(crate) const fn one(id: TraceId) -> Self {
        Self { low: *id.as_bytes(), high: *id.as_bytes() }
    }

    /// The ids that begin with `digits`, which are lowercase hexadecimal; `None` when they are not, or too many.
    pub(crate) fn starting_with(digits: &str) -> Option<Self> {
        let (mut low, mut high) = ([0; 16], [0xff; 16]);
        if digits.len() > 32 {
            return None;
        }
        for (place, byte) in digits.bytes().enumerate() {
            let digit = crate::ids::digit(byte)?;
            let (shift, keep) = if place % 2 == 0 { (4, 0x0f) } else { (0, 0xf0) };
            low[place / 2] = low[place / 2] & keep | digit << shift;
            high[place / 2] = high[place / 2] & keep | digit << shift;
        }
        Some(Self { low, high })
    }

    /// Whether this id is one of them.
    pub(crate) fn contains(&self, id: TraceId) -> bool {
        (self.low..=self.high).contains(id.as_bytes())
    }

    /// Whether a block with this index may hold one of them.
    pub(crate) fn may_occur(&self, index: &[u8]) -> bool {
        let (prefixes, _) = index.as_chunks::<8>();
        let low = TraceId::from_bytes(self.low).prefix();
        let high = TraceId::from_bytes(self.high).prefix();
        let place = prefixes.partition_point(|prefix| u64::from_be_bytes(*prefix) < low);
        prefixes.get(place).is_some_and(|prefix| u64::from_be_bytes(*prefix) <= high)
    }
}

/// The sorted array of a block with these traces.
pub(super) fn encode(traces: impl Iterator<Item = TraceId>) -> Vec<u8> {
    let mut prefixes: Vec<u64> = traces.map(|trace| trace.prefix()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.into_iter().flat_map(u64::to_be_bytes).collect()
}
