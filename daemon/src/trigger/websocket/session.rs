//! How does an open connection run? One small task that reads, writes, and drives the handlers that run for it.
//!
//! The protocol is tokio-tungstenite's. Handlers run one at a time. While one runs, frames are sent as they come, pings are
//! answered, and one message is read ahead; then the client has to wait, so that one that is faster than the handlers feels it.
//! What an idle connection takes is small: its buffers are, and a message or a running handler is held only while it is there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::join;
use futures_util::{SinkExt, StreamExt};
use rohas_config::settings::WebSocket as Settings;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message as Wire};

use crate::trigger::websocket::calls::Calls;
use crate::trigger::websocket::close::Close;
use crate::trigger::websocket::message::Message;
use crate::trigger::websocket::peer::Peer;
use crate::trigger::websocket::queue::{End, FRAGMENT};
use crate::trigger::websocket::registry::Registered;

/// Bytes that are read at once. Each connection has a buffer of them.
const READ: usize = 4 << 10;

/// Handlers that run for a connection; why it is to be closed, if it is.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<(), Close>> + Send>>;

/// What the library is told: buffers that suit many connections that say little, and the limits of the settings.
///
/// Frames are written one at a time and at once, so that the write buffer holds no more than one and the pongs behind it.
pub(super) fn config(settings: &Settings) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * FRAGMENT)
        .max_message_size(Some(settings.max_message.as_usize()))
        .max_frame_size(Some(settings.max_frame.as_usize()))
}

/// An open connection.
pub(super) struct Session<S> {
    socket: WebSocketStream<S>,
    registered: Registered,
    calls: Calls,
    running: Option<Running>,
    /// A message that was read while handlers ran.
    ahead: Option<Message>,
}

/// How a connection ends, and why.
enum Ending {
    /// The client is told.
    Told(Close),
    /// The client has closed it; the library has its answer ready.
    Answered(Close),
    /// Nothing can be said any more.
    Silent(Close),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A connection that has just been opened; `opening` runs its first handlers.
    pub(super) fn new(socket: WebSocketStream<S>, registered: Registered, opening: (Calls, Running)) -> Self {
        let (calls, running) = opening;
        Self { socket, registered, calls, running: Some(running), ahead: None }
    }

    /// Runs it until it has ended, and its last handler.
    pub(super) async fn run(mut self) {
        let ending = poll_fn(|context| self.poll_open(context)).await;
        self.peer().pulse.close(self.registered.registry().now());
        // However it ends, nothing more is taken in for the client.
        self.peer().queue.end(End::Close(ending.close().clone()));
        // In a place of its own, so that an open connection has none for it.
        Box::pin(self.end(ending)).await;
    }

    fn peer(&self) -> &Peer {
        self.registered.peer()
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        self.peer().queue.register(context.waker());
        loop {
            let handled = self.poll_handlers(context);
            if let Some(end) = self.peer().queue.take_end(self.running.is_none()) {
                return Poll::Ready(end.into());
            }
            if let Poll::Ready(Err(error)) = self.poll_output(context) {
                return Poll::Ready(Ending::Silent(Close::broken(&error)));
            }
            let heard = match self.poll_input(context) {
                Poll::Ready(Err(ending)) => return Poll::Ready(ending),
                heard => heard,
            };
            if handled.is_pending() && heard.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Runs handlers; ready when they are done.
    fn poll_handlers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.running.is_none()
            && let Some(message) = self.ahead.take()
        {
            let pulse = &self.peer().pulse;
            pulse.hold(false);
            pulse.speak(self.registered.registry().now());
            self.running = Some(Box::pin(self.calls.clone().message(message)));
        }
        let Some(running) = &mut self.running else { return Poll::Pending };
        let outcome = ready!(running.as_mut().poll(context));
        self.running = None;
        if let Err(close) = outcome {
            self.peer().queue.end(End::Close(close));
        }
        Poll::Ready(())
    }

    /// Sends what waits; ready when nothing does.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.socket.poll_flush_unpin(context))?;
            let Some(frame) = self.peer().queue.pop() else { return Poll::Ready(Ok(())) };
            self.socket.start_send_unpin(Wire::Frame(frame))?;
        }
    }

    /// Reads one thing that the client says, unless a message waits to be handled.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        if self.ahead.is_some() {
            self.peer().pulse.hold(true);
            return Poll::Pending;
        }
        Poll::Ready(match ready!(self.socket.poll_next_unpin(context)) {
            Some(Ok(Wire::Text(text))) => {
                self.ahead = Some(Message::text(text.into()));
                Ok(())
            }
            Some(Ok(Wire::Binary(data))) => {
                self.ahead = Some(Message::binary(data));
                Ok(())
            }
            Some(Ok(Wire::Close(frame))) => Err(Ending::Answered(frame.into())),
            // Pings are answered by the library.
            Some(Ok(Wire::Ping(_) | Wire::Pong(_) | Wire::Frame(_))) => Ok(()),
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::ConnectionClosed.into()),
        })
    }

    /// Says goodbye, while the handlers that run come to their end and the last ones are called.
    async fn end(self, ending: Ending) {
        let Self { socket, registered, calls, running, .. } = self;
        let queue = &registered.peer().queue;
        let close = ending.close().clone();
        let handlers = async {
            if let Some(running) = running {
                // Whatever it decides, the connection ends already.
                drop(running.await);
            }
            calls.closed(close).await;
        };
        let goodbye = async {
            tokio::select! {
                biased;
                () = queue.cut() => {}
                // A client that cannot be reached has gone all the same.
                _ = part(socket, registered.peer(), &ending) => {}
            }
        };
        join(handlers, goodbye).await;
    }
}

/// Sends what waits and the close frame, waits for the client's, and ends the stream.
async fn part<S>(mut socket: WebSocketStream<S>, peer: &Peer, ending: &Ending) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match ending {
        Ending::Silent(_) => return Ok(()),
        Ending::Answered(_) => socket.flush().await?,
        Ending::Told(close) => {
            socket.flush().await?;
            while let Some(frame) = peer.queue.pop() {
                socket.send(Wire::Frame(frame)).await?;
            }
            socket.send(Wire::Close(close.frame())).await?;
        }
    }
    while let Some(Ok(_unheard)) = socket.next().await {}
    let mut stream = socket.into_inner();
    stream.shutdown().await?;
    // A connection with unread input would be reset, and the close frame lost.
    copy(&mut stream, &mut sink()).await?;
    Ok(())
}

impl Ending {
    fn close(&self) -> &Close {
        match self {
            Self::Told(close) | Self::Answered(close) | Self::Silent(close) => close,
        }
    }
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        match end {
            End::Finish(close) | End::Close(close) | End::Overflow(close) => Self::Told(close),
            End::Cut(close) => Self::Silent(close),
        }
    }
}

/// The client could not be read.
impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        match Close::of_violation(&error) {
            Some(close) => Self::Told(close),
            None => Self::Silent(Close::broken(&error)),
        }
    }
}

const _: () = assert!(size_of::<Session<tokio::net::TcpStream>>() <= 600, "an idle connection is small");
