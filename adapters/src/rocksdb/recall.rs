//! How does a consumer get messages again that it has and does not keep? From memory, from the blocks of the log, and from those that had been put back.

use std::collections::HashMap;
use std::sync::Arc;

use super::consumer::RocksDbConsumer;
use super::cursor::{Due, RETURNED_TAG};
use super::database::Database;
use super::error::Fault;
use super::topic::{Found, Page, Topic};
use crate::broker::{Delivery, Error, History};

/// What was read of the log, by position.
#[derive(Default)]
struct Read {
    messages: HashMap<u64, Delivery>,
    unreadable: Vec<Unreadable>,
}

/// A message that cannot be read, and why.
struct Unreadable {
    position: u64,
    /// The end of the log.
    end: u64,
    cause: String,
}

impl RocksDbConsumer {
    /// Those that are to be had of these, in their order. The others are finished.
    pub(super) async fn read_again(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error> {
        let (returned, mut positions): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag & RETURNED_TAG != 0);
        positions.sort_unstable();
        let mut found = self.positions_again(positions).await?;
        if !returned.is_empty() {
            found.extend(self.returned_again(returned).await?);
        }
        Ok(tags.iter().filter_map(|tag| found.remove(tag)).collect())
    }

    async fn positions_again(&self, positions: Vec<u64>) -> Result<HashMap<u64, Delivery>, Error> {
        let topic = Arc::clone(&self.sub.topic);
        let Read { mut messages, unreadable } =
            self.shared.read(move |database| read_positions(database, &topic, positions)).await?;
        for Unreadable { position, end, cause } in unreadable {
            // Nothing but this one: whoever has others of its block has them whole.
            self.skip((position, Some(position + 1), end), &cause).await?;
        }
        let cursor = self.sub.cursor();
        messages.values_mut().for_each(|delivery| cursor.restore(delivery));
        Ok(messages)
    }

    async fn returned_again(&self, tags: Vec<u64>) -> Result<HashMap<u64, Delivery>, Error> {
        let sequences = tags.into_iter().map(|tag| tag & !RETURNED_TAG);
        let mut due: Vec<Due> = {
            let cursor = self.sub.cursor();
            sequences.filter_map(|sequence| Some((*cursor.returned_in_flight.get(&sequence)?, sequence))).collect()
        };
        let mut found = HashMap::with_capacity(due.len());
        while !due.is_empty() {
            let (read, readable) = self.readable(due.clone()).await?;
            let cursor = self.sub.cursor();
            found.extend(readable.into_iter().map(|(_, mut delivery)| {
                cursor.restore(&mut delivery);
                (delivery.tag, delivery)
            }));
            due.drain(..read);
        }
        Ok(found)
    }
}

/// Reads these positions, which are in order, and each block once.
fn read_positions(database: &Database, topic: &Topic, positions: Vec<u64>) -> Result<Read, Fault> {
    let (mut read, mut page) = (Read::default(), Page::default());
    let (mut recent, end) = (Vec::new(), topic.end());
    for position in positions {
        if topic.copy_recent(position..position + 1, &mut recent) == 0 && page.get(position).is_none() {
            let unreadable = |cause| Unreadable { position, end, cause };
            match topic.read_block(database, position)? {
                Found::Page(next) => page = next,
                Found::Unreadable(cause, _) => read.unreadable.push(unreadable(cause)),
                Found::Gone(_) => read.unreadable.push(unreadable("it is not there".to_owned())),
            }
        }
        if let Some(envelope) = recent.pop().or_else(|| page.get(position).cloned()) {
            read.messages.insert(position, Delivery { envelope, history: History::default(), tag: position });
        }
    }
    Ok(read)
}
