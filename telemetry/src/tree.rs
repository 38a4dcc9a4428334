//! How do the records of a trace hang together? By their parents, across requests, events and handlers.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::Damage;
use crate::{Record, SpanId, Timestamp, TraceId, json};

/// All records of one trace. A record whose parent is not there stands at the root.
///
/// Its serde shape is the output of `rohas traces show --json`: `records` in the order in which the tree is read from top to bottom,
/// each with its `depth`, so that no reader has to recurse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The trace.
    pub trace_id: TraceId,
    /// When its first record began.
    #[serde(with = "json::timestamp")]
    pub started_at: Timestamp,
    /// From the beginning of the first record to the end of the last.
    #[serde(rename = "duration_ms", with = "json::milliseconds")]
    pub duration: Duration,
    /// The records from top to bottom.
    pub records: Vec<Node>,
    /// Blocks that could not be read; records may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damage>,
}

/// A record and its place in the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// 0 at a root, else one more than the record's parent, which is the nearest one above with a smaller depth.
    pub depth: usize,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

impl Tree {
    /// Puts records, which come in any order, into a tree.
    pub(crate) fn new(trace_id: TraceId, mut records: Vec<Record>, damaged: Vec<Damage>) -> Self {
        records.sort_by_key(|record| (record.started_at, record.ended_at()));
        let started_at = records.first().map(|record| record.started_at).unwrap_or_default();
        let ended_at = records.iter().map(Record::ended_at).max().unwrap_or_default();
        let duration = Duration::from_nanos(ended_at.as_nanos() - started_at.as_nanos());
        Self { trace_id, started_at, duration, records: arrange(records), damaged }
    }

    /// Whether nothing is recorded of the trace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Walks the tree with a stack of its own: a chain of events may be longer than the thread's stack is deep.
fn arrange(records: Vec<Record>) -> Vec<Node> {
    let (children, roots) = link(&records);
    let mut records: Vec<Option<Record>> = records.into_iter().map(Some).collect();
    let mut nodes = Vec::with_capacity(records.len());
    let mut visit = |root: usize, records: &mut Vec<Option<Record>>| {
        let mut stack = vec![(root, 0)];
        while let Some((place, depth)) = stack.pop() {
            let Some(record) = records[place].take() else { continue };
            nodes.push(Node { depth, record });
            stack.extend(children[place].iter().rev().map(|child| (*child, depth + 1)));
        }
    };
    for root in roots {
        visit(root, &mut records);
    }
    // What is left are records that are each other's parents, which only a confused caller can make; they are shown nevertheless.
    for place in 0..records.len() {
        visit(place, &mut records);
    }
    nodes
}

/// The children of each record and the records without a parent, each by place, oldest first.
fn link(records: &[Record]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let places: HashMap<SpanId, usize> = records.iter().map(|record| record.span_id).zip(0..).collect();
    let mut children = vec![Vec::new(); records.len()];
    let mut roots = Vec::new();
    for (place, record) in records.iter().enumerate() {
        match record.parent.and_then(|parent| places.get(&parent)) {
            Some(parent) if *parent != place => children[*parent].push(place),
            _ => roots.push(place),
        }
    }
    (children, roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn record(span: u8, parent: Option<u8>, start: u64) -> Record {
        let id = |n| SpanId::from_bytes([n; 8]);
        Record {
            parent: parent.map(id),
            started_at: Timestamp::from_nanos(start),
            duration: Duration::from_nanos(10),
            ..Record::new(Kind::Delivery, "Event".into(), TraceId::from_bytes([1; 16]), id(span))
        }
    }

    fn shape(records: Vec<Record>) -> Vec<(usize, u8)> {
        let tree = Tree::new(TraceId::from_bytes([1; 16]), records, Vec::new());
        tree.records.iter().map(|node| (node.depth, node.record.span_id.as_bytes()[0])).collect()
    }

    #[test]
    fn records_hang_below_their_parents_oldest_first() {
        let records = vec![record(4, Some(2), 40), record(3, Some(1), 30), record(1, None, 10), record(2, Some(1), 20)];
        assert_eq!(shape(records), [(0, 1), (1, 2), (2, 4), (1, 3)]);
    }

    #[test]
    fn orphans_stand_at_the_root() {
        assert_eq!(
            shape(vec![record(2, Some(9), 5), record(3, Some(2), 6), record(1, None, 10)]),
            [(0, 2), (1, 3), (0, 1)]
        );
    }

    #[test]
    fn circles_are_shown_once() {
        assert_eq!(
            shape(vec![record(1, Some(2), 1), record(2, Some(1), 2), record(3, Some(3), 3)]),
            [(0, 3), (0, 1), (1, 2)]
        );
    }

    #[test]
    fn long_chains_do_not_overflow_the_stack() {
        let records = (0..50_000_u64).map(|n| Record {
            span_id: SpanId::from_bytes((n + 1).to_be_bytes()),
            parent: (n > 0).then(|| SpanId::from_bytes(n.to_be_bytes())),
            ..record(0, None, n)
        });
        let shape = shape(records.collect());
        assert_eq!(shape.last().map(|(depth, _)| *depth), Some(49_999));
    }

    #[test]
    fn duration_spans_all_records() {
        let tree = Tree::new(TraceId::from_bytes([1; 16]), vec![record(1, None, 10), record(2, None, 90)], Vec::new());
        assert_eq!((tree.started_at.as_nanos(), tree.duration.as_nanos()), (10, 90));
    }
}
