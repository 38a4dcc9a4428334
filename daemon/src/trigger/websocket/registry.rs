//! Which connections are open, and in which rooms? Whoever has something for clients finds them here.
//!
//! A connection belongs to the shard that its id names, with all of its rooms: what concerns one connection takes one lock,
//! a broadcast one after the other, and visits those whom it is for. A message that goes to many exists once, and is given to
//! them in slices, with turns for everything else between.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rohas_handlers_host::PushSink;
use rohas_handlers_host::push::{Frame, Push};
use tokio::sync;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::trigger::websocket::close::{self, Close, GOING_AWAY};
use crate::trigger::websocket::message::Message;
use crate::trigger::websocket::peer::Peer;
use crate::trigger::websocket::pulse::{Due, Rules};
use crate::trigger::websocket::queue::End;
use crate::version::Version;

const SHARDS: usize = 16;
/// How many rooms a connection may be in.
const MAX_ROOMS: usize = 1000;
/// Longest name of a room, in bytes.
const MAX_ROOM_NAME: usize = 256;

/// All open connections of a daemon. They outlive reloads.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    /// How many connections are open or have been let in.
    count: AtomicUsize,
    /// Set for good when the daemon drains: what is registered after that is closed at once.
    draining: AtomicBool,
    /// Cancelled when the drain's time is over.
    end: CancellationToken,
    /// The last versions that had WebSockets which are gone, by name, as long as these have connections. Changed by reloads and the
    /// clock, read by connections that begin or end.
    former: Mutex<HashMap<Arc<str>, Arc<Version>>>,
    /// Held for one broadcast, so that all clients see them in one order.
    broadcasts: sync::Mutex<()>,
    epoch: Instant,
}

/// A part of the connections. The lock is held for look-ups, and while a broadcast finds out whom in the part it is for.
#[derive(Debug, Default)]
struct Shard {
    connections: HashMap<Uuid, Entry>,
    /// By name of the WebSocket.
    members: HashMap<Arc<str>, Members>,
}

#[derive(Debug)]
struct Entry {
    peer: Arc<Peer>,
    rooms: HashSet<Arc<str>>,
    /// Whether it was said that it cannot join more rooms.
    is_full: bool,
}

type Peers = HashMap<Uuid, Arc<Peer>>;

#[derive(Debug, Default)]
struct Members {
    all: Peers,
    rooms: HashMap<Arc<str>, Peers>,
}

/// Who gets a broadcast.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Audience<'a> {
    /// Only those in this room.
    pub(super) room: Option<&'a str>,
    /// Not this one.
    pub(super) exclude: Option<Uuid>,
}

/// A connection that has been let in; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Registry>);

/// A connection that can be found; it is taken out when this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    peer: Arc<Peer>,
    place: Place,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            count: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            end: CancellationToken::new(),
            former: Mutex::default(),
            broadcasts: sync::Mutex::default(),
            epoch: Instant::now(),
        }
    }

    /// How many connections are open.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Milliseconds on the clock of all connections.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
    }

    /// Lets a connection in, unless `most` are.
    pub(super) fn admit(self: &Arc<Self>, most: usize) -> Option<Place> {
        let more = |count| (count < most).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    fn shard(&self, id: Uuid) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(id.as_bytes()[15]) % SHARDS])
    }

    fn peer(&self, id: &str) -> Option<Arc<Peer>> {
        let id = Uuid::parse_str(id).ok()?;
        self.shard(id).connections.get(&id).map(|entry| Arc::clone(&entry.peer))
    }

    /// Sends one message to many.
    pub(super) async fn broadcast(&self, websocket: &str, audience: Audience<'_>, message: &Message) {
        let _turn = self.broadcasts.lock().await;
        let now = self.now();
        let mut peers = Vec::new();
        for shard in &self.shards {
            lock(shard).find(websocket, audience, &mut peers);
            for peer in peers.drain(..) {
                consume_budget().await;
                peer.send(message.clone(), now);
            }
        }
    }

    /// Keeps the present version for the last handlers of those whose WebSockets the next one does not have. To be called before the
    /// next one takes over.
    pub(crate) fn remember(&self, present: &Arc<Version>, next: &Version) {
        let mut former = lock(&self.former);
        former.retain(|name, _| !next.websockets.contains_key(name));
        let gone = present.websockets.keys().filter(|name| !next.websockets.contains_key(*name));
        former.extend(gone.map(|name| (Arc::clone(name), Arc::clone(present))));
    }

    /// The last version that had a WebSocket which is gone.
    pub(super) fn former(&self, websocket: &str) -> Option<Arc<Version>> {
        lock(&self.former).get(websocket).cloned()
    }

    /// Lets go of versions that no connection needs any more.
    fn forget(&self) {
        let is_open = |name: &Arc<str>| self.shards.iter().any(|shard| lock(shard).members.contains_key(name));
        // Taken out under the lock and dropped behind it: a version ends its workers.
        let gone: Vec<_> = lock(&self.former).extract_if(|name, _| !is_open(name)).collect();
        drop(gone);
    }

    /// Closes the connections of WebSockets that a version no longer has.
    pub(crate) fn close_undeclared(&self, version: &Version) {
        self.each(|peer| {
            if !version.websockets.contains_key(&peer.websocket) {
                peer.queue.end(End::Finish(no_longer_served()));
            }
        });
    }

    /// The daemon stops: closes every connection, and those that come yet.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.each(|peer| peer.queue.end(End::Finish(shutting_down())));
    }

    /// Ends what has not ended by itself.
    pub(crate) fn cut(&self) {
        self.end.cancel();
        self.each(|peer| peer.queue.end(End::Cut(shutting_down())));
    }

    /// Waits until the time of a drain is over.
    pub(super) async fn is_cut(&self) {
        self.end.cancelled().await;
    }

    /// Does what is due on every connection.
    pub(super) fn tick(&self, rules: Rules) {
        self.forget();
        let now = self.now();
        self.each(|peer| match peer.pulse.due(now, rules) {
            None => {}
            Some(Due::Ping) => peer.queue.ping(),
            Some(Due::CloseIdle) => {
                peer.queue.end(End::Finish(Close::new(
                    GOING_AWAY,
                    "no message for as long as websocket.idle_timeout allows",
                )));
            }
            Some(Due::CutSilent) => peer.queue.end(End::Cut(Close::abnormal("no answer to a ping"))),
            Some(Due::CutClosing) => peer.queue.end(End::Cut(Close::abnormal("the close took too long"))),
        });
    }

    fn each(&self, act: impl Fn(&Peer)) {
        for shard in &self.shards {
            lock(shard).connections.values().for_each(|entry| act(&entry.peer));
        }
    }

    fn join(&self, id: &str, room: &str) {
        let Ok(id) = Uuid::parse_str(id) else { return };
        let Shard { connections, members } = &mut *self.shard(id);
        let Some(entry) = connections.get_mut(&id) else { return };
        if entry.rooms.contains(room) || !entry.may_join(room) {
            return;
        }
        let Some(members) = members.get_mut(&entry.peer.websocket) else { return };
        let room: Arc<str> =
            members.rooms.get_key_value(room).map_or_else(|| room.into(), |(name, _)| Arc::clone(name));
        members.rooms.entry(Arc::clone(&room)).or_default().insert(id, Arc::clone(&entry.peer));
        entry.rooms.insert(room);
    }

    fn leave(&self, id: &str, room: &str) {
        let Ok(id) = Uuid::parse_str(id) else { return };
        let Shard { connections, members } = &mut *self.shard(id);
        let Some(entry) = connections.get_mut(&id) else { return };
        if !entry.rooms.remove(room) {
            return;
        }
        if let Some(members) = members.get_mut(&entry.peer.websocket) {
            members.leave(room, id);
        }
    }
}

impl Shard {
    /// Adds those whom a broadcast is for.
    fn find(&self, websocket: &str, audience: Audience<'_>, found: &mut Vec<Arc<Peer>>) {
        let Some(members) = self.members.get(websocket) else { return };
        let peers = match audience.room {
            None => Some(&members.all),
            Some(room) => members.rooms.get(room),
        };
        let wanted = peers.into_iter().flatten().filter(|(id, _)| audience.exclude != Some(**id));
        found.extend(wanted.map(|(_, peer)| Arc::clone(peer)));
    }
}

impl Entry {
    /// Whether it may be in one more room, of this name. That it may not is said once.
    fn may_join(&mut self, room: &str) -> bool {
        let may = self.rooms.len() < MAX_ROOMS && room.len() <= MAX_ROOM_NAME;
        if !may && !std::mem::replace(&mut self.is_full, true) {
            let Peer { id, websocket, .. } = &*self.peer;
            tracing::warn!(
                %websocket, connection_id = %id, rooms = self.rooms.len(), max_rooms = MAX_ROOMS, max_name = MAX_ROOM_NAME,
                "a handler's state.ws.join goes beyond what a connection may have; it is not in that room"
            );
        }
        may
    }
}

#[async_trait]
impl PushSink for Registry {
    async fn push(&self, push: Push) {
        match push {
            Push::Send { connection, frame } => {
                if let Some(peer) = self.peer(&connection) {
                    peer.send(message_of(&frame), self.now());
                }
            }
            Push::Broadcast { websocket, room, exclude, frame } => {
                let exclude = exclude.and_then(|id| Uuid::parse_str(&id).ok());
                let audience = Audience { room: room.as_deref(), exclude };
                self.broadcast(&websocket, audience, &message_of(&frame)).await;
            }
            Push::Join { connection, room } => self.join(&connection, &room),
            Push::Leave { connection, room } => self.leave(&connection, &room),
            Push::Close { connection, code, reason } => {
                if let Some(peer) = self.peer(&connection) {
                    // Codes that no frame may have mean that there is nothing to say.
                    let code = if close::is_sendable(code) { code } else { close::NORMAL };
                    peer.queue.end(End::Close(Close::new(code, &reason)));
                }
            }
        }
    }
}

/// What a handler sends as a message. Copied, because it is a part of what was read from the worker.
fn message_of(frame: &Frame) -> Message {
    match frame {
        Frame::Text(data) => Message::text(Bytes::copy_from_slice(data)),
        Frame::Binary(data) => Message::binary(Bytes::copy_from_slice(data)),
    }
}

pub(super) fn shutting_down() -> Close {
    Close::new(GOING_AWAY, "the daemon is shutting down")
}

pub(super) fn no_longer_served() -> Close {
    Close::new(GOING_AWAY, "this WebSocket is no longer served")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Members {
    fn leave(&mut self, room: &str, id: Uuid) {
        let Some(peers) = self.rooms.get_mut(room) else { return };
        peers.remove(&id);
        if peers.is_empty() {
            self.rooms.remove(room);
        }
    }
}

impl Place {
    /// Lets the connection be found.
    pub(super) fn register(self, peer: Arc<Peer>) -> Registered {
        let mut shard = self.0.shard(peer.id);
        shard.members.entry(Arc::clone(&peer.websocket)).or_default().all.insert(peer.id, Arc::clone(&peer));
        shard.connections.insert(peer.id, Entry { peer: Arc::clone(&peer), rooms: HashSet::new(), is_full: false });
        drop(shard);
        if self.0.draining.load(Ordering::SeqCst) {
            peer.queue.end(End::Finish(shutting_down()));
        }
        Registered { peer, place: self }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Registered {
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.place.0
    }

    /// To be called when something comes from the client.
    pub(super) fn hear(&self) -> impl FnMut(&[u8]) + Unpin + use<> {
        let (peer, registry) = (Arc::clone(&self.peer), Arc::clone(&self.place.0));
        move |_input| peer.pulse.hear(registry.now())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let id = self.peer.id;
        let Shard { connections, members } = &mut *self.place.0.shard(id);
        let Some(entry) = connections.remove(&id) else { return };
        let Some(mine) = members.get_mut(&entry.peer.websocket) else { return };
        for room in &entry.rooms {
            mine.leave(room, id);
        }
        mine.all.remove(&id);
        if mine.all.is_empty() {
            members.remove(&entry.peer.websocket);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;
    use crate::trigger::websocket::pulse::Pulse;
    use crate::trigger::websocket::queue::Queue;

    fn open(registry: &Arc<Registry>, websocket: &str) -> Registered {
        let peer = Peer {
            id: Uuid::new_v4(),
            websocket: websocket.into(),
            queue: Queue::new(1 << 20),
            pulse: Pulse::new(registry.now()),
        };
        peer.queue.opened();
        registry.admit(usize::MAX).unwrap().register(Arc::new(peer))
    }

    /// Takes out what waits for a connection, one letter per frame.
    fn waiting(connection: &Registered) -> String {
        let frames = std::iter::from_fn(|| connection.peer().queue.pop());
        frames.map(|frame| String::from_utf8_lossy(frame.payload()).into_owned()).collect()
    }

    async fn broadcast(registry: &Registry, websocket: &str, room: Option<&str>, data: &'static str) {
        registry
            .push(Push::Broadcast {
                websocket: websocket.into(),
                room: room.map(Into::into),
                exclude: None,
                frame: Frame::Text(Bytes::from_static(data.as_bytes())),
            })
            .await;
    }

    #[tokio::test]
    async fn a_broadcast_reaches_those_it_is_meant_for() {
        let registry = Arc::new(Registry::new());
        let chats: Vec<_> = (0..40).map(|_| open(&registry, "Chat")).collect();
        let other = open(&registry, "Other");
        let id = |connection: &Registered| connection.peer().id.to_string();
        for member in &chats[..2] {
            registry.push(Push::Join { connection: id(member), room: "r".into() }).await;
            registry.push(Push::Join { connection: id(member), room: "r".into() }).await;
        }
        broadcast(&registry, "Chat", None, "a").await;
        broadcast(&registry, "Chat", Some("r"), "b").await;
        broadcast(&registry, "Chat", Some("nobody"), "x").await;
        broadcast(&registry, "Nothing", None, "x").await;
        registry.push(Push::Leave { connection: id(&chats[0]), room: "r".into() }).await;
        broadcast(&registry, "Chat", Some("r"), "c").await;
        let but_first = Audience { room: None, exclude: Some(chats[0].peer().id) };
        registry.broadcast("Chat", but_first, &Message::text(Bytes::from_static(b"d"))).await;
        let got: Vec<_> = chats.iter().map(waiting).collect();
        assert_eq!(got[..3], ["ab", "abcd", "ad"]);
        assert!(got[2..].iter().all(|got| got == "ad"));
        assert_eq!(waiting(&other), "");
    }

    #[tokio::test]
    async fn one_that_has_gone_is_nowhere() {
        let registry = Arc::new(Registry::new());
        let chat = open(&registry, "Chat");
        let id = chat.peer().id.to_string();
        registry.push(Push::Join { connection: id.clone(), room: "r".into() }).await;
        let peer = Arc::clone(chat.peer());
        drop(chat);
        for push in [
            Push::Send { connection: id.clone(), frame: Frame::Text(Bytes::from_static(b"x")) },
            Push::Join { connection: id.clone(), room: "r".into() },
            Push::Close { connection: id.clone(), code: 1000, reason: String::new() },
            Push::Leave { connection: "no id".into(), room: "r".into() },
        ] {
            registry.push(push).await;
        }
        broadcast(&registry, "Chat", Some("r"), "x").await;
        assert!(peer.queue.pop().is_none() && peer.queue.take_end(true).is_none());
        assert_eq!(registry.count(), 0);
        assert!(registry.shards.iter().all(|shard| lock(shard).members.is_empty()));
    }

    #[test]
    fn connections_are_let_in_up_to_a_limit() {
        let registry = Arc::new(Registry::new());
        let first = registry.admit(1).unwrap();
        assert!(registry.admit(1).is_none());
        drop(first);
        assert!(registry.admit(1).is_some());
    }

    #[test]
    fn a_drain_closes_those_that_are_open_and_those_that_come() {
        let registry = Arc::new(Registry::new());
        let early = open(&registry, "Chat");
        registry.drain();
        let late = open(&registry, "Chat");
        for connection in [early, late] {
            assert_eq!(connection.peer().queue.take_end(true), Some(End::Finish(shutting_down())));
        }
    }

    #[tokio::test]
    async fn a_code_that_cannot_be_sent_becomes_a_normal_close() {
        let registry = Arc::new(Registry::new());
        let chat = open(&registry, "Chat");
        registry.push(Push::Close { connection: chat.peer().id.to_string(), code: 1006, reason: "bye".into() }).await;
        assert_eq!(chat.peer().queue.take_end(true), Some(End::Close(Close::new(close::NORMAL, "bye"))));
    }

    #[tokio::test]
    async fn a_connection_is_in_so_many_rooms_of_so_long_names() {
        let registry = Arc::new(Registry::new());
        let chat = open(&registry, "Chat");
        let id = chat.peer().id.to_string();
        let join = |room: String| registry.push(Push::Join { connection: id.clone(), room });
        join("x".repeat(MAX_ROOM_NAME + 1)).await;
        join("x".repeat(MAX_ROOM_NAME)).await;
        for number in 1..2 * MAX_ROOMS {
            join(number.to_string()).await;
        }
        let rooms = || registry.shard(chat.peer().id).connections[&chat.peer().id].rooms.clone();
        assert_eq!(rooms().len(), MAX_ROOMS);
        assert!(rooms().contains("999") && !rooms().contains("1000"));
        // One that was left makes room.
        registry.push(Push::Leave { connection: id.clone(), room: "1".into() }).await;
        join("new".into()).await;
        assert!(rooms().contains("new"));
    }

    #[tokio::test]
    async fn others_have_their_turns_during_a_broadcast_and_it_comes_in_one_order() {
        const CLIENTS: usize = 2000;
        let registry = Arc::new(Registry::new());
        let chats: Vec<_> = (0..CLIENTS).map(|_| open(&registry, "Chat")).collect();
        let mut turns = 0;
        let sending = join(broadcast(&registry, "Chat", None, "a"), broadcast(&registry, "Chat", None, "b"));
        let others = async {
            loop {
                tokio::task::yield_now().await;
                turns += 1;
            }
        };
        tokio::select! {
            biased;
            _ = sending => {}
            () = others => {}
        }
        assert!(turns >= CLIENTS / 200, "{turns}");
        assert!(chats.iter().map(waiting).all(|got| got == "ab"));
    }
}
