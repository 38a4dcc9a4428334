//! How many files may the daemon have open? As many as the system lets it: every connection is one.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, which many systems keep at 1024, to the hard one.
pub(crate) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(files = ?limit.maximum, "as many files may be open as the system allows"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
