//! Which calls does a worker have? Each is found by its id in one step, and a walk over them meets no free slots.

use crate::worker::call::Call;

/// Calls that one worker can hold at once. A call's id is its sequence number times this plus its slot.
pub(super) const SLOTS: u32 = 1024;

/// The calls of one worker, each with an id and a slot of its own.
#[derive(Default)]
pub(super) struct Calls {
    /// In no order.
    held: Vec<Call>,
    /// Where the last call of each slot that was ever used stands, or stood, in `held`.
    places: Vec<usize>,
    /// Slots below `places.len()` that no call has.
    free: Vec<u32>,
    sequence: u64,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.held.len() < SLOTS as usize
    }

    /// Takes a call in, gives it an id and says which slot it has. There must be room.
    pub(super) fn add(&mut self, mut call: Call) -> (u32, &Call) {
        debug_assert!(self.has_room(), "only workers with room are offered calls");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(0);
            u32::try_from(self.places.len() - 1).expect("slots are few")
        });
        self.sequence += 1;
        call.id = self.sequence * u64::from(SLOTS) + u64::from(slot);
        let place = self.held.len();
        self.places[slot as usize] = place;
        self.held.push(call);
        (slot, &self.held[place])
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Call> {
        let place = self.place(id)?;
        self.held.get_mut(place)
    }

    /// Takes a call out and frees its slot.
    pub(super) fn take(&mut self, id: u64) -> Option<Call> {
        let place = self.place(id)?;
        let call = self.held.swap_remove(place);
        if let Some(moved) = self.held.get(place) {
            self.places[slot_of(moved.id) as usize] = place;
        }
        self.free.push(slot_of(id));
        Some(call)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Call> {
        self.held.drain(..)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.held.iter()
    }

    fn place(&self, id: u64) -> Option<usize> {
        let place = *self.places.get(slot_of(id) as usize)?;
        self.held.get(place).filter(|call| call.id == id).map(|_call| place)
    }
}

/// The slot in which a call of this id is.
pub(super) fn slot_of(id: u64) -> u32 {
    u32::try_from(id % u64::from(SLOTS)).expect("slots are few")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::worker::state::tests::call;

    #[test]
    fn calls_are_found_by_their_ids_whichever_others_go() {
        let mut calls = Calls::default();
        let ids: Vec<u64> = (0..5).map(|_| calls.add(call()).1.id).collect();
        for gone in [ids[0], ids[4], ids[2]] {
            assert_eq!(calls.take(gone).unwrap().id, gone);
            assert!(calls.take(gone).is_none() && calls.get_mut(gone).is_none());
        }
        assert_eq!((calls.get_mut(ids[1]).unwrap().id, calls.get_mut(ids[3]).unwrap().id), (ids[1], ids[3]));
        assert_eq!(calls.len(), 2);
    }

    #[test]
    fn a_freed_slot_is_used_again_under_another_id() {
        let mut calls = Calls::default();
        let first = calls.add(call()).1.id;
        calls.take(first);
        let (slot, second) = calls.add(call());
        let second = second.id;
        assert_eq!((slot, slot_of(first), second != first), (slot_of(second), slot_of(second), true));
        assert!(calls.get_mut(first).is_none());
    }

    #[test]
    fn no_two_calls_share_a_slot() {
        let mut calls = Calls::default();
        let slots: BTreeSet<u32> = (0..SLOTS).map(|_| calls.add(call()).0).collect();
        assert_eq!((slots.len(), slots.last()), (SLOTS as usize, Some(&(SLOTS - 1))));
        assert!(!calls.has_room());
    }
}
