//! What does a middleware say before the handler? It lets the request pass, perhaps changed, or answers itself, or refuses it.

use axum::http::HeaderMap;
use rohas_handlers_host::outcome::Class;
use rohas_handlers_host::{Completed, HandlerError};
use serde_json::{Map, Value};

use crate::dispatch::{self, Error};
use crate::reply::{self, Reply};

/// What a before-part that returned has said.
#[derive(Debug)]
pub(crate) enum Said {
    /// The answer, in the handler's stead.
    Answer(Reply),
    /// The request goes on.
    Pass {
        changes: Option<Changes>,
        headers: HeaderMap,
        /// Keys of what it returned that mean nothing.
        ignored: Vec<String>,
    },
}

/// What is to take the place of what the client has sent.
#[derive(Debug, PartialEq)]
pub(crate) struct Changes {
    pub(crate) payload: Option<Value>,
    pub(crate) query: Option<Vec<(String, String)>>,
}

impl Said {
    /// Reads what it returned.
    ///
    /// # Errors
    /// When it refuses the request, or what it returned cannot be used.
    pub(super) fn read(completed: Completed) -> Result<Self, Error> {
        if completed.status.is_some() {
            return dispatch::read_reply(completed).map(Self::Answer);
        }
        match serde_json::from_slice(&completed.reply) {
            Ok(Value::Object(said)) => Self::of_object(said),
            // As with the original, whatever else is returned lets the request pass.
            _ => Ok(Self::Pass { changes: None, headers: HeaderMap::new(), ignored: Vec::new() }),
        }
    }

    fn of_object(mut said: Map<String, Value>) -> Result<Self, Error> {
        if let Some(error) = said.remove("error").filter(|error| !error.is_null()) {
            return Err(refused(&error));
        }
        let headers = match object(&mut said, "response_headers")? {
            Some(set) => reply::headers(&header_pairs(set)?)?,
            None => HeaderMap::new(),
        };
        let query = object(&mut said, "query_params")?.map(query_pairs);
        let payload = said.remove("payload");
        let changes = (payload.is_some() || query.is_some()).then_some(Changes { payload, query });
        let ignored = match said.remove("ignored") {
            Some(Value::Array(keys)) => keys.into_iter().filter_map(text).collect(),
            _ => Vec::new(),
        };
        Ok(Self::Pass { changes, headers, ignored })
    }
}

fn refused(error: &Value) -> Error {
    let message = match error {
        Value::String(text) if text.is_empty() => "the request is refused".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Error::Rejected(HandlerError {
        class: Class::Rejected,
        code: Some("rejected".to_owned()),
        kind: "Rejected".to_owned(),
        message,
        expected: true,
        ..HandlerError::default()
    })
}

/// A member that has to be an object.
fn object(said: &mut Map<String, Value>, name: &str) -> Result<Option<Map<String, Value>>, Error> {
    match said.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(unusable(format!("what it returned as {name} is no dict"))),
    }
}

fn unusable(message: String) -> Error {
    let code = Some("invalid_reply".to_owned());
    Error::Failed(HandlerError { kind: "TypeError".to_owned(), code, message, ..HandlerError::default() })
}

/// Values that are no text are left out, as they were by the original.
fn query_pairs(params: Map<String, Value>) -> Vec<(String, String)> {
    let mut pairs = Vec::with_capacity(params.len());
    for (name, value) in params {
        match value {
            Value::String(text) => pairs.push((name, text)),
            Value::Array(items) => {
                pairs.extend(items.into_iter().filter_map(text).map(|text| (name.clone(), text)));
            }
            _ => {}
        }
    }
    pairs
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn header_pairs(set: Map<String, Value>) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = Vec::with_capacity(set.len());
    for (name, value) in set {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => {
                    return Err(unusable(format!(
                        "the value of the response header {name:?} is neither text nor a number"
                    )));
                }
            };
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(said: &Value) -> Result<Said, Error> {
        Said::read(Completed { reply: said.to_string().into(), ..Completed::default() })
    }

    #[test]
    fn what_is_no_object_lets_the_request_pass_unchanged() {
        for said in [json!(null), json!(true), json!("x"), json!([1]), json!({}), json!({"error": null, "other": 1})] {
            let Ok(Said::Pass { changes: None, headers, .. }) = read(&said) else { panic!("{said}") };
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn changes_and_headers_are_told_apart() {
        let said = json!({
            "payload": null,
            "query_params": {"a": "1", "b": ["2", 3, "4"], "c": 5},
            "response_headers": {"X-Left": 3, "Vary": ["a", "b"], "Content-Length": "1"},
            "ignored": ["status"],
        });
        let Ok(Said::Pass { changes: Some(changes), headers, ignored }) = read(&said) else { panic!("{said}") };
        assert_eq!(ignored, ["status"]);
        assert_eq!(changes.payload, Some(Value::Null));
        let query = [("a", "1"), ("b", "2"), ("b", "4")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(changes.query.unwrap(), query);
        let mut sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(sent, [("vary", "a"), ("vary", "b"), ("x-left", "3")]);
    }

    #[test]
    fn an_error_refuses_and_nonsense_fails() {
        for (said, message) in [
            (json!({"error": "no", "payload": {}}), "no"),
            (json!({"error": {"a": 1}}), "{\"a\":1}"),
            (json!({"error": ""}), "the request is refused"),
        ] {
            let refused = read(&said);
            assert!(matches!(&refused, Err(Error::Rejected(error)) if error.message == message), "{refused:?}");
        }
        for said in [
            json!({"query_params": []}),
            json!({"response_headers": "x"}),
            json!({"response_headers": {"a": {}}}),
            json!({"response_headers": {"a b": "c"}}),
            json!({"response_headers": {"a": "b\r\nc: d"}}),
        ] {
            assert!(matches!(read(&said), Err(Error::Failed(_) | Error::Reply(_))), "{said}");
        }
    }
}
