//! What does a client read? Replies of handlers, and the one shape of every error.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use rohas_adapters::broker;
use rohas_config::schema::shape::Fault;
use rohas_handlers_host::{HandlerError, HostError};
use serde::Serialize;
use serde_json::Value;

use crate::dispatch;
use crate::reply::{Head, Reply};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of every answer that is an error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    /// For people.
    pub(crate) error: String,
    /// For programs.
    pub(crate) code: String,
    /// Every fault with its path, or what the handler added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Value>,
    /// The request's trace, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    /// Seconds after which a client may try again.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
    /// Whether the connection must close: there is input on it that nobody has read.
    #[serde(skip)]
    pub(crate) close: bool,
}

impl ErrorBody {
    pub(crate) fn new(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            code: code.to_owned(),
            details: None,
            trace_id: None,
            retry_after: None,
            close: false,
        }
    }

    /// Input that does not fit the schema.
    pub(crate) fn invalid(faults: &[Fault]) -> Self {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        let text = match faults.len() {
            1 => first,
            count => format!("{first} (and {} more)", count - 1),
        };
        let details = serde_json::to_value(faults).unwrap_or_default();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", text).details(details)
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// What a piece of work that ended in an error is to its caller. `development` shows an unexpected exception's message.
    pub(crate) fn of(error: &dispatch::Error, development: bool) -> Self {
        match error {
            dispatch::Error::Rejected(error) => Self::of_handler(error, StatusCode::BAD_REQUEST, development),
            dispatch::Error::Failed(error) => Self::of_handler(error, StatusCode::INTERNAL_SERVER_ERROR, development),
            dispatch::Error::Retry { after, error } => Self {
                retry_after: Some(after.as_secs().max(1)),
                ..Self::of_handler(error, StatusCode::SERVICE_UNAVAILABLE, development)
            },
            dispatch::Error::Host(host) => Self::of_host(host, error.code(), development),
            dispatch::Error::Reply(_) | dispatch::Error::MiddlewareReply { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.code(), error.to_string())
            }
            dispatch::Error::Emit(emit) => {
                Self::unexpected(StatusCode::INTERNAL_SERVER_ERROR, error.code(), &emit.to_string(), development)
            }
            dispatch::Error::Publish(publish @ broker::Error::TooLarge { .. }) => {
                Self::unexpected(StatusCode::INTERNAL_SERVER_ERROR, "invalid_emit", &publish.to_string(), development)
            }
            dispatch::Error::Publish(broker::Error::Unavailable(_)) => Self {
                retry_after: Some(1),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    error.code(),
                    "the events of this request cannot be kept now; try again later",
                )
            },
            dispatch::Error::Publish(_) | dispatch::Error::NoRoom => Self {
                retry_after: Some(1),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), "the queues are full; try again later")
            },
        }
    }

    fn of_handler(error: &HandlerError, fallback: StatusCode, development: bool) -> Self {
        let code = error.code.as_deref().unwrap_or("handler_failed");
        let chosen = error.status.and_then(|status| StatusCode::from_u16(status).ok());
        // Anything else is no error to a client, and some of it hyper could not send.
        let status = chosen.filter(|status| status.is_client_error() || status.is_server_error()).unwrap_or(fallback);
        if !error.expected {
            let text = if error.kind.is_empty() {
                error.message.clone()
            } else {
                format!("{}: {}", error.kind, error.message)
            };
            return Self::unexpected(status, code, &text, development);
        }
        Self {
            details: error.details.clone(),
            retry_after: error.retry_after_ms.map(|ms| ms.div_ceil(1000)),
            ..Self::new(status, code, error.message.clone())
        }
    }

    fn of_host(error: &HostError, code: &str, development: bool) -> Self {
        match error {
            HostError::TimedOut | HostError::NeverStarted => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, code, error.to_string())
            }
            HostError::WorkerDied(_) => {
                Self::new(StatusCode::BAD_GATEWAY, code, "the worker process died while it ran the handler")
            }
            HostError::WorkerEnded(_) => {
                Self::new(StatusCode::BAD_GATEWAY, code, "the worker process was ended while it ran the handler")
            }
            HostError::NotLoaded(text) | HostError::NoLongerLoads(text) => {
                let message = format!("the handler could not be loaded: {text}");
                Self::unexpected(StatusCode::INTERNAL_SERVER_ERROR, code, &message, development)
            }
            HostError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, error.to_string()),
            HostError::Busy | HostError::Closed => {
                Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string()) }
            }
        }
    }

    /// What only the project's developers should read.
    fn unexpected(status: StatusCode, code: &str, text: &str, development: bool) -> Self {
        Self::new(status, code, if development { text } else { "the handler failed; its trace has the error" })
    }

    /// The body itself.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|_unserializable| b"{\"error\":\"internal\"}".to_vec())
    }

    /// As a handler's reply, which middlewares may still change.
    pub(crate) fn into_reply(self) -> Reply {
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Reply { head: Head { status: Some(self.status), headers }, body: self.to_json().into() }
    }

    pub(crate) fn into_response(self) -> Response {
        let mut response = json(self.status, Body::from(self.to_json()));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

pub(super) fn json(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The answer of a handler that returned. `declared` is the api's `status:`.
pub(crate) fn of_handler(reply: Reply, declared: StatusCode, method: &Method) -> Response {
    let Reply { head, body } = reply;
    let status = head.status.unwrap_or(declared);
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT);
    let length = body.len();
    let mut response = Response::new(if bodiless || method == Method::HEAD { Body::empty() } else { body.into() });
    *response.status_mut() = status;
    *response.headers_mut() = head.headers;
    if !bodiless {
        response.headers_mut().entry(header::CONTENT_TYPE).or_insert(JSON);
        if method == Method::HEAD {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_available_is_not_said_to_be_full() {
        let of = |error| ErrorBody::of(&dispatch::Error::Publish(error), false);
        let down = of(broker::Error::Unavailable("the disk is full".to_owned()));
        let full = of(broker::Error::Full { what: "it".to_owned(), bound: "1".to_owned() });
        for (body, code, said) in [(down, "unavailable", "cannot be kept now"), (full, "too_busy", "are full")] {
            assert_eq!((body.status, body.retry_after, &*body.code), (StatusCode::SERVICE_UNAVAILABLE, Some(1), code));
            assert!(body.error.contains(said), "{}", body.error);
        }
    }
}
