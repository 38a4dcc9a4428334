//! How are connections taken in? An accept loop of our own on hyper, because only that lets every phase have its time limit.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rohas_config::settings::Server;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::trigger::http::connection::{Connection, Limits, Phase};
use crate::trigger::http::guard::{MAX_HEAD, MAX_HEADERS};
use crate::trigger::http::names::LocalNames;

/// Pause after an accept that failed, so that running out of descriptors does not become a busy loop.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound port.
pub(crate) struct Listener {
    listener: TcpListener,
    limits: Limits,
    connections: Arc<Semaphore>,
    /// Which hosts requests may name, where that matters.
    names: Option<Arc<LocalNames>>,
}

impl Listener {
    /// Binds the address of the settings. In development, one that only this machine can reach is kept from web pages.
    ///
    /// # Errors
    /// When it is taken or not ours to bind.
    pub(crate) async fn bind(server: &Server, development: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((server.host.as_str(), server.port)).await?;
        let guarded = development && listener.local_addr()?.ip().is_loopback();
        let most = usize::try_from(server.max_connections.get()).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            listener,
            limits: Limits { header: server.header_timeout, idle: server.idle_timeout },
            connections: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            names: guarded.then(|| Arc::new(LocalNames::new(server.host.as_str()))),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until intake stops; connections in the middle of a request then finish it.
    pub(crate) async fn run(self, app: Arc<App>) {
        loop {
            // A connection takes its place before it is accepted: beyond the limit, clients wait in the system's queue.
            let place = tokio::select! {
                place = Arc::clone(&self.connections).acquire_owned() => place,
                () = app.intake.cancelled() => return,
            };
            let Ok(place) = place else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = app.intake.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let serving = serve(Arc::clone(&app), stream, peer, (self.limits, self.names.clone()));
                    app.tracker.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Where a request comes from. Told only where somebody asks for it, since it costs an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The socket below a connection that has been upgraded, and what was read from it behind the request. `None` when that was
/// refused: a client that does not wait for the answer cannot be told.
pub(crate) fn into_socket(upgraded: Upgraded) -> Option<(TcpStream, BytesMut)> {
    let parts = upgraded.downcast::<TokioIo<Connection>>().ok()?;
    let mut read = BytesMut::from(&parts.read_buf[..]);
    let (stream, rest) = parts.io.into_inner().into_stream()?;
    read.extend_from_slice(&rest);
    Some((stream, read))
}

async fn serve(app: Arc<App>, stream: TcpStream, peer: SocketAddr, rules: (Limits, Option<Arc<LocalNames>>)) {
    let (limits, names) = rules;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no TCP_NODELAY");
    }
    let phase = Phase::new();
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        phase.busy();
        let (site, phase, names) = (app.site(), Arc::clone(&phase), names.clone());
        if site.is_guarded || request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(ClientAddress(peer.ip()));
        }
        async move {
            let response = site.respond(request.map(Body::new) as Request, &phase, names.as_deref()).await;
            phase.idle();
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let io = TokioIo::new(Connection::new(stream, Arc::clone(&phase)));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            .serve_connection(io, service)
            .with_upgrades()
    );
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = phase.expired(limits) => return,
        () = app.intake.cancelled() => {
            // An idle connection closes at once, one in the middle of a request or of an answer when that is done. hyper is
            // told only after a head that has begun, because it would close a connection on which it has read nothing yet.
            let mut stopping = false;
            let finish = poll_fn(|context| {
                if !stopping {
                    if let Poll::Ready(outcome) = connection.as_mut().poll(context) {
                        return Poll::Ready(outcome);
                    }
                    if phase.is_receiving() {
                        return Poll::Pending;
                    }
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                connection.as_mut().poll(context)
            });
            tokio::select! {
                outcome = finish => outcome,
                () = phase.expired(limits) => return,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}
