//! How is an adapter on a network set up, whatever its broker?

/// Settings that all of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many messages of one subscription may be handed out or wait for another attempt at a time. Beyond it the broker is not asked for more.
    pub window: usize,
    /// How many bytes they may have; one more is taken when there are less.
    pub window_bytes: usize,
}

impl Default for Options {
    /// 4,096 messages and 64 MiB per subscription.
    fn default() -> Self {
        Self { window: 4_096, window_bytes: 64 << 20 }
    }
}
