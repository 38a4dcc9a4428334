//! What has come through an intake and is not finished? Those that nobody has taken yet, and where to tell the server of each.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::Subject;
use tokio::sync::Notify;

use crate::broker::Error;
use crate::remote::Arrival;
use crate::remote::wire::Incoming;

/// Between the task that pulls, those who take, and the link, which gives back what an abandoned intake has left.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Guards what is there; held for the changes of one batch.
    state: Mutex<State>,
    /// Rung when there is something to take, or never will be.
    pub(super) arrived: Notify,
    /// Rung when something was taken, or it has ended.
    pub(super) taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arrival>,
    waiting_bytes: usize,
    /// Where the server waits to hear of each, taken or not.
    unfinished: HashMap<u64, Subject>,
    next_token: u64,
    last_acked: Option<Subject>,
    ended: Option<Error>,
}

/// A message that has come, and where the server waits to hear of it.
pub(super) struct Arrived {
    pub(super) message: Incoming,
    pub(super) reply: Subject,
}

/// What an intake leaves.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Not finished, in the order of arrival.
    pub(super) unfinished: Vec<Subject>,
    /// What was acked last.
    pub(super) last_acked: Option<Subject>,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, batch: Vec<Arrived>) {
        let mut state = self.state();
        for Arrived { message, reply } in batch {
            let token = state.next_token;
            state.next_token += 1;
            state.unfinished.insert(token, reply);
            // Nobody takes from one that has ended.
            if state.ended.is_none() {
                state.waiting_bytes += message.body.len();
                state.waiting.push_back(Arrival { token, message });
            }
        }
        drop(state);
        self.arrived.notify_waiters();
    }

    /// What is there, or why there will be nothing.
    pub(super) fn take(&self, limit: usize) -> Option<Result<Vec<Arrival>, Error>> {
        let mut state = self.state();
        if let Some(error) = &state.ended {
            return Some(Err(error.clone()));
        }
        let count = state.waiting.len().min(limit.max(1));
        if count == 0 {
            return None;
        }
        let taken: Vec<Arrival> = state.waiting.drain(..count).collect();
        state.waiting_bytes -= taken.iter().map(|arrival| arrival.message.body.len()).sum::<usize>();
        drop(state);
        self.taken.notify_one();
        Some(Ok(taken))
    }

    /// How many wait to be taken, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.waiting_bytes)
    }

    /// Where to tell of those that wait to be taken.
    pub(super) fn waiting_replies(&self) -> Vec<Subject> {
        let state = self.state();
        let replies = state.waiting.iter().filter_map(|arrival| state.unfinished.get(&arrival.token));
        replies.cloned().collect()
    }

    /// Where to tell of these.
    pub(super) fn replies(&self, tokens: &[u64]) -> Result<Vec<Subject>, Error> {
        let state = self.state();
        match &state.ended {
            Some(error) => Err(error.clone()),
            None => Ok(tokens.iter().filter_map(|token| state.unfinished.get(token).cloned()).collect()),
        }
    }

    /// Where to tell of these for the last time.
    pub(super) fn finish(&self, tokens: &[u64], acked: bool) -> Result<Vec<Subject>, Error> {
        let mut state = self.state();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let replies: Vec<Subject> = tokens.iter().filter_map(|token| state.unfinished.remove(token)).collect();
        if let Some(last) = replies.last().filter(|_| acked) {
            state.last_acked = Some(last.clone());
        }
        Ok(replies)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    /// Nothing is handed out through it any more.
    pub(super) fn end(&self, error: Error) {
        let mut state = self.state();
        state.ended.get_or_insert(error);
        state.waiting.clear();
        state.waiting_bytes = 0;
        drop(state);
        self.arrived.notify_waiters();
        self.taken.notify_one();
    }

    /// Takes what is to be told to the server at the end. What was left once is left no more.
    pub(super) fn leave(&self) -> Leftovers {
        let mut state = self.state();
        let mut unfinished: Vec<(u64, Subject)> = state.unfinished.drain().collect();
        unfinished.sort_unstable_by_key(|(token, _)| *token);
        let unfinished = unfinished.into_iter().map(|(_, reply)| reply).collect();
        Leftovers { unfinished, last_acked: state.last_acked.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(number: usize) -> Arrived {
        let message = Incoming { body: format!("{number}").into(), ..Incoming::default() };
        Arrived { message, reply: format!("reply.{number}").into() }
    }

    fn desk(count: usize) -> Desk {
        let desk = Desk::default();
        desk.put((0..count).map(arrived).collect());
        desk
    }

    fn tokens(arrivals: &[Arrival]) -> Vec<u64> {
        arrivals.iter().map(|arrival| arrival.token).collect()
    }

    #[test]
    fn arrivals_are_taken_in_order_and_counted() {
        let desk = desk(3);
        assert_eq!(desk.waiting(), (3, 3));
        let taken = desk.take(2).expect("something is there").expect("it has not ended");
        assert_eq!(tokens(&taken), [0, 1]);
        assert_eq!(desk.waiting(), (1, 1));
        assert_eq!(desk.waiting_replies(), [Subject::from("reply.2")]);
        assert!(desk.take(5).is_some() && desk.take(5).is_none());
    }

    #[test]
    fn what_was_finished_is_told_once() {
        let desk = desk(2);
        assert_eq!(desk.finish(&[1, 0], true).expect("it has not ended").len(), 2);
        assert!(desk.finish(&[1], true).expect("it has not ended").is_empty());
        assert_eq!(desk.leave().last_acked, Some("reply.0".into()));
    }

    #[test]
    fn one_that_has_ended_leaves_everything_unfinished_in_order() {
        let desk = desk(4);
        desk.finish(&[1], true).expect("it has not ended");
        desk.end(Error::Unavailable("gone".to_owned()));
        desk.put(vec![arrived(9)]);
        assert!(matches!(desk.take(1), Some(Err(Error::Unavailable(_)))));
        assert!(desk.finish(&[0], true).is_err() && desk.replies(&[0]).is_err());
        let left: Vec<String> = desk.leave().unfinished.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["reply.0", "reply.2", "reply.3", "reply.9"]);
        assert!(desk.leave().unfinished.is_empty());
    }
}
