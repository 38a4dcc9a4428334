//! How does an open connection run? One small task that reads, writes, and drives the handlers that run for it.
//!
//! Handlers run one at a time. While one runs, frames are sent as they come, and pings, pongs and closes are read, up to the
//! next message: that stays unread, so that a client that is faster than the handlers feels it. Everything that takes memory
//! (a message that comes, what waits, a running handler) is held only for as long as it is there: an idle connection has a
//! socket, an entry in the registry and this.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use crate::trigger::websocket::calls::Calls;
use crate::trigger::websocket::close::Close;
use crate::trigger::websocket::decoder::{Decoder, Said, Step};
use crate::trigger::websocket::frame::{self, Opcode};
use crate::trigger::websocket::peer::Peer;
use crate::trigger::websocket::queue::{BATCH, End, slices};
use crate::trigger::websocket::registry::Registered;

/// Most bytes that are read at once.
const READ: usize = 16 << 10;

/// Handlers that run for a connection; why it is to be closed, if it is.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<(), Close>> + Send>>;

/// An open connection. Its future ends when the connection has, and its last handler.
pub(super) struct Session {
    /// Gone when nothing can be read or written any more.
    socket: Option<TcpStream>,
    decoder: Decoder,
    /// What was read and not understood yet: a part of a frame's header, or what is behind a message that is being handled.
    rest: BytesMut,
    registered: Registered,
    calls: Calls,
    running: Option<Running>,
    stage: Stage,
    /// Why the connection ends, until its last handlers are called.
    gone: Option<Close>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// A close frame has been sent, or waits to be; the client's has not come.
    Closing,
    /// Nothing that the client sends matters any more. What waits is sent, then our side of the connection ends; what comes is
    /// swallowed until the client's side does, since a connection with unread input would be reset and the close frame lost.
    Lingering {
        sent: bool,
    },
    Ended,
}

/// Why nothing more is heard.
#[derive(Debug)]
enum Lost {
    /// The connection was ended or has broken.
    Ended(io::Result<()>),
    /// The client has broken the protocol.
    Violation(Close),
}

impl Session {
    /// A connection that has just been opened; `rest` was read with the request, `opening` runs its first handlers.
    pub(super) fn new(
        socket: (TcpStream, BytesMut),
        decoder: Decoder,
        registered: Registered,
        opening: (Calls, Running),
    ) -> Self {
        let ((socket, rest), (calls, running)) = (socket, opening);
        Self {
            socket: Some(socket),
            decoder,
            rest,
            registered,
            calls,
            running: Some(running),
            stage: Stage::Open,
            gone: None,
        }
    }

    fn peer(&self) -> &Peer {
        self.registered.peer()
    }

    /// Leaves the open stage, or a later one for one that is later still.
    fn leave(&mut self, stage: Stage, close: Close) {
        if self.stage == Stage::Open {
            self.gone = Some(close);
            self.peer().pulse.close(self.registered.registry().now());
        }
        self.stage = stage;
        if stage == Stage::Ended {
            self.socket = None;
        }
    }

    /// Runs handlers: those that run, or the last ones. Whether something has changed.
    fn poll_handlers(&mut self, context: &mut Context<'_>) -> bool {
        let Some(running) = &mut self.running else {
            let last = self.gone.take().map(|close| Box::pin(self.calls.clone().closed(close)) as Running);
            self.running = last;
            return self.running.is_some();
        };
        let Poll::Ready(outcome) = running.as_mut().poll(context) else { return false };
        self.running = None;
        self.peer().pulse.hold(false);
        if let Err(close) = outcome {
            self.peer().end(End::Close(close));
        }
        true
    }

    /// Takes up what others have decided about the connection's end.
    fn take_end(&mut self) -> bool {
        match self.peer().queue.take_end(self.running.is_none()) {
            None => return false,
            Some(End::Cut(close)) => self.leave(Stage::Ended, close),
            Some(End::Finish(close) | End::Close(close) | End::Overflow(close)) if self.stage == Stage::Open => {
                self.leave(Stage::Closing, close);
            }
            // The frame that answers the client's, or that ends a connection which has broken the protocol.
            Some(_) => {}
        }
        true
    }

    /// Sends what waits. Whether something has changed that others wait for.
    fn poll_output(&mut self, context: &mut Context<'_>) -> bool {
        match self.poll_flush(context) {
            Poll::Pending | Poll::Ready(Ok(false)) => false,
            Poll::Ready(Ok(true)) => true,
            Poll::Ready(Err(error)) => {
                self.leave(Stage::Ended, broken(&error));
                true
            }
        }
    }

    /// Sends what waits; true when our side of the connection has come to its end with that.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(false)) };
        let queue = &self.registered.peer().queue;
        loop {
            let frames = queue.front();
            if frames.is_empty() {
                break;
            }
            ready!(socket.poll_write_ready(context))?;
            match socket.try_write_vectored(&slices(&frames)[..frames.len().min(BATCH)]) {
                Ok(bytes) => queue.written(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.stage != (Stage::Lingering { sent: false }) {
            return Poll::Ready(Ok(false));
        }
        ready!(Pin::new(socket).poll_shutdown(context))?;
        self.stage = Stage::Lingering { sent: true };
        Poll::Ready(Ok(true))
    }

    /// Takes in what the client sends, as far as it matters. Whether something has changed.
    fn poll_input(&mut self, context: &mut Context<'_>) -> bool {
        match self.stage {
            Stage::Ended => false,
            Stage::Lingering { .. } => self.poll_swallow(context),
            Stage::Open | Stage::Closing => match self.poll_next(context) {
                Poll::Pending => false,
                Poll::Ready(Ok(said)) => {
                    self.heard(said);
                    true
                }
                Poll::Ready(Err(lost)) => {
                    self.lost(lost);
                    true
                }
            },
        }
    }

    fn heard(&mut self, said: Said) {
        match said {
            Said::Pong => {}
            Said::Ping(data) => self.peer().queue.push(frame::encode(Opcode::Pong, &data)),
            Said::Close(close) => {
                // With the client's code, or with none.
                let answer = Close::new(close.code, "");
                self.leave(Stage::Lingering { sent: false }, close);
                self.peer().end(End::Close(answer));
            }
            Said::Message(_) if self.stage != Stage::Open => {}
            Said::Message(message) => {
                self.peer().pulse.speak(self.registered.registry().now());
                self.running = Some(Box::pin(self.calls.clone().message(message)));
            }
        }
    }

    fn lost(&mut self, lost: Lost) {
        match lost {
            Lost::Ended(Ok(())) => {
                self.leave(Stage::Ended, Close::abnormal("the client has gone without a close frame"))
            }
            Lost::Ended(Err(error)) => self.leave(Stage::Ended, broken(&error)),
            Lost::Violation(close) => {
                self.leave(Stage::Lingering { sent: false }, close.clone());
                self.peer().end(End::Close(close));
            }
        }
    }

    /// The next thing that the client says. While handlers run, messages wait.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, Lost>> {
        let messages = self.running.is_none();
        loop {
            if !self.rest.is_empty() {
                let mut input = &self.rest[..];
                let step = self.decoder.step(&mut input, messages).map_err(Lost::Violation)?;
                let left = input.len();
                self.rest.advance(self.rest.len() - left);
                match step {
                    Step::Said(said) => return Poll::Ready(Ok(said)),
                    Step::Withheld => {
                        self.peer().pulse.hold(true);
                        return Poll::Pending;
                    }
                    Step::Incomplete => {}
                }
            }
            if let Some(said) = ready!(self.poll_read(context, messages))? {
                return Poll::Ready(Ok(said));
            }
        }
    }

    /// Reads once. What is said with that is said; what is left over goes to the rest.
    fn poll_read(&mut self, context: &mut Context<'_>, messages: bool) -> Poll<Result<Option<Said>, Lost>> {
        let Some(socket) = &self.socket else { return Poll::Pending };
        let ended = |error| Lost::Ended(Err(error));
        ready!(socket.poll_read_ready(context)).map_err(ended)?;
        let mut scratch = [0; READ];
        let read = match socket.try_read(&mut scratch) {
            Ok(0) => return Poll::Ready(Err(Lost::Ended(Ok(())))),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Ok(None)),
            Err(error) => return Poll::Ready(Err(ended(error))),
        };
        self.peer().pulse.hear(self.registered.registry().now());
        let mut input = &scratch[..read];
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(input);
            return Poll::Ready(Ok(None));
        }
        let step = self.decoder.step(&mut input, messages).map_err(Lost::Violation)?;
        // Not kept by an idle connection.
        self.rest = BytesMut::from(input);
        Poll::Ready(Ok(match step {
            Step::Said(said) => Some(said),
            Step::Incomplete | Step::Withheld => None,
        }))
    }

    /// Reads and forgets, to the client's end of the connection.
    fn poll_swallow(&mut self, context: &mut Context<'_>) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut scratch = [0; READ];
        loop {
            let Poll::Ready(ready) = socket.poll_read_ready(context) else { return false };
            match ready.and_then(|()| socket.try_read(&mut scratch)) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Both sides are done, or the client does not want to hear what is left.
                Ok(0) | Err(_) => break,
            }
        }
        // What is said is said, for a client that may read it although it sends nothing more.
        if self.stage == (Stage::Lingering { sent: true }) {
            self.stage = Stage::Ended;
            self.socket = None;
            return true;
        }
        false
    }
}

fn broken(error: &io::Error) -> Close {
    Close::abnormal(&format!("the connection has broken: {error}"))
}

impl Future for Session {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.peer().queue.register(context.waker());
        loop {
            let mut changed = this.poll_handlers(context);
            changed |= this.take_end();
            changed |= this.poll_output(context);
            changed |= this.poll_input(context);
            if this.stage == Stage::Ended && this.running.is_none() && this.gone.is_none() {
                return Poll::Ready(());
            }
            if !changed {
                return Poll::Pending;
            }
        }
    }
}

const _: () = assert!(size_of::<Session>() <= 400, "an idle connection is small");
