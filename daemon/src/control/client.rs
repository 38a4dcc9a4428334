//! How does a command ask a running daemon?

use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::control::{self, Published, Status, TraceQuery};

/// A daemon that answered the door.
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

    pub(crate) async fn status(&mut self) -> Result<Status, Error> {
        self.ask(Method::GET, "/status", Bytes::new()).await
    }

    pub(crate) async fn publish(&mut self, event: &str, payload: Bytes) -> Result<Published, Error> {
        self.ask(Method::POST, &format!("/events/{}", encoded(event)), payload).await
    }

    pub(crate) async fn traces(&mut self, query: &TraceQuery) -> Result<rohas_telemetry::Listing, Error> {
        self.ask(Method::POST, "/traces", serde_json::to_vec(query)?.into()).await
    }

    pub(crate) async fn trace(&mut self, prefix: &str) -> Result<rohas_telemetry::Tree, Error> {
        self.ask(Method::GET, &format!("/traces/{}", encoded(prefix)), Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(&mut self, method: Method, path: &str, body: Bytes) -> Result<T, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            path.parse().map_err(|_invalid| Error::Refused(format!("{path:?} cannot be asked for")))?;
        request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("rohas"));
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(serde_json::from_slice(&body)?);
        }
        let refusal = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error);
        Err(Error::Refused(refusal.unwrap_or_else(|_other| format!("the daemon answered {status}"))))
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
