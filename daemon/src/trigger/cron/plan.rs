//! Which firings follow from a schedule, what was decided before, and the time? Without a clock, a broker or a file.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rohas_config::schema::model::{CatchUp, Overlap};
use rohas_config::schema::timing::Timing;
use uuid::Uuid;

/// A firing that is later than this was missed, and what happens to it is for `catchUp` to say.
pub(super) const PUNCTUAL: Duration = Duration::from_secs(60);

/// So many missed firings are caught up at most, the latest ones.
pub(super) const MOST_CAUGHT_UP: usize = 100;

/// So many firings of a job wait or run at most; one that is due then is left out.
pub(super) const MOST_UNFINISHED: usize = 100;

/// What is to be known of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) project: &'a str,
    pub(super) name: &'a str,
    pub(super) timing: &'a Timing,
    pub(super) jitter: Duration,
    pub(super) overlap: Overlap,
    pub(super) catch_up: CatchUp,
}

/// How things stand when it is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// Since when this process looks at the clock: what was due before was missed.
    pub(super) since: Timestamp,
    /// Up to and including this one, all slots of the job have been decided.
    pub(super) decided: Timestamp,
    /// Firings of the job that wait or run.
    pub(super) unfinished: usize,
}

/// So many missed slots are counted at most.
const MOST_COUNTED: usize = 1000;

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// What was missed and is not caught up: before all that is to be fired.
    pub(super) missed: Option<Missed>,
    /// Slots to fire, in order.
    pub(super) fire: Vec<Timestamp>,
    /// Slots that are left out because of what still runs or waits: after all that is to be fired.
    pub(super) left_out: Vec<Timestamp>,
    /// The last slot that is decided now, if there is one.
    pub(super) decided: Option<Timestamp>,
}

/// Slots that were missed and are not caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// Their number, or `MOST_COUNTED` for as many or more.
    pub(super) count: usize,
    pub(super) first: Timestamp,
    /// With them, all slots up to here are decided.
    pub(super) until: Timestamp,
}

impl Missed {
    /// How many they are, in words.
    pub(super) fn counted(&self) -> String {
        let more = if self.count == MOST_COUNTED { " or more" } else { "" };
        format!("{}{more}", self.count)
    }
}

impl Job<'_> {
    /// When something is to be decided again.
    pub(super) fn next_due(&self, decided: Timestamp) -> Option<Timestamp> {
        let slot = self.timing.next_after(decided)?;
        self.due(slot)
    }

    /// Decides about all slots that are due.
    pub(super) fn plan(&self, moment: &Moment) -> Plan {
        let slots = Vec::from(self.due_slots(moment));
        let mut plan = Plan { decided: slots.last().copied(), ..Plan::default() };
        let (missed, late) = slots.split_at(slots.partition_point(|slot| self.is_missed(*slot, moment)));
        let caught_up = match self.catch_up {
            CatchUp::None => 0,
            CatchUp::Latest => missed.len().min(1),
            CatchUp::All => missed.len(),
        };
        let caught_up = &missed[missed.len() - caught_up..];
        plan.missed = match caught_up.first().or(late.first()) {
            Some(wanted) => wanted.checked_sub(SignedDuration::from_secs(1)).ok(),
            None => plan.decided,
        }
        .and_then(|until| self.missed(moment.decided, until));
        let caught_up = caught_up.iter().map(|slot| (*slot, MOST_UNFINISHED));
        let most = if self.overlap == Overlap::Skip { 1 } else { MOST_UNFINISHED };
        for (slot, most) in caught_up.chain(late.iter().map(|slot| (*slot, most))) {
            let unfinished = moment.unfinished + plan.fire.len();
            if unfinished < most { plan.fire.push(slot) } else { plan.left_out.push(slot) }
        }
        plan
    }

    fn is_missed(&self, slot: Timestamp, moment: &Moment) -> bool {
        let due = self.due(slot).unwrap_or(slot);
        due <= moment.since || moment.now.duration_since(due).unsigned_abs() > PUNCTUAL
    }

    /// The slots after `decided` up to `until`.
    fn missed(&self, decided: Timestamp, until: Timestamp) -> Option<Missed> {
        let first = self.timing.next_after(decided).filter(|first| *first <= until)?;
        let count = self.timing.times_after(decided).take_while(|slot| *slot <= until).take(MOST_COUNTED).count();
        Some(Missed { count, first, until })
    }

    /// The last slots that are due and not decided, in order.
    fn due_slots(&self, moment: &Moment) -> VecDeque<Timestamp> {
        let mut span = PUNCTUAL;
        loop {
            // A job that is due each second may have been due millions of times: from the present backwards, no further than needed.
            let start = moment.now.checked_sub(span + self.jitter).unwrap_or(Timestamp::MIN).max(moment.decided);
            let slots = self.due_between(start, moment.now);
            if start == moment.decided || slots.len() >= MOST_CAUGHT_UP {
                return slots;
            }
            span *= 4;
        }
    }

    fn due_between(&self, start: Timestamp, now: Timestamp) -> VecDeque<Timestamp> {
        let mut slots = VecDeque::new();
        for slot in self.timing.times_after(start) {
            if slot > now || self.due(slot).is_none_or(|due| due > now) {
                break;
            }
            if slots.len() == MOST_CAUGHT_UP {
                slots.pop_front();
            }
            slots.push_back(slot);
        }
        slots
    }

    /// When a slot is due: later than the slot by a part of the jitter that follows from job and slot, the same in every process.
    /// It never reaches the next slot, so that the order of the slots is that in which they are due.
    fn due(&self, slot: Timestamp) -> Option<Timestamp> {
        if self.jitter.is_zero() {
            return Some(slot);
        }
        let room = self.timing.next_after(slot).map_or(self.jitter, |next| next.duration_since(slot).unsigned_abs());
        let most = u64::try_from(self.jitter.min(room).as_millis()).unwrap_or(u64::MAX).max(1);
        let (high, low) = self.firing_id(slot).as_u64_pair();
        slot.checked_add(Duration::from_millis((high ^ low) % most)).ok()
    }

    /// The id of the firing at a slot: the same in every process of the project, and no other project's, which may share its broker.
    pub(super) fn firing_id(&self, slot: Timestamp) -> Uuid {
        let job = format!("rohas cron\n{}\n{}", self.project, self.name);
        let job = Uuid::new_v5(&Uuid::NAMESPACE_OID, job.as_bytes());
        Uuid::new_v5(&job, slot.as_second().to_string().as_bytes())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
