//! What do middlewares return in vain? It is the same for each request, so it is said once per version.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// So much is said of one version.
const MOST: usize = 100;

/// What has been said: middlewares with keys of the dicts that they returned.
///
/// The lock guards the set; it is only taken for what is returned in vain.
#[derive(Debug, Default)]
pub(crate) struct Vain(Mutex<BTreeSet<(Arc<str>, String)>>);

impl Vain {
    /// Says that a key that a middleware returned changes nothing.
    pub(super) fn tell(&self, middleware: &Arc<str>, key: &str, why: &'static str) {
        let said = (Arc::clone(middleware), key.to_owned());
        let is_new = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.len() < MOST && all.insert(said)
        };
        if is_new {
            tracing::warn!(%middleware, key, why, "what a middleware returned under this key changes nothing");
        }
    }
}
