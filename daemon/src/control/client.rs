//! How does a command ask a running daemon?

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::control::requests::{Request as Wanted, Watch};
use crate::control::view::Seen;
use crate::control::{self, PublishOptions, Published, Status, TraceQuery};

/// A daemon that answered the door; good for one question.
pub(crate) struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
}

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the daemon's control socket does not answer")]
    Connect(#[source] io::Error),
    #[error("the daemon did not answer")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the daemon's answer cannot be read; is it another version of rohas?")]
    Answer(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Client {
    /// Connects to the project's daemon; `None` when none is running.
    pub(crate) async fn connect(root: &Path) -> Result<Option<Self>, Error> {
        let stream = match UnixStream::connect(control::path(root)).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::Connect(error)),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        #[expect(clippy::disallowed_methods, reason = "a command's one connection ends with the command")]
        drop(tokio::spawn(connection));
        Ok(Some(Self { sender }))
    }

    pub(crate) async fn ask<R: Wanted>(&mut self, request: &R) -> Result<R::Answer, Error> {
        self.call(Method::POST, R::PATH, serde_json::to_vec(request)?.into()).await
    }

    /// Messages as they are published.
    pub(crate) async fn watch(&mut self, watch: &Watch) -> Result<Lines, Error> {
        let body = self.send(Method::POST, Watch::PATH, serde_json::to_vec(watch)?.into()).await?;
        Ok(Lines { body, rest: BytesMut::new() })
    }

    pub(crate) async fn status(&mut self) -> Result<Status, Error> {
        self.call(Method::GET, "/status", Bytes::new()).await
    }

    pub(crate) async fn publish(
        &mut self,
        event: &str,
        payload: Bytes,
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        let mut path = format!("/events/{}?delay_ms={}", encoded(event), options.delay_ms);
        if let Some(key) = &options.key {
            path += &format!("&key={}", encoded(key));
        }
        self.call(Method::POST, &path, payload).await
    }

    /// Runs a cron job now.
    pub(crate) async fn run_cron(&mut self, job: &str) -> Result<Published, Error> {
        self.call(Method::POST, &format!("/cron/{}/run", encoded(job)), Bytes::new()).await
    }

    pub(crate) async fn traces(&mut self, query: &TraceQuery) -> Result<rohas_telemetry::Listing, Error> {
        self.call(Method::POST, "/traces", serde_json::to_vec(query)?.into()).await
    }

    pub(crate) async fn trace(&mut self, prefix: &str) -> Result<rohas_telemetry::Tree, Error> {
        self.call(Method::GET, &format!("/traces/{}", encoded(prefix)), Bytes::new()).await
    }

    async fn call<T: DeserializeOwned>(&mut self, method: Method, path: &str, body: Bytes) -> Result<T, Error> {
        let body = self.send(method, path, body).await?.collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    /// Asks, and reads no further than that the daemon agrees.
    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Incoming, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            path.parse().map_err(|_invalid| Error::Refused(format!("{path:?} cannot be asked for")))?;
        request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("rohas"));
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = response.into_body().collect().await?.to_bytes();
        let refusal = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error);
        Err(Error::Refused(refusal.unwrap_or_else(|_other| format!("the daemon answered {status}"))))
    }
}

/// Lines of an answer that goes on, as they come.
pub(crate) struct Lines {
    body: Incoming,
    /// What has come after the last line break.
    rest: BytesMut,
}

impl Lines {
    /// The next message; `None` when the daemon has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Seen>, Error> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.rest) {
                let line = self.rest.split_to(end + 1);
                return Ok(Some(Seen::parse(&line)?));
            }
            match self.body.frame().await {
                // A daemon that drains cuts the connection.
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => self.rest.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default()),
            }
        }
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
