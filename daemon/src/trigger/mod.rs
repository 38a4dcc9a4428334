//! What starts work? Each trigger turns one kind of stimulus into a piece of work for `dispatch` and its outcome into an answer.

pub(crate) mod broker;
pub(crate) mod cron;
pub(crate) mod http;
pub(crate) mod middleware;
pub(crate) mod websocket;
