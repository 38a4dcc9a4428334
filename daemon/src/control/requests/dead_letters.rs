//! Which dead letters are there, and what is to become of them?

use std::cmp::Reverse;

use rohas_adapters::broker::{self, DeadLetterFilter};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Request, unavailable};
use crate::brokers::{Brokers, Gathered, patiently};
use crate::control::view::{DeadLetter, DeadLetters, Unavailable};

/// Fewer digits of an id would match by accident.
const MIN_PREFIX: usize = 4;

/// Which dead letters; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Selection {
    pub(crate) event: Option<String>,
    pub(crate) handler: Option<String>,
    /// Given up before this one, for the next page.
    pub(crate) before: Option<Uuid>,
    pub(crate) limit: usize,
}

/// The dead letters of a selection, newest first. Fewer than its limit may be a part of them, none is the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct List(pub(crate) Selection);

/// Only their ids, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identify(pub(crate) Selection);

/// The one dead letter whose id begins so.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Find(pub(crate) String);

/// Dead letters, of those adapters that answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ids {
    pub(crate) ids: Vec<Uuid>,
    pub(crate) unavailable: Vec<Unavailable>,
}

/// Hands dead letters to their handlers again; answers with those that moved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Redrive(pub(crate) Vec<Uuid>);

/// Deletes dead letters; answers with those that were there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Purge(pub(crate) Vec<Uuid>);

impl Request for List {
    const PATH: &'static str = "/dead-letters/list";
    type Answer = DeadLetters;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let (letters, unavailable) = select(brokers, &self.0).await;
        Ok(DeadLetters { dead_letters: letters.into_iter().map(DeadLetter::from).collect(), unavailable })
    }
}

impl Request for Identify {
    const PATH: &'static str = "/dead-letters/ids";
    type Answer = Ids;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let (ids, unavailable) = gather(brokers, self.0, |letter| letter.id).await;
        Ok(Ids { ids, unavailable })
    }
}

impl Request for Find {
    const PATH: &'static str = "/dead-letters/find";
    type Answer = DeadLetter;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let Find(prefix) = self;
        let range = Range::of(&prefix).ok_or_else(|| Error::Prefix { prefix: prefix.clone(), least: MIN_PREFIX })?;
        // The newest below the end of the range are the only ones that can be in it.
        let selection = Selection { before: range.after, limit: 2, ..Selection::default() };
        let (found, unavailable) = gather(brokers, selection, |letter| letter).await;
        let mut found = found.into_iter().filter(|letter| letter.id >= range.first);
        match (found.next(), found.next()) {
            (Some(first), Some(second)) => Err(Error::Ambiguous { prefix, first: first.id, second: second.id }),
            (Some(letter), None) => Ok(letter.into()),
            (None, _) => Err(Error::DeadLetter { prefix, unavailable }),
        }
    }
}

impl Request for Redrive {
    const PATH: &'static str = "/dead-letters/redrive";
    type Answer = Ids;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        Ok(Ids::from(brokers.gather(|broker| broker.redrive(&self.0)).await))
    }
}

impl Request for Purge {
    const PATH: &'static str = "/dead-letters/purge";
    type Answer = Ids;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        Ok(Ids::from(brokers.gather(|broker| broker.purge(&self.0)).await))
    }
}

impl From<Gathered<'_, Vec<Uuid>>> for Ids {
    fn from(gathered: Gathered<'_, Vec<Uuid>>) -> Self {
        let ids = gathered.found.into_iter().flat_map(|(_, ids)| ids).collect();
        Self { ids, unavailable: unavailable(gathered.unavailable) }
    }
}

/// What is wanted of all dead letters of a selection; of the letters themselves a part is in memory at a time.
async fn gather<T>(
    brokers: &Brokers,
    mut selection: Selection,
    wanted: fn(broker::DeadLetter) -> T,
) -> (Vec<T>, Vec<Unavailable>) {
    let most = selection.limit;
    let mut found = Vec::new();
    loop {
        selection.limit = most - found.len();
        let (part, unavailable) = select(brokers, &selection).await;
        selection.before = part.last().map(|last| last.id);
        found.extend(part.into_iter().map(wanted));
        if selection.before.is_none() || found.len() >= most {
            return (found, unavailable);
        }
    }
}

/// The first part of a selection, of those adapters that answer.
async fn select(brokers: &Brokers, selection: &Selection) -> (Vec<broker::DeadLetter>, Vec<Unavailable>) {
    let Selection { event, handler, before, limit } = selection;
    let filter = DeadLetterFilter { event: event.clone(), handler: handler.clone(), before: *before };
    let gathered = brokers.gather(|broker| patiently(broker.dead_letters(&filter, *limit))).await;
    let parts = gathered.found.iter().map(|(_, part)| part).filter(|part| part.len() < *limit);
    // The next ones of whoever has told a part may be newer than what others have told.
    let end = parts.filter_map(|part| part.last()).map(|last| last.id).max();
    let mut letters: Vec<_> = gathered.found.into_iter().flat_map(|(_, letters)| letters).collect();
    letters.retain(|letter| end.is_none_or(|end| letter.id >= end));
    letters.sort_by_key(|letter| Reverse(letter.id));
    letters.truncate(*limit);
    (letters, unavailable(gathered.unavailable))
}

/// The ids that begin with the same digits.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: Uuid,
    /// The first that no longer does; `None` at the end of all ids.
    after: Option<Uuid>,
}

impl Range {
    fn of(prefix: &str) -> Option<Self> {
        let digits: String = prefix.chars().filter(|&character| character != '-').collect();
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hexadecimal || !(MIN_PREFIX..=32).contains(&digits.len()) {
            return None;
        }
        let open_bits = 4 * (32 - digits.len());
        let first = u128::from_str_radix(&digits, 16).ok()? << open_bits;
        let after = first.checked_add(1 << open_bits);
        Some(Self { first: Uuid::from_u128(first), after: after.map(Uuid::from_u128) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use rohas_adapters::broker::{Broker, Failure, History, Obituary, Publication, Subscription};
    use rohas_adapters::memory::{self, Memory};
    use rohas_adapters::{Envelope, TraceContext};

    use super::*;

    async fn bury(broker: &Memory, bytes: usize) {
        let consumer = broker.subscribe(&Subscription { event: "E".into(), handler: "h".into() }).await.unwrap();
        let envelope = Envelope {
            id: Uuid::now_v7(),
            source: "test".into(),
            event: "E".into(),
            key: None,
            time: SystemTime::now(),
            data: vec![b'x'; bytes].into(),
            trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
            causation: None,
            version: 1,
            hops: 0,
        };
        broker.publish(vec![Publication { envelope, due: None, dedupe: Duration::ZERO }]).await.unwrap();
        let delivery = consumer.next(1).await.unwrap().remove(0);
        let failure =
            Failure { at: SystemTime::now(), code: "x".to_owned(), message: "boom".to_owned(), traceback: None };
        let obituary = Obituary { history: History::default(), first: failure.clone(), last: failure };
        consumer.dead_letter(&delivery, &obituary).await.unwrap();
    }

    #[tokio::test]
    async fn parts_of_several_stores_leave_none_out() {
        let (large, small) = (Memory::new(memory::Options::default()), Memory::new(memory::Options::default()));
        for _ in 0..12 {
            bury(&large, 1_500_000).await;
            bury(&small, 10).await;
        }
        let brokers: [(String, Arc<dyn Broker>); 2] =
            [("large".to_owned(), Arc::new(large)), ("small".to_owned(), Arc::new(small))];
        let brokers = Brokers::these(brokers);
        let all = Selection { limit: 100, ..Selection::default() };
        let (first, _) = select(&brokers, &all).await;
        assert!((1..24).contains(&first.len()), "{} came at once", first.len());
        let (ids, _) = gather(&brokers, all, |letter| letter.id).await;
        assert_eq!(ids.len(), 24);
        assert!(ids.is_sorted_by(|one, other| one > other), "newest first");
        let few = Selection { limit: 9, ..Selection::default() };
        let (some, _) = gather(&brokers, few, |letter| letter.id).await;
        assert_eq!(some, ids[..9]);
    }

    #[test]
    fn the_beginning_of_an_id_is_a_range_of_ids() {
        let id = |text: &str| text.parse::<Uuid>().unwrap();
        let range = Range::of("0190-a").unwrap();
        assert_eq!(range.first, id("0190a000-0000-0000-0000-000000000000"));
        assert_eq!(range.after, Some(id("0190b000-0000-0000-0000-000000000000")));
        let whole = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee";
        assert_eq!(Range::of(whole).unwrap().first, id(whole));
        assert_eq!(Range::of(whole).unwrap().after, Some(id("0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeef")));
        assert_eq!(Range::of("ffff").unwrap().after, None);
        for wrong in ["", "019", "+0190", "xyzw", "0190aaaabbbb7ccc8dddeeeeeeeeeeee0"] {
            assert_eq!(Range::of(wrong), None, "{wrong}");
        }
    }
}
