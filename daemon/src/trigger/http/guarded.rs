//! How does a request go through the middlewares of its api? What they change is validated as if the client had sent it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use bytes::Bytes;
use rohas_handlers_host::invocation::{ApiInput, MiddlewareContext, MiddlewareTarget};
use tokio::time::Instant;
use uuid::Uuid;

use crate::reply::Reply;
use crate::trigger::http::accept::ClientAddress;
use crate::trigger::http::reply::ErrorBody;
use crate::trigger::http::request::{self, Payload};
use crate::trigger::http::routes::Exchange;
use crate::trigger::middleware::{Chain, Changes, Subject, client_address};
use crate::version::{ApiRoute, Version};

/// What middlewares are told of a request that handlers are not.
pub(super) struct Origin {
    path: Arc<str>,
    client: Option<IpAddr>,
}

impl Origin {
    pub(super) fn of(parts: &Parts, input: &ApiInput, version: &Version) -> Self {
        let trusted = &version.settings.server.trusted_proxies;
        let peer = parts.extensions.get::<ClientAddress>();
        let client = peer.map(|ClientAddress(peer)| client_address(*peer, &input.headers, trusted));
        Self { path: parts.uri.path().into(), client }
    }
}

impl Exchange {
    /// Runs the handler between its middlewares.
    pub(super) async fn guarded(&mut self, origin: Origin, mut input: ApiInput, mut payload: Payload) -> Reply {
        let (app, version, route) = (Arc::clone(&self.app), Arc::clone(&self.version), Arc::clone(&self.route));
        let cause = (Uuid::now_v7(), Instant::now() + route.timeout);
        let names = route.path_params.iter().cloned();
        let context = MiddlewareContext {
            target: MiddlewareTarget::Api(Arc::clone(&route.name)),
            method: self.method.clone(),
            path: origin.path,
            path_params: names.zip(input.path_params.iter().cloned()).collect(),
            headers: std::mem::take(&mut input.headers),
            client: origin.client,
        };
        let mut chain = Chain::new((&version, &app.brokers), &route.middlewares, &context, cause);
        input.headers = context.headers;
        self.recorder.handler(&route.handler.name);
        let query = std::mem::take(&mut input.query);
        let mut subject = Subject { payload: payload.body(), query, takes_payload: route.body.is_some() };
        let change = |subject: &mut Subject, changes| {
            payload = changed(&route, &input.path_params, subject, changes)?;
            Ok(())
        };
        let outcome = match chain.before(&mut subject, change, &mut self.recorder).await {
            Ok(None) => {
                input.has_body = payload.has_body;
                input.query_length = payload.query_length;
                input.query = subject.query.clone();
                self.handle((cause.0, chain.time_left()), input, payload.bytes).await
            }
            Ok(Some(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        let mut answer = outcome.unwrap_or_else(|error| {
            let trace_id = Some(self.trace_id());
            ErrorBody { trace_id, ..error }.into_reply()
        });
        answer.head.status.get_or_insert(route.status);
        chain.after(&subject, answer, &mut self.recorder).await
    }
}

/// Checks what a middleware has changed together with what it has not.
fn changed(
    route: &ApiRoute,
    path_params: &[String],
    subject: &mut Subject,
    changes: Changes,
) -> Result<Payload, ErrorBody> {
    let body = changes.payload.map_or_else(|| subject.payload.clone(), |payload| Bytes::from(payload.to_string()));
    let query = changes.query.as_ref().unwrap_or(&subject.query);
    let payload = request::validate(route, body, path_params, query)?;
    subject.payload = payload.body();
    if let Some(query) = changes.query {
        subject.query = query;
    }
    Ok(payload)
}
