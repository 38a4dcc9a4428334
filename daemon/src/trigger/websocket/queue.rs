//! What waits to be sent to one client? Whole messages, bounded in bytes, taken frame by frame by the connection's own task.
//!
//! Whoever has a message for a client puts it here and goes on; nobody waits for a client. When there is too much, the client
//! is too slow, and what becomes of it is its connection's business.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::trigger::websocket::close::{Close, TOO_SLOW};
use crate::trigger::websocket::message::Message;

/// Most bytes of a frame. A longer message is sent in several, since the library's write buffer, which frames are copied to, never
/// becomes smaller again: every connection would keep room for the largest message that it was ever sent.
pub(super) const FRAGMENT: usize = 16 << 10;
/// What a message counts for besides its bytes.
const OVERHEAD: usize = 64;
/// A queue that has grown beyond so many messages gives its memory back once it is empty.
const KEPT: usize = 8;

/// Messages for one client.
#[derive(Debug)]
pub(super) struct Queue {
    /// Held for a push or pop at a time.
    state: Mutex<State>,
    /// Wakes the connection's task, which alone takes frames out.
    waker: AtomicWaker,
    limit: usize,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// While the connection opens: how many of those that wait are its own. Only they are sent; those of others come behind them.
    opening: Option<usize>,
    /// How the connection is to end. Nothing is taken in after that, except while a finish is waited for.
    end: Option<End>,
    /// Whether the connection's task has seen that.
    seen: bool,
}

/// A message of which something is to be sent yet.
#[derive(Debug)]
struct Waiting {
    /// Of its next frame.
    opcode: OpCode,
    rest: Bytes,
}

/// How a connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With a close frame behind what waits, once the handlers that run are done and have said what they have to say.
    Finish(Close),
    /// With a close frame behind what waits.
    Close(Close),
    /// With a close frame in place of what waits.
    Overflow(Close),
    /// Without a word.
    Cut(Close),
}

impl Queue {
    /// The queue of a connection that opens.
    pub(super) fn new(limit: usize) -> Self {
        let state = State { waiting: VecDeque::new(), bytes: 0, opening: Some(0), end: None, seen: false };
        Self { state: Mutex::new(state), waker: AtomicWaker::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message behind those that wait. One that finds no room ends the connection; one for a connection that ends is
    /// dropped.
    pub(super) fn push(&self, message: Message) {
        self.add(message.into(), false);
    }

    /// Puts in what the connection's own handlers return: while it opens, before what others have sent.
    pub(super) fn answer(&self, message: Message) {
        self.add(message.into(), true);
    }

    pub(super) fn ping(&self) {
        self.add(Waiting { opcode: OpCode::Control(Control::Ping), rest: Bytes::new() }, true);
    }

    fn add(&self, message: Waiting, own: bool) {
        let mut state = self.lock();
        if state.ends() {
            return;
        }
        let weight = message.rest.len() + OVERHEAD;
        if state.bytes + weight > self.limit && !state.waiting.is_empty() {
            state.end =
                Some(End::Overflow(Close::new(TOO_SLOW, "more than websocket.send_queue allows waits to be sent")));
        } else {
            state.bytes += weight;
            state.insert(message, own);
        }
        drop(state);
        self.waker.wake();
    }

    /// The connection's first handlers are done: what others have sent follows.
    pub(super) fn opened(&self) {
        self.lock().opening = None;
        self.waker.wake();
    }

    /// Lets the connection end, unless it does already. A cut overrides everything.
    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        if !state.ends() || matches!(end, End::Cut(_)) && !matches!(state.end, Some(End::Cut(_))) {
            state.end = Some(end);
            state.seen = false;
        }
        drop(state);
        self.waker.wake();
    }

    /// The task that `waker` wakes is told of messages and of the end.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// How the connection is to end, if that is news; what waits can then be taken out, and no more comes. While handlers run
    /// (not `idle`), a finish is no news.
    pub(super) fn take_end(&self, idle: bool) -> Option<End> {
        let mut state = self.lock();
        if state.seen || !idle && !state.ends() {
            return None;
        }
        let end = state.end.clone()?;
        state.seen = true;
        state.opening = None;
        if matches!(end, End::Overflow(_) | End::Cut(_)) {
            state.waiting = VecDeque::new();
        }
        Some(end)
    }

    /// Waits until the connection is to be cut. The task that does has to register for nothing else.
    pub(super) async fn cut(&self) {
        poll_fn(|context| {
            self.register(context.waker());
            match self.lock().end {
                Some(End::Cut(_)) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    /// Takes out the next frame.
    pub(super) fn pop(&self) -> Option<Frame> {
        let mut state = self.lock();
        if state.opening == Some(0) {
            return None;
        }
        let first = state.waiting.front_mut()?;
        let payload = first.rest.split_to(first.rest.len().min(FRAGMENT));
        let is_final = first.rest.is_empty();
        let opcode = mem::replace(&mut first.opcode, OpCode::Data(Data::Continue));
        state.bytes -= payload.len();
        if is_final {
            state.sent_first();
        }
        Some(Frame::from_payload(FrameHeader { is_final, opcode, ..FrameHeader::default() }, payload))
    }
}

impl State {
    /// Whether nothing is taken in any more.
    fn ends(&self) -> bool {
        self.end.as_ref().is_some_and(|end| self.seen || !matches!(end, End::Finish(_)))
    }

    fn insert(&mut self, message: Waiting, own: bool) {
        match &mut self.opening {
            Some(count) if own => {
                self.waiting.insert(*count, message);
                *count += 1;
            }
            _ => self.waiting.push_back(message),
        }
    }

    fn sent_first(&mut self) {
        self.waiting.pop_front();
        self.bytes -= OVERHEAD;
        self.opening = self.opening.map(|count| count - 1);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
    }
}

impl From<Message> for Waiting {
    fn from(message: Message) -> Self {
        let data = if message.binary { Data::Binary } else { Data::Text };
        Self { opcode: OpCode::Data(data), rest: message.data }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;

    use super::*;
    use crate::trigger::websocket::close::{GOING_AWAY, NORMAL};

    fn message(length: usize) -> Message {
        Message::binary(vec![0; length].into())
    }

    fn open(limit: usize) -> Queue {
        let queue = Queue::new(limit);
        queue.opened();
        queue
    }

    /// Bytes of each frame that waits.
    fn lengths(queue: &Queue) -> Vec<usize> {
        from_fn(|| queue.pop()).map(|frame| frame.payload().len()).collect()
    }

    #[test]
    fn what_is_taken_out_makes_room() {
        let queue = open(1000);
        for _ in 0..3 {
            queue.push(message(200));
        }
        assert_eq!(queue.pop().unwrap().payload().len(), 200);
        queue.push(message(400));
        assert_eq!(queue.take_end(true), None);
        queue.push(message(400));
        assert!(matches!(queue.take_end(true), Some(End::Overflow(_))));
        queue.push(message(1));
        assert!(queue.pop().is_none());
    }

    #[test]
    fn one_message_may_be_larger_than_the_queue_if_nothing_waits() {
        let queue = open(100);
        queue.push(message(5000));
        assert_eq!(queue.take_end(true), None);
        assert_eq!(lengths(&queue), [5000]);
        queue.push(message(10));
        queue.push(message(5000));
        assert!(matches!(queue.take_end(true), Some(End::Overflow(_))));
    }

    #[test]
    fn a_long_message_goes_out_in_fragments_with_nothing_between_them() {
        let queue = open(1 << 20);
        queue.push(Message::text(Bytes::from(vec![b'x'; 2 * FRAGMENT + 1])));
        let first = queue.pop().unwrap();
        queue.ping();
        let rest: Vec<_> = from_fn(|| queue.pop()).collect();
        let frames: Vec<_> =
            [first].iter().chain(&rest).map(|frame| (frame.payload().len(), frame.header().clone())).collect();
        let header = |opcode, is_final| FrameHeader { is_final, opcode, ..FrameHeader::default() };
        let go_on = OpCode::Data(Data::Continue);
        assert_eq!(
            frames,
            [
                (FRAGMENT, header(OpCode::Data(Data::Text), false)),
                (FRAGMENT, header(go_on, false)),
                (1, header(go_on, true)),
                (0, header(OpCode::Control(Control::Ping), true)),
            ]
        );
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn while_a_connection_opens_what_others_send_waits_behind_what_its_handlers_return() {
        let queue = Queue::new(1000);
        queue.push(message(1));
        assert!(queue.pop().is_none());
        queue.answer(message(2));
        queue.push(message(3));
        assert_eq!(lengths(&queue), [2]);
        queue.answer(message(4));
        queue.ping();
        queue.opened();
        queue.answer(message(5));
        assert_eq!(lengths(&queue), [4, 0, 1, 3, 5]);
    }

    #[test]
    fn a_connection_that_ends_while_it_opens_sends_what_waits() {
        let queue = Queue::new(1000);
        queue.push(message(1));
        queue.end(End::Close(Close::new(NORMAL, "")));
        assert!(queue.take_end(false).is_some());
        assert_eq!(lengths(&queue), [1]);
    }

    #[test]
    fn a_finish_waits_for_handlers_and_gives_way_to_what_they_decide() {
        let queue = open(1000);
        queue.end(End::Finish(Close::new(GOING_AWAY, "")));
        queue.push(message(10));
        assert_eq!(queue.take_end(false), None);
        assert_eq!(queue.take_end(true), Some(End::Finish(Close::new(GOING_AWAY, ""))));
        queue.push(message(20));
        assert_eq!(lengths(&queue), [10]);
        assert_eq!(queue.take_end(true), None);
        let queue = open(1000);
        queue.end(End::Finish(Close::new(GOING_AWAY, "")));
        queue.end(End::Close(Close::new(NORMAL, "")));
        assert_eq!(queue.take_end(false), Some(End::Close(Close::new(NORMAL, ""))));
    }

    #[test]
    fn an_end_comes_once_and_only_a_cut_overrides_it() {
        let queue = open(1000);
        queue.push(message(10));
        queue.end(End::Close(Close::new(NORMAL, "")));
        queue.end(End::Close(Close::new(GOING_AWAY, "")));
        assert_eq!(queue.take_end(true), Some(End::Close(Close::new(NORMAL, ""))));
        assert_eq!(queue.take_end(true), None);
        queue.end(End::Cut(Close::abnormal("gone")));
        assert_eq!(queue.take_end(true), Some(End::Cut(Close::abnormal("gone"))));
        assert!(queue.pop().is_none());
        queue.end(End::Cut(Close::abnormal("again")));
        assert_eq!(queue.take_end(true), None);
    }
}
