//! Do the event stores open, have they room to grow, and does anything wait for a handler that is gone?

use std::fs;
use std::io;
use std::path::Path;

use rohas_config::settings::{Adapter, ByteSize, RocksDb, Settings};

use super::Check;
use crate::brokers::Brokers;
use crate::cli::desk::Desk;
use crate::cli::table::counted;
use crate::cli::{Failure, block_on};
use crate::control::Status;
use crate::control::requests::Subscriptions;
use crate::control::view::{Backlog, Overview, Subscription};
use crate::project::Project;

/// All that concerns events; `status` is that of the daemon that runs the project.
pub(super) fn checks(project: &Project, settings: &Settings, status: Option<&Status>) -> Vec<Check> {
    let adapters = std::iter::once(&settings.adapter).chain(settings.adapters.values());
    let stores = adapters.filter_map(|adapter| match adapter {
        Adapter::RocksDb(rocksdb) => Some(room(project, rocksdb)),
        _ => None,
    });
    let mut checks: Vec<Check> = stores.collect();
    match status {
        Some(status) => checks.extend(held(&status.overview)),
        None if Brokers::has_durable(settings) => match stored(project) {
            Ok(overview) => checks.extend(held(&overview)),
            Err(error) => {
                checks.push(Check::bad("subscriptions", error, "see the error; the path is `path` in [adapter]"));
            }
        },
        None => {}
    }
    checks
}

/// Whether a store can become as large as it may.
fn room(project: &Project, rocksdb: &RocksDb) -> Check {
    let path = rocksdb.directory(&project.root);
    let shown = path.display();
    let (free, used) = match free(&path).and_then(|free| Ok((free, used(&path)?))) {
        Ok(room) => room,
        Err(error) => return Check::bad("events", format!("{shown}: {error}"), "set `path` in [adapter]"),
    };
    let found = format!("{shown} has {} and {} free", readable(used), readable(free));
    if free < rocksdb.max_bytes.as_u64().saturating_sub(used) {
        let found = format!("{found}, less than it may grow to ({})", rocksdb.max_bytes);
        return Check::warning(
            "events",
            found,
            "make room, or lower `max_bytes`; publishers get errors while the disk is full",
        );
    }
    Check::good("events", found)
}

/// So many bytes, rounded up to a unit that suits them.
fn readable(bytes: u64) -> ByteSize {
    let unit: u64 = if bytes < 10 << 20 { 1 << 10 } else { 1 << 20 };
    ByteSize::bytes(bytes.div_ceil(unit) * unit)
}

/// Free bytes where a directory is or will be.
fn free(path: &Path) -> io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(existing)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

fn used(path: &Path) -> io::Result<u64> {
    if !path.exists() {
        return Ok(0);
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + entry?.metadata()?.len()))
}

fn stored(project: &Project) -> Result<Overview, String> {
    let asked = block_on(async {
        let desk = Desk::of(project.clone()).await?;
        let overview = desk.ask(Subscriptions {}).await?;
        desk.close().await?;
        Ok(overview)
    });
    match asked {
        Ok(Ok(overview)) => Ok(overview),
        Ok(Err(Failure::Invalid(text))) => Err(text),
        Ok(Err(Failure::Failed(error))) => Err(format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}

/// What the stores hold, as far as they can be asked.
fn held(overview: &Overview) -> Vec<Check> {
    let remedy = "see the error; when the disk was full the store works again by itself once there is room";
    let unavailable = overview.unavailable.iter().map(|missing| Check::bad("events", missing.to_string(), remedy));
    let strays = overview.outbox.iter().filter(|backlog| !backlog.configured).map(stray);
    unavailable.chain(strays).chain([subscriptions(&overview.subscriptions)]).collect()
}

/// What waits in the outbox for an adapter that is not there.
fn stray(backlog: &Backlog) -> Check {
    let Backlog { adapter, length, .. } = backlog;
    Check::warning(
        "outbox",
        format!("{} for [{adapter}], which the settings do not name", counted(*length, "event")),
        "put the section back, and what waits is relayed",
    )
}

fn subscriptions(all: &[Subscription]) -> Check {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_not_nothing() {
        let shown = [0, 1, 200_000, 3 << 20, (20 << 20) + 1].map(|bytes| readable(bytes).to_string());
        assert_eq!(shown, ["0B", "1KiB", "196KiB", "3MiB", "21MiB"]);
    }
}
