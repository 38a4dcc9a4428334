//! What are our streams, consumers and subjects called? Different projects, events and handlers never share a name.

use std::fmt::Write as _;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::broker::Subscription;

/// The end of the name of the stream of dead letters.
const DEAD: &str = "_DLQ";

/// A name of more bytes is cut, and told apart by a hash: servers make files of names.
const LONGEST: usize = 100;

/// Names of one project.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The stream of events.
    pub(super) stream: String,
    /// The stream of dead letters.
    pub(super) dead: String,
    /// What the stream of events takes.
    pub(super) all: String,
    /// What the stream of dead letters takes.
    pub(super) all_dead: String,
    /// What is said to all daemons.
    pub(super) broadcast: String,
    /// What subjects of events begin with.
    events: String,
    dead_letters: String,
}

impl Names {
    pub(super) fn new(project: &str) -> Self {
        let project = project_name(project);
        let stream = format!("ROHAS_{project}");
        Self {
            dead: format!("{stream}{DEAD}"),
            stream,
            all: format!("rohas.{project}.>"),
            all_dead: format!("rohas_dlq.{project}.>"),
            broadcast: format!("rohas_broadcast.{project}"),
            events: format!("rohas.{project}."),
            dead_letters: format!("rohas_dlq.{project}."),
        }
    }

    /// Where an event is published.
    pub(super) fn subject(&self, event: &str) -> String {
        format!("{}{}", self.events, word(event))
    }

    /// Whose subject it is. Those that others have made may be of no event of ours.
    pub(super) fn event(&self, subject: &str) -> Arc<str> {
        let word = subject.strip_prefix(&self.events).unwrap_or(subject);
        let percent = word.replace('=', "%");
        percent_decode_str(&percent).decode_utf8().map_or_else(|_not_ours| word.into(), |event| (*event).into())
    }

    /// The durable consumer of a subscription.
    pub(super) fn consumer(subscription: &Subscription) -> String {
        format!("{}--{}", word(&subscription.event), word(&subscription.handler))
    }

    /// What a consumer of ours must be given, by its name; `None` for those of others.
    pub(super) fn filter(&self, consumer: &str) -> Option<String> {
        let (event, _handler) = consumer.split_once("--")?;
        Some(format!("{}{event}", self.events))
    }

    /// Where a dead letter is published.
    pub(super) fn dead_subject(&self, subscription: &Subscription) -> String {
        format!("{}{}.{}", self.dead_letters, word(&subscription.event), word(&subscription.handler))
    }
}

/// No project's stream is called like another one's stream of dead letters.
fn project_name(project: &str) -> String {
    let name = encoded(project, |byte| byte == b'-');
    match name.strip_suffix(DEAD) {
        Some(head) => format!("{head}=5FDLQ"),
        None => name,
    }
}

/// Without `-`, which stands between events and handlers.
fn word(name: &str) -> String {
    encoded(name, |_byte| false)
}

/// Letters, digits and `_` stay; everything else becomes `=` and two digits. NATS has its own use for dots, stars, `>` and space.
fn encoded(name: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || keep(byte) {
            encoded.push(char::from(byte));
        } else {
            let written = write!(encoded, "={byte:02X}");
            debug_assert!(written.is_ok(), "text can always be written to memory");
        }
    }
    match encoded.len() {
        // Nothing else ends with this sign.
        0 => "=".to_owned(),
        1..=LONGEST => encoded,
        _ => format!("{}=={}", &encoded[..LONGEST / 2], Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn subscription(event: &str, handler: &str) -> Subscription {
        Subscription { event: event.into(), handler: handler.into() }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        let names = Names::new("my-shop");
        assert_eq!(names.stream, "ROHAS_my-shop");
        assert_eq!(names.dead, "ROHAS_my-shop_DLQ");
        assert_eq!(names.subject("OrderPlaced"), "rohas.my-shop.OrderPlaced");
        assert_eq!(Names::consumer(&subscription("OrderPlaced", "send_receipt")), "OrderPlaced--send_receipt");
        assert_eq!(names.dead_subject(&subscription("E", "h")), "rohas_dlq.my-shop.E.h");
        assert_eq!(names.filter("E--h").as_deref(), Some("rohas.my-shop.E"));
        assert_eq!(names.filter("somebody"), None);
    }

    #[test]
    fn names_that_could_be_taken_for_each_other_differ() {
        let all =
            [("a", "b--c"), ("a--b", "c"), ("a", "-b"), ("a-", "b"), ("", ""), ("=", ""), ("a.b", "c"), ("a b", "c")];
        let consumers: HashSet<String> =
            all.iter().map(|(event, handler)| Names::consumer(&subscription(event, handler))).collect();
        assert_eq!(consumers.len(), all.len());
        assert_ne!(Names::new("x_DLQ").stream, Names::new("x").dead);
    }

    proptest! {
        #[test]
        fn any_name_is_one_word_and_is_read_again(event in "\\PC{0,20}") {
            let names = Names::new("shop");
            let subject = names.subject(&event);
            prop_assert_eq!(subject.matches('.').count(), 2);
            prop_assert!(subject.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>/\\".contains(&byte)), "{}", subject);
            // One that was cut has its hash behind two signs that stand together nowhere else.
            if !subject.contains("==") && !event.is_empty() {
                prop_assert_eq!(&*names.event(&subject), &event);
            }
        }
    }

    #[test]
    fn long_names_stay_short_and_different() {
        let [one, other] = ["a", "b"]
            .map(|end| Names::consumer(&subscription(&"x".repeat(300), &format!("{}{end}", "y".repeat(300)))));
        assert_ne!(one, other);
        assert!(one.len() < 255);
    }
}
