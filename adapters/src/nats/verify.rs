//! Is what the servers have as the promises need it? Nothing is changed here: it may be somebody's will.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, Info as ConsumerInfo};
use async_nats::jetstream::stream::{Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType, Stream};
use futures_util::TryStreamExt;

use super::connection::failed;
use super::topology::Topology;
use crate::broker::Error;
use crate::remote::Finding;

/// Fewer lent messages would hold daemons up.
const LEAST_ACK_PENDING: i64 = 4_096;

impl Topology {
    /// Looks at the streams and their consumers. What is not there yet is no finding: it is made.
    pub(super) async fn verify(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        for wanted in [self.events(), self.dead()] {
            let Some(stream) = self.find(&wanted.name).await? else { continue };
            stream_findings(&wanted, &stream.cached_info().config, &mut findings);
            if wanted.name == self.names.stream {
                self.verify_consumers(&stream, &mut findings).await?;
            }
        }
        Ok(findings)
    }

    async fn verify_consumers(&self, stream: &Stream, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let listed = stream.consumers().try_collect::<Vec<ConsumerInfo>>().await;
        for consumer in listed.map_err(|error| failed("the consumers cannot be listed", error))? {
            if let Some(filter) = self.names.filter(&consumer.name) {
                self.consumer_findings(&consumer, &filter, findings);
            }
        }
        Ok(())
    }

    fn consumer_findings(&self, found: &ConsumerInfo, filter: &str, findings: &mut Vec<Finding>) {
        let config = &found.config;
        let mut note = |what: String, remedy: String| {
            findings.push(Finding { at: format!("{} of {}", found.name, found.stream_name).into(), what, remedy });
        };
        let anew = || {
            format!(
                "remove it with `nats consumer rm {} {}` while nothing is published, then start again",
                found.stream_name, found.name
            )
        };
        let edit = |change: &str| format!("nats consumer edit {} {} {change}", found.stream_name, found.name);
        if config.durable_name.is_none() || config.inactive_threshold > Duration::ZERO {
            note("it is removed when nobody consumes, with all that waits".to_owned(), anew());
        }
        if config.deliver_subject.is_some() {
            note("it pushes, expected one that is pulled from".to_owned(), anew());
        }
        if config.ack_policy != AckPolicy::Explicit {
            note(
                format!(
                    "its ack policy is {:?}, expected Explicit: messages are lost or finished with others",
                    config.ack_policy
                ),
                anew(),
            );
        }
        if config.filter_subject != filter || !config.filter_subjects.is_empty() {
            note(format!("it takes {:?}, expected {filter:?}", config.filter_subject), anew());
        }
        if !matches!(
            config.deliver_policy,
            DeliverPolicy::New
                | DeliverPolicy::All
                | DeliverPolicy::ByStartSequence { .. }
                | DeliverPolicy::ByStartTime { .. }
        ) {
            note(
                format!("its deliver policy is {:?}, expected New: events are left out", config.deliver_policy),
                anew(),
            );
        }
        if config.max_deliver > 0 {
            note(
                format!(
                    "it gives up after {} deliveries, expected never: messages are lost without a dead letter",
                    config.max_deliver
                ),
                edit("--max-deliver=-1"),
            );
        }
        if !config.backoff.is_empty() || config.ack_wait < self.options.ack_wait {
            note(
                format!(
                    "it lends messages for {:?}, expected {:?} without backoff: they may be handed out twice",
                    config.ack_wait, self.options.ack_wait
                ),
                edit(&format!("--wait={}s", self.options.ack_wait.as_secs())),
            );
        }
        if (1..LEAST_ACK_PENDING).contains(&config.max_ack_pending) {
            note(
                format!(
                    "it lends {} messages at most, expected {}: others wait for them",
                    config.max_ack_pending, self.options.max_ack_pending
                ),
                edit(&format!("--max-pending={}", self.options.max_ack_pending)),
            );
        }
        if config.memory_storage {
            note(
                "its progress is kept in memory, expected in files: it begins anew after a restart".to_owned(),
                anew(),
            );
        }
    }
}

fn stream_findings(wanted: &Config, found: &Config, findings: &mut Vec<Finding>) {
    let name = &wanted.name;
    let at: Arc<str> = name.as_str().into();
    let mut note = |what: String, remedy: String| findings.push(Finding { at: Arc::clone(&at), what, remedy });
    let edit = |change: String| format!("nats stream edit {name} {change}");
    let anew = || {
        format!("this cannot be changed: back it up with `nats stream backup {name} DIR`, remove it, and start again")
    };
    if found.storage != StorageType::File {
        note("it is kept in memory, expected in files: a restart loses it".to_owned(), anew());
    }
    if found.persist_mode == Some(PersistenceMode::Async) {
        note("it confirms messages before it has written them".to_owned(), anew());
    }
    if found.no_ack {
        note("it confirms no messages, so nothing can be published".to_owned(), edit("--ack".to_owned()));
    }
    if found.retention != RetentionPolicy::Limits {
        note(
            format!(
                "its retention is {:?}, expected Limits: handlers that are new or paused miss events",
                found.retention
            ),
            anew(),
        );
    }
    if found.num_replicas < wanted.num_replicas {
        note(
            format!("it has {} replicas, expected {}", found.num_replicas, wanted.num_replicas),
            edit(format!("--replicas={}", wanted.num_replicas)),
        );
    }
    if found.sealed || found.mirror.is_some() {
        note("it takes no messages: it is sealed, or a mirror".to_owned(), anew());
    }
    if !wanted.subjects.iter().all(|subject| found.subjects.contains(subject)) {
        note(
            format!("its subjects are {:?}, expected {:?}", found.subjects, wanted.subjects),
            edit(format!("--subjects='{}'", wanted.subjects.join(","))),
        );
    }
    if wanted.discard != DiscardPolicy::New {
        return;
    }
    let limits = found.max_bytes > 0 || found.max_messages > 0 || found.max_messages_per_subject > 0;
    if found.discard != DiscardPolicy::New && limits {
        note(
            "it drops old messages when it is full, handled or not; expected to refuse new ones".to_owned(),
            edit("--discard=new".to_owned()),
        );
    }
    let shorter = found.max_age > Duration::ZERO && (wanted.max_age.is_zero() || found.max_age < wanted.max_age);
    if shorter {
        note(
            format!("it keeps messages for {:?}, expected {:?}", found.max_age, wanted.max_age),
            edit(format!("--max-age={}s", wanted.max_age.as_secs())),
        );
    }
    if found.duplicate_window < wanted.duplicate_window {
        note(
            format!(
                "it knows copies for {:?}, expected {:?}: events may be doubled",
                found.duplicate_window, wanted.duplicate_window
            ),
            edit(format!("--dupe-window={}s", wanted.duplicate_window.as_secs())),
        );
    }
}
