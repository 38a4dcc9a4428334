//! Does every call get exactly one answer, whatever happens to its worker?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::invocation::{EventInput, Input, Invocation};
use crate::outcome::{Completed, Finished, LogLevel};
use crate::worker::calls::SLOTS;
use crate::worker::member::{Ending, Overdue};

const GRACE: Duration = Duration::from_millis(250);

fn invocation() -> Invocation {
    Invocation {
        handler: 0,
        attempt: 1,
        alone: false,
        deadline: Instant::now() + Duration::from_secs(30),
        patient: None,
        trace_id: [1; 16],
        input: Input::Event(EventInput { id: Uuid::nil(), time: SystemTime::UNIX_EPOCH, key: None, event: "E".into() }),
        body: Bytes::from("{}"),
    }
}

/// A call that nobody waits for.
pub(in crate::worker) fn call() -> Call {
    Call::new(invocation(), oneshot::channel().0)
}

/// Submits a call and returns where its answer comes.
pub(in crate::worker) fn submit(state: &mut State) -> Receiver<Finished> {
    submit_as(state, invocation())
}

/// Submits a call that ends at the next [`State::expire`].
pub(in crate::worker) fn submit_brief(state: &mut State) -> Receiver<Finished> {
    submit_as(state, Invocation { deadline: Instant::now(), ..invocation() })
}

fn submit_as(state: &mut State, invocation: Invocation) -> Receiver<Finished> {
    let (reply, answer) = oneshot::channel();
    state.submit(Call::new(invocation, reply));
    answer
}

pub(in crate::worker) fn submit_alone(state: &mut State) -> Receiver<Finished> {
    submit_as(state, Invocation { alone: true, ..invocation() })
}

fn add_worker(state: &mut State) -> u64 {
    let slots = Arc::new(SharedWords::new("test", SLOTS as usize).unwrap());
    state.add_worker(0, slots).number
}

pub(in crate::worker) fn ready_worker(state: &mut State) -> u64 {
    let number = add_worker(state);
    state.loaded(number, BTreeMap::new(), 1);
    number
}

/// A worker that loads all handlers but these.
fn worker_without(state: &mut State, handlers: &[u32], wanted: usize) -> (u64, Admission) {
    let number = add_worker(state);
    let lacks = handlers.iter().map(|handler| (*handler, "broken".to_owned())).collect();
    (number, state.loaded(number, lacks, wanted))
}

/// The ids of the calls that a worker has been given and not answered.
fn given(state: &mut State, number: u64) -> Vec<u64> {
    state.worker(number).unwrap().ids()
}

fn enter(state: &mut State, number: u64, id: u64) -> bool {
    state.worker(number).unwrap().enter(id)
}

/// The worker begins all calls that it has been given.
pub(in crate::worker) fn enter_all(state: &mut State, number: u64) {
    for id in given(state, number) {
        enter(state, number, id);
    }
}

fn complete(state: &mut State, number: u64, id: u64) {
    state.receive(number, FromWorker::Completed { id, completed: Completed::default() });
}

/// The worker's loop answers the daemon's ping.
fn pong(state: &mut State, number: u64) {
    if let Some((ping, _)) = state.worker(number).unwrap().ping {
        state.receive(number, FromWorker::Pong(ping));
    }
}

/// The worker begins one more call, which runs into its deadline.
fn overrun(state: &mut State, number: u64) -> Instant {
    let _answer = submit_brief(state);
    enter_all(state, number);
    assert!(state.expire(Instant::now()));
    Instant::now()
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
    let mut answer = submit(&mut state);
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
    let mut entered = submit(&mut state);
    let mut unstarted = submit(&mut state);
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
fn a_call_that_one_worker_was_slow_to_begin_is_not_taken_from_the_next_for_that() {
    let mut state = State::default();
    let slow = ready_worker(&mut state);
    let _answer = submit(&mut state);
    state.worker(slow).unwrap().blocked = true;
    let next = ready_worker(&mut state);
    state.move_slow(slow);
    assert_eq!((given(&mut state, slow).len(), given(&mut state, next).len()), (0, 1));
    let _other = submit(&mut state);
    state.worker(next).unwrap().blocked = true;
    let third = ready_worker(&mut state);
    state.move_slow(next);
    assert_eq!((given(&mut state, next).len(), given(&mut state, third).len()), (1, 1), "the other one moves");
    state.move_unstarted(next);
    assert_eq!((given(&mut state, next).len(), given(&mut state, third).len()), (0, 2), "it hangs for good");
}

#[test]
fn a_call_that_was_not_begun_is_taken_back_at_its_deadline() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let mut answer = submit_brief(&mut state);
    assert!(state.expire(Instant::now()));
    assert!(matches!(answer.try_recv().unwrap().result, Err(HostError::NeverStarted)));
    assert_eq!(state.worker(number).unwrap().in_flight(), 0);
    assert!(!state.expire(Instant::now()));
}

#[test]
fn a_running_call_is_answered_at_its_deadline_and_keeps_its_slot_until_it_ends() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let mut answer = submit_brief(&mut state);
    let id = given(&mut state, number)[0];
    assert!(enter(&mut state, number, id));
    state.receive(
        number,
        FromWorker::Log { id, handler: Some(0), level: LogLevel::Info, message: "working".to_owned(), fields: None },
    );
    assert!(state.expire(Instant::now()));
    let finished = answer.try_recv().unwrap();
    assert!(matches!(finished.result, Err(HostError::TimedOut)));
    assert_eq!(finished.logs[0].message, "working");
    let worker = state.worker(number).unwrap();
    assert_eq!((worker.in_flight(), worker.awaited()), (1, 0));
    assert_eq!(state.in_flight(), 0, "nobody has to wait for it");
    complete(&mut state, number, id);
    assert_eq!(state.worker(number).unwrap().in_flight(), 0);
}

#[test]
fn the_earliest_deadline_is_known_wherever_its_call_is() {
    let mut state = State::default();
    let now = Instant::now();
    let within = |state: &mut State, seconds, alone| {
        let (reply, answer) = oneshot::channel();
        let deadline = now + Duration::from_secs(seconds);
        (state.submit(Call::new(Invocation { deadline, alone, ..invocation() }, reply)), answer)
    };
    let number = ready_worker(&mut state);
    let given = within(&mut state, 20, false);
    let (later, sooner) = (within(&mut state, 30, false), within(&mut state, 10, true));
    assert_eq!([given.0, later.0, sooner.0], [true, false, true]);
    for left in [20, 30] {
        let look_at = state.look_at.unwrap();
        assert!(!state.expire(look_at - Duration::from_nanos(1)));
        assert!(state.expire(look_at));
        assert_eq!(state.look_at, Some(now + Duration::from_secs(left)));
    }
    enter_all(&mut state, number);
    assert!(state.expire(now + Duration::from_secs(30)));
    assert_eq!((state.look_at, state.in_flight()), (None, 0), "the one that still runs has been answered");
}

#[test]
fn a_call_whose_caller_has_gone_is_cancelled_at_its_deadline_all_the_same() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    drop(submit_brief(&mut state));
    enter_all(&mut state, number);
    assert!(state.expire(Instant::now()));
    assert_eq!(state.worker(number).unwrap().awaited(), 0);
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
    let _answer = submit(&mut state);
    let id = given(&mut state, number)[0];
    complete(&mut state, number, id);
    complete(&mut state, number, id);
    assert_eq!(state.worker(number).unwrap().in_flight(), 0);
}

#[test]
fn a_worker_that_the_daemon_ends_for_others_casts_no_suspicion_on_what_it_ran() {
    let outcome = |ending: Option<Ending>| {
        let mut state = State::default();
        let number = ready_worker(&mut state);
        let mut answer = submit(&mut state);
        enter_all(&mut state, number);
        if let Some(ending) = ending {
            state.worker(number).unwrap().kill(ending);
        }
        state.remove_worker(number, "signal 9");
        answer.try_recv().unwrap().result.unwrap_err()
    };
    assert!(matches!(outcome(None), HostError::WorkerDied(why) if why == "signal 9"));
    assert!(matches!(outcome(Some(Ending::ByItsCall("memory"))), HostError::WorkerDied(why) if why == "memory"));
    assert!(matches!(outcome(Some(Ending::ForOthers("room"))), HostError::WorkerEnded("room")));
}

#[test]
fn a_killed_worker_gets_no_calls() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    state.worker(number).unwrap().kill(Ending::ForOthers("room"));
    let _answer = submit(&mut state);
    assert_eq!((given(&mut state, number).len(), state.waiting.len()), (0, 1));
}

#[test]
fn a_call_that_must_run_alone_has_a_worker_for_itself_until_it_ends() {
    let mut state = State::default();
    let (first, second) = (ready_worker(&mut state), ready_worker(&mut state));
    let _alone = submit_alone(&mut state);
    let _others: Vec<_> = (0..3).map(|_| submit(&mut state)).collect();
    assert_eq!((given(&mut state, first).len(), given(&mut state, second).len()), (1, 3));
    let id = given(&mut state, first)[0];
    complete(&mut state, first, id);
    let _another = submit(&mut state);
    assert_eq!(given(&mut state, first).len(), 1, "it takes part again");
}

#[test]
fn a_call_that_must_run_alone_leaves_the_others_a_worker_and_goes_before_them_to_the_next() {
    let mut state = State::default();
    let only = ready_worker(&mut state);
    let mut answer = submit_alone(&mut state);
    assert!(given(&mut state, only).is_empty());
    let _full: Vec<_> = (0..=SLOTS).map(|_| submit(&mut state)).collect();
    assert_eq!((state.waiting.len(), state.alone.len()), (1, 1));
    let fresh = ready_worker(&mut state);
    assert_eq!((state.waiting.len(), state.alone.len(), given(&mut state, fresh).len()), (1, 0, 1));
    let id = given(&mut state, fresh)[0];
    complete(&mut state, fresh, id);
    assert!(answer.try_recv().unwrap().result.is_ok());
    assert_eq!(state.waiting.len(), 0, "the worker serves the others again");
}

#[test]
fn a_call_that_must_run_alone_does_so_after_its_worker_died_before_it_began() {
    let mut state = State::default();
    let (first, second) = (ready_worker(&mut state), ready_worker(&mut state));
    let brief = Invocation { alone: true, deadline: Instant::now(), ..invocation() };
    let mut answer = submit_as(&mut state, brief);
    assert_eq!(given(&mut state, first).len(), 1);
    state.remove_worker(first, "signal 9");
    assert_eq!((state.alone.len(), given(&mut state, second).len()), (1, 0));
    assert!(state.expire(Instant::now()));
    assert!(matches!(answer.try_recv().unwrap().result, Err(HostError::NeverStarted)));
}

#[test]
fn a_patient_call_waits_for_its_start_and_then_has_its_whole_time() {
    const TIME: Duration = Duration::from_secs(3);
    let mut state = State::default();
    let mut now = Instant::now();
    let patient = Invocation { patient: Some(TIME), deadline: now, ..invocation() };
    let mut answer = submit_as(&mut state, patient);
    for _ in 0..3 {
        assert!(!state.expire(now));
        now += TIME;
    }
    let number = ready_worker(&mut state);
    for _ in 0..3 {
        assert!(!state.expire(now));
        assert_eq!(state.look_at, Some(now + TIME));
        now += TIME;
    }
    let id = given(&mut state, number)[0];
    assert!(state.worker(number).unwrap().enter(id));
    assert!(!state.expire(now));
    assert!(answer.try_recv().is_err());
    assert!(state.expire(now + TIME));
    assert!(matches!(answer.try_recv().unwrap().result, Err(HostError::TimedOut)));
}

#[test]
fn a_stuck_call_is_told_from_a_loop_that_hangs() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    let expired = overrun(&mut state, number);
    let overdue = |state: &mut State, now| state.worker(number).unwrap().overdue(now, GRACE);
    assert_eq!(overdue(&mut state, expired), Overdue::Nothing);
    assert_eq!(overdue(&mut state, expired + GRACE), Overdue::Hangs);
    pong(&mut state, number);
    assert_eq!(overdue(&mut state, expired + GRACE), Overdue::Stuck(1));
    let expired = overrun(&mut state, number);
    assert_eq!(overdue(&mut state, expired + GRACE), Overdue::Hangs, "it turned before that, not since");
    pong(&mut state, number);
    assert_eq!(overdue(&mut state, expired + GRACE), Overdue::Stuck(2));
}

#[test]
fn an_answer_to_a_ping_from_before_a_deadline_proves_nothing_about_the_time_after_it() {
    let mut state = State::default();
    let number = ready_worker(&mut state);
    state.worker(number).unwrap().send_ping();
    let expired = overrun(&mut state, number);
    pong(&mut state, number);
    assert_eq!(state.worker(number).unwrap().overdue(expired + GRACE, GRACE), Overdue::Nothing);
    assert!(state.worker(number).unwrap().ping.is_some(), "it is asked again");
}

#[test]
fn a_start_that_fails_is_counted_once() {
    let mut state = State::default();
    ready_worker(&mut state);
    let refused = worker_without(&mut state, &[0], 1).0;
    state.worker(refused).unwrap().kill(Ending::ForOthers("refused"));
    state.remove_worker(refused, "signal 9");
    assert!(!state.may_start(Instant::now()) && state.may_start(Instant::now() + FIRST_PAUSE));

    let unloaded = add_worker(&mut state);
    state.remove_worker(unloaded, "signal 9");
    assert!(!state.may_start(Instant::now() + FIRST_PAUSE) && state.may_start(Instant::now() + 2 * FIRST_PAUSE));
}

#[test]
fn a_worker_that_lacks_handlers_is_used_only_where_no_other_has_them() {
    let mut state = State::default();
    let whole = ready_worker(&mut state);
    assert_eq!(worker_without(&mut state, &[0], 2).1, Admission::Refused);
    assert!(!state.may_start(Instant::now()), "the next try waits");
    state.remove_worker(whole, "signal 9");

    let (partial, admission) = worker_without(&mut state, &[0], 2);
    assert_eq!(admission, Admission::Partial);
    let mut lacking = submit(&mut state);
    assert!(matches!(lacking.try_recv().unwrap().result, Err(HostError::NoLongerLoads(why)) if why == "broken"));
    let _other = submit_as(&mut state, Invocation { handler: 1, ..invocation() });
    assert_eq!(given(&mut state, partial).len(), 1);
    assert_eq!(worker_without(&mut state, &[0, 1], 2).1, Admission::Refused, "the one that serves has more");
    assert_eq!(worker_without(&mut state, &[0], 2).1, Admission::Partial);
    assert_eq!(worker_without(&mut state, &[0], 2).1, Admission::Refused, "there are enough of this kind");

    let whole = ready_worker(&mut state);
    assert!(state.may_start(Instant::now()) && state.worker(partial).unwrap().due.is_some());
    let _answers: Vec<_> = (0..3).map(|_| submit(&mut state)).collect();
    assert_eq!(given(&mut state, whole).len(), 3);
}
