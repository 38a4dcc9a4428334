//! Does anything wait for a handler that is gone?

use super::Check;
use crate::control::view::Subscription;

pub(super) fn subscriptions(all: &[Subscription]) -> Check {
    let left: Vec<String> = all
        .iter()
        .filter(|subscription| !subscription.declared)
        .map(|subscription| format!("{}--{}", subscription.event, subscription.handler))
        .collect();
    if left.is_empty() {
        return Check::good("subscriptions", format!("{} known, the schema declares each", all.len()));
    }
    let found = format!("the schema no longer declares {}", left.join(", "));
    Check::warning(
        "subscriptions",
        found,
        "`rohas subscriptions prune --all` removes them with the messages that wait in them",
    )
}
