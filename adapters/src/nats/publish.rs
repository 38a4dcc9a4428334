//! How do messages get into the streams? Many are sent before the first confirmation is waited for, and those that were refused are told apart.

use std::future::IntoFuture;

use async_nats::Subject;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};

use super::connection::failed;
use super::headers;
use super::topology::Topology;
use crate::broker::{DeadLetter, Error};
use crate::remote::wire::Outgoing;

/// As many are on their way at a time, for each call.
const MOST: usize = 1_024;
/// And as many bytes; one more is sent when there are less.
const MOST_BYTES: usize = 8 << 20;

/// Why a message was not taken.
enum Refusal {
    /// Nobody takes its subject.
    NoStream,
    /// There is no room.
    Full(String),
    /// It can never be taken.
    TooLarge(String),
    /// The server did not say, or cannot now.
    Failed(PublishError),
}

impl Topology {
    /// Publishes events and waits for all confirmations. Where there is no stream it is made, and where there is no room it is made once.
    pub(super) async fn publish(&self, messages: &[Outgoing]) -> Result<(), Error> {
        self.need_events().await?;
        self.check_size(messages)?;
        let subjects: Vec<Subject> =
            messages.iter().map(|message| self.names.subject(&message.envelope.event).into()).collect();
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let (mut made_stream, mut made_room) = (false, false);
        loop {
            let send = |index: usize| (subjects[index].clone(), headers::message(&messages[index]));
            let Some(refusal) = self.send_all(&mut left, |index| messages[index].envelope.size(), send).await else {
                return Ok(());
            };
            match refusal {
                Refusal::NoStream if !made_stream => {
                    made_stream = true;
                    self.forget_streams();
                    self.need_events().await?;
                }
                Refusal::Full(_) if !made_room && self.make_room().await? => made_room = true,
                refusal => return Err(self.error(&self.names.stream, refusal)),
            }
        }
    }

    /// Publishes a copy of a dead letter.
    pub(super) async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.need_dead().await?;
        let subject: Subject = self.names.dead_subject(&letter.subscription).into();
        let mut made_stream = false;
        loop {
            let mut left = vec![0];
            let send = |_| (subject.clone(), headers::dead(letter));
            match self.send_all(&mut left, |_| letter.envelope.size(), send).await {
                None => return Ok(()),
                Some(Refusal::NoStream) if !made_stream => {
                    made_stream = true;
                    self.forget_streams();
                    self.need_dead().await?;
                }
                Some(refusal) => return Err(self.error(&self.names.dead, refusal)),
            }
        }
    }

    /// Sends those that are left. Those that were not confirmed stay left, and the first reason is told.
    async fn send_all(
        &self,
        left: &mut Vec<usize>,
        size: impl Fn(usize) -> usize,
        message: impl Fn(usize) -> (Subject, PublishMessage),
    ) -> Option<Refusal> {
        while !left.is_empty() {
            let batch = batch(left, &size);
            let mut sent: Vec<(usize, Result<PublishAckFuture, PublishError>)> = Vec::with_capacity(batch);
            for &index in &left[..batch] {
                let (subject, message) = message(index);
                sent.push((index, self.connection.context.send_publish(subject, message).await));
            }
            let mut refused = Vec::new();
            let mut first = None;
            for (index, sent) in sent {
                let confirmed = match sent {
                    Ok(confirmation) => confirmation.into_future().await.map(|_copy_or_not| ()),
                    Err(error) => Err(error),
                };
                if let Err(error) = confirmed {
                    refused.push(index);
                    first.get_or_insert_with(|| refusal(error));
                }
            }
            left.splice(..batch, refused);
            if first.is_some() {
                return first;
            }
        }
        None
    }

    /// Together they must have room in an empty stream.
    fn check_size(&self, messages: &[Outgoing]) -> Result<(), Error> {
        let Some(most) = self.max_bytes() else { return Ok(()) };
        let bytes: u64 = messages.iter().map(|message| message.envelope.size() as u64).sum();
        if bytes <= most {
            return Ok(());
        }
        let bound = format!("{bytes} bytes at once, the stream's max_bytes is {most}");
        Err(Error::TooLarge { what: format!("the stream {}", self.names.stream), bound })
    }

    fn error(&self, stream: &str, refusal: Refusal) -> Error {
        let what = || format!("the stream {stream}");
        match refusal {
            Refusal::NoStream => {
                Error::Unavailable(format!("no stream takes the subjects of {stream}; has somebody changed them?"))
            }
            Refusal::Full(bound) => Error::Full { what: what(), bound },
            Refusal::TooLarge(bound) => Error::TooLarge { what: what(), bound },
            Refusal::Failed(error) => match self.connection.check() {
                Ok(()) => failed("a message was not confirmed", error),
                Err(away) => away,
            },
        }
    }
}

/// How many of them go together.
fn batch(left: &[usize], size: impl Fn(usize) -> usize) -> usize {
    let mut bytes = 0;
    let fits = |&&index: &&usize| {
        let before = bytes;
        bytes += size(index);
        before < MOST_BYTES
    };
    left.iter().take(MOST).take_while(fits).count()
}

fn refusal(error: PublishError) -> Refusal {
    match error.kind() {
        PublishErrorKind::StreamNotFound => return Refusal::NoStream,
        PublishErrorKind::MaxPayloadExceeded => return Refusal::TooLarge(format!("{error}; the server's max_payload")),
        _ => {}
    }
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    let Some(refused) = source else { return Refusal::Failed(error) };
    match refused.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Refusal::TooLarge(refused.to_string())
        }
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
            Refusal::Full(format!("{refused}; the account's or the server's limits"))
        }
        // Every failure to store has this code; only its text tells which.
        ErrorCode::STREAM_STORE_FAILED if refused.to_string().contains("maximum") => {
            Refusal::Full(format!("{refused}; max_bytes"))
        }
        _ => Refusal::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_number_and_by_bytes() {
        let all: Vec<usize> = (0..3_000).collect();
        assert_eq!(batch(&all, |_| 1), MOST);
        assert_eq!(batch(&all, |_| MOST_BYTES / 4), 4);
        assert_eq!(batch(&all, |_| 2 * MOST_BYTES), 1);
        assert_eq!(batch(&all[..2], |_| 1), 2);
    }
}
