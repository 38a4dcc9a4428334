//! How does a publication get to the writer? It reserves its room in the store, then its place before the writer, and waits for the answer.

use std::sync::Arc;

use super::codec::weight;
use super::command::{Command, Hold};
use super::error::closed;
use super::room::Reservation;
use super::shared::Shared;
use crate::broker::{Error, Publication};

/// Waits while there is no room.
pub(super) async fn wait(shared: &Shared, publications: Vec<Publication>) -> Result<(), Error> {
    let bytes = sum(&publications);
    let reservation = shared.room.reserve(bytes).await?;
    send(shared, publications, reservation, bytes).await
}

/// Does not wait for room.
pub(super) async fn try_now(shared: &Shared, publications: Vec<Publication>) -> Result<(), Error> {
    let bytes = sum(&publications);
    let reservation = shared.room.try_reserve(bytes)?;
    send(shared, publications, reservation, bytes).await
}

async fn send(
    shared: &Shared,
    publications: Vec<Publication>,
    reservation: Reservation,
    bytes: u64,
) -> Result<(), Error> {
    let hold = queue(shared, reservation, bytes).await?;
    shared.ask(|reply| Command::Publish { publications, hold, reply }).await
}

/// Waits until the writer has room: it empties what waits whatever consumers do, so this ends by itself.
pub(super) async fn queue(shared: &Shared, reservation: Reservation, bytes: u64) -> Result<Hold, Error> {
    let permits = Arc::clone(&shared.queue).acquire_many_owned(Shared::permits(bytes));
    let permit = permits.await.map_err(|_closed| closed())?;
    Ok(Hold::new(reservation, permit))
}

fn sum(publications: &[Publication]) -> u64 {
    publications.iter().map(|publication| weight(&publication.envelope)).sum()
}
