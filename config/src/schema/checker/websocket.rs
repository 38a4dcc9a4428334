//! Which WebSocket endpoint does a `ws` declare?

use super::{Checker, Decl, handlers::Mention, properties::Properties};
use crate::{
    project::HandlerKind,
    schema::model::{Method, WebSocket},
};

const KNOWN: [&str; 8] =
    ["path", "message", "onConnect", "onMessage", "onDisconnect", "triggers", "broadcast", "middlewares"];

impl Checker<'_> {
    pub(super) fn websocket(&mut self, decl: Decl<'_>) {
        let given = self.properties(decl, &decl.node.entries, &KNOWN);
        let path = self.required(decl, given.get("path"), ("path", "\"/...\""));
        let path = path.and_then(|entry| self.path(decl, entry));
        let message = given.get("message").and_then(|entry| self.property_type(decl, entry, "MessageData"));
        let on_connect = self.connection_handlers(decl, &given, "onConnect");
        let on_message = self.connection_handlers(decl, &given, "onMessage");
        let on_disconnect = self.connection_handlers(decl, &given, "onDisconnect");
        let triggers = self.events(decl, given.get("triggers"));
        let broadcast = given.get("broadcast").and_then(|entry| self.boolean(decl, entry));
        let middlewares = self.middlewares(decl, &given);
        let Some(path) = path else { return };
        // A connection begins as a GET request.
        self.route(decl, Method::Get, &path);
        let location = self.location(decl.name_place());
        let name = decl.name().to_owned();
        let websocket = WebSocket {
            name: name.clone(),
            doc: decl.node.doc.clone(),
            path,
            message,
            on_connect,
            on_message,
            on_disconnect,
            triggers,
            broadcast: broadcast.unwrap_or(false),
            middlewares,
            location,
        };
        self.schema.websockets.insert(name, websocket);
    }

    fn connection_handlers(&mut self, decl: Decl<'_>, given: &Properties<'_>, property: &str) -> Vec<String> {
        let Some(entry) = given.get(property) else { return Vec::new() };
        let mut handlers = Vec::new();
        for (name, place) in self.names(decl, entry) {
            let owner = decl.name().to_owned();
            self.mention(Mention { kind: HandlerKind::WebSocket, owner, name: name.clone(), place });
            handlers.push(name);
        }
        handlers
    }
}
