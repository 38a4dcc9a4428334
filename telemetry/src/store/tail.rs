//! Which records are in memory? The newest whole blocks, as many as fit into `max_cache_size` records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Key;
use crate::Record;

#[derive(Debug)]
pub(super) struct Tail {
    most: usize,
    /// Guards the map; held to insert or look up one block.
    blocks: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    records: usize,
    by_key: BTreeMap<Key, Arc<[Record]>>,
}

impl Tail {
    pub(super) fn new(most: usize) -> Self {
        Self { most, blocks: Mutex::default() }
    }

    /// Adds the newest block; the oldest make room for it. A block that is too large by itself is not kept.
    pub(super) fn insert(&self, key: Key, records: Vec<Record>) {
        if records.len() > self.most {
            return;
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.records += records.len();
        blocks.by_key.insert(key, records.into());
        while blocks.records > self.most {
            let Some((_, oldest)) = blocks.by_key.pop_first() else { break };
            blocks.records -= oldest.len();
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<Arc<[Record]>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(&key).cloned()
    }

    /// Forgets a block that the retention removed.
    pub(super) fn remove(&self, key: Key) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(records) = blocks.by_key.remove(&key) {
            blocks.records -= records.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, SpanId, TraceId};

    fn records(count: usize) -> Vec<Record> {
        (0..count).map(|_| Record::new(Kind::Request, "A".into(), TraceId::random(), SpanId::random())).collect()
    }

    #[test]
    fn oldest_blocks_make_room() {
        let tail = Tail::new(5);
        tail.insert(Key(1), records(2));
        tail.insert(Key(2), records(3));
        assert!(tail.get(Key(1)).is_some());
        tail.insert(Key(3), records(1));
        assert!(tail.get(Key(1)).is_none());
        assert_eq!(tail.get(Key(2)).unwrap().len() + tail.get(Key(3)).unwrap().len(), 4);
    }

    #[test]
    fn block_beyond_the_limit_is_not_kept() {
        let tail = Tail::new(2);
        tail.insert(Key(1), records(1));
        tail.insert(Key(2), records(3));
        assert!(tail.get(Key(1)).is_some() && tail.get(Key(2)).is_none());
    }
}
