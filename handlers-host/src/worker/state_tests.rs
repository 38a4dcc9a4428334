//! Does every call get exactly one answer, whatever happens to its worker?

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::Instant;

use super::*;
use crate::invocation::{EventInput, Input, Invocation};
use crate::outcome::{Completed, Finished, LogLevel};

fn invocation() -> Invocation {
    Invocation {
        handler: 0,
        attempt: 1,
        deadline: Instant::now() + Duration::from_secs(30),
        trace_id: [1; 16],
        input: Input::Event(EventInput {
            id: "1".to_owned(),
            time: SystemTime::UNIX_EPOCH,
            key: None,
            event: "E".into(),
        }),
        body: Bytes::from("{}"),
    }
}

/// Submits a call and returns its key and where its answer comes.
fn submit(state: &mut State) -> (u64, Receiver<Finished>) {
    let (reply, answer) = oneshot::channel();
    let key = state.next_key();
    state.submit(Call::new(key, invocation(), reply));
    (key, answer)
}

fn ready_worker(state: &mut State) -> u64 {
    let slots = Arc::new(SharedWords::new("test", SLOTS as usize).unwrap());
    let number = state.add_worker(0, slots).number;
    state.ready(number);
    number
}

/// The ids of the calls that a worker has been given and not answered.
fn given(state: &mut State, number: u64) -> Vec<u64> {
    let mut ids: Vec<u64> = state.worker(number).unwrap().calls.iter().flatten().map(|call| call.id).collect();
    ids.sort_unstable();
    ids
}

fn enter(state: &mut State, number: u64, id: u64) -> bool {
    state.worker(number).unwrap().slots.enter(slot_word(id), id)
}

fn complete(state: &mut State, number: u64, id: u64) {
    state.receive(number, FromWorker::Completed { id, completed: Completed::default() });
}

#[test]
fn calls_go_to_the_least_loaded_worker() {
    let mut state = State::default();
    let first = ready_worker(&mut state);
    let second = ready_worker(&mut state);
    let _answers: Vec<_> = (0..4).map(|_| submit(&mut state)).collect();
    assert_eq!((given(&mut state, first).len(), given(&mut state, second).len()), (2, 2));
}

#[test]
fn a_call_waits_until_a_worker_is_ready() {
    let mut state = State::default();
    let (_, mut answer) = submit(&mut state);
    let number = ready_worker(&mut state);
    let id = given(&mut state, number)[0];
    assert!(enter(&mut state, number, id));
    complete(&mut state, number, id);
    assert!(matches!(answer.try_recv().unwrap().result, Ok(Outcome::Completed(_))));
    assert_eq!(state.in_flight(), 0);
}

#[test]
fn a_dead_worker_takes_only_what_it_had_entered() {
    let mut state = State::default();
    let dying = ready_worker(&mut state);
    let (_, mut entered) = submit(&mut state);
    let (_, mut unstarted) = submit(&mut state);
    let ids = given(&mut state, dying);
    assert!(enter(&mut state, dying, ids[0]));
    let healthy = ready_worker(&mut state);
    state.remove_worker(dying, "signal 9");
    assert!(matches!(entered.try_recv().unwrap().result, Err(HostError::WorkerDied(_))));
    assert!(unstarted.try_recv().is_err());
    let id = given(&mut state, healthy)[0];
    complete(&mut state, healthy, id);
    assert!(unstarted.try_recv().unwrap().result.is_ok());
}

#[test]
fn what_a_hanging_worker_has_not_begun_moves_and_can_no_longer_be_entered_there() {
    let mut state = State::default();
    let hanging = ready_worker(&mut state);
    let _answers: Vec<_> = (0..3).map(|_| submit(&mut state)).collect();
    let ids = given(&mut state, hanging);
    assert!(enter(&mut state, hanging, ids[0]));
    let healthy = ready_worker(&mut state);
    state.worker(hanging).unwrap().blocked = true;
    state.move_unstarted(hanging);
    assert_eq!(given(&mut state, hanging), [ids[0]]);
    assert_eq!(given(&mut state, healthy).len(), 2);
    assert!(!enter(&mut state, hanging, ids[1]));
}

#[test]
fn a_call_that_was_not_begun_is_taken_back_at_its_deadline() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let (key, mut answer) = submit(&mut state);
    assert!(matches!(state.expire(key), Expired::Now));
    assert!(matches!(answer.try_recv().unwrap().result, Err(HostError::NeverStarted)));
    assert_eq!(state.worker(number).unwrap().in_flight, 0);
    assert!(matches!(state.expire(key), Expired::Answered));
}

#[test]
fn a_running_call_is_answered_at_its_deadline_and_keeps_its_slot_until_it_ends() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let (key, mut answer) = submit(&mut state);
    let id = given(&mut state, number)[0];
    assert!(enter(&mut state, number, id));
    state.receive(
        number,
        FromWorker::Log { id, handler: Some(0), level: LogLevel::Info, message: "working".to_owned(), fields: None },
    );
    assert!(matches!(state.expire(key), Expired::Now));
    let finished = answer.try_recv().unwrap();
    assert!(matches!(finished.result, Err(HostError::TimedOut)));
    assert_eq!(finished.logs[0].message, "working");
    let worker = state.worker(number).unwrap();
    assert!(worker.oldest_expired().is_some() && !worker.awaited());
    complete(&mut state, number, id);
    assert_eq!(state.worker(number).unwrap().in_flight, 0);
}

#[test]
fn a_full_worker_gets_no_more_than_it_has_slots() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let answers: Vec<_> = (0..=SLOTS).map(|_| submit(&mut state)).collect();
    assert_eq!((given(&mut state, number).len(), state.waiting.len()), (SLOTS as usize, 1));
    let id = given(&mut state, number)[0];
    complete(&mut state, number, id);
    assert_eq!((given(&mut state, number).len(), state.waiting.len()), (SLOTS as usize, 0));
    drop(answers);
}

#[test]
fn a_result_that_comes_twice_is_taken_once() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let (_, _answer) = submit(&mut state);
    let id = given(&mut state, number)[0];
    complete(&mut state, number, id);
    complete(&mut state, number, id);
    assert_eq!(state.worker(number).unwrap().in_flight, 0);
}
