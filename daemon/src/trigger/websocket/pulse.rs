//! Is a client still there, and has its connection a reason to be? What one clock for all connections decides by.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rohas_config::settings::WebSocket;

/// No point in time.
const NEVER: u64 = 0;

/// What is known of a connection's life. Points in time are milliseconds on the registry's clock, which begins at 1.
#[derive(Debug)]
pub(super) struct Pulse {
    /// When something last came from the client. Written by its connection's task.
    heard: AtomicU64,
    /// When a message last came or went.
    spoken: AtomicU64,
    /// When a ping was sent that has not been answered. Written by the clock only.
    pinged: AtomicU64,
    /// Since when it is being closed.
    closing: AtomicU64,
    /// Whether nothing is read from it now, so that an answer could not be noticed.
    held: AtomicBool,
}

/// The settings that bear on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    ping_interval: u64,
    ping_timeout: u64,
    idle_timeout: u64,
    close_timeout: u64,
}

/// What is due on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// No message for too long.
    CloseIdle,
    /// No answer to a ping.
    CutSilent,
    /// The client does not end the connection that is being closed.
    CutClosing,
}

impl Rules {
    pub(super) fn new(settings: &WebSocket) -> Self {
        Self {
            ping_interval: milliseconds(settings.ping_interval),
            ping_timeout: milliseconds(settings.ping_timeout),
            idle_timeout: milliseconds(settings.idle_timeout),
            close_timeout: milliseconds(settings.close_timeout),
        }
    }

    /// How often one has to look so that nothing is late by more than a part of its time.
    pub(super) fn tick(&self) -> Duration {
        const PART: u64 = 8;
        let all = [self.ping_interval, self.ping_timeout, self.idle_timeout, self.close_timeout];
        let shortest = all.into_iter().filter(|time| *time != 0).min().unwrap_or(u64::MAX);
        Duration::from_millis((shortest / PART).clamp(10, 1000))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

impl Pulse {
    pub(super) fn new(now: u64) -> Self {
        Self {
            heard: AtomicU64::new(now),
            spoken: AtomicU64::new(now),
            pinged: AtomicU64::new(NEVER),
            closing: AtomicU64::new(NEVER),
            held: AtomicBool::new(false),
        }
    }

    pub(super) fn hear(&self, now: u64) {
        self.heard.store(now, Ordering::Relaxed);
    }

    pub(super) fn speak(&self, now: u64) {
        self.spoken.store(now, Ordering::Relaxed);
    }

    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    pub(super) fn close(&self, now: u64) {
        self.closing.store(now, Ordering::Relaxed);
    }

    /// What is due now, and remembers that it was said.
    pub(super) fn due(&self, now: u64, rules: Rules) -> Option<Due> {
        let closing = self.closing.load(Ordering::Relaxed);
        if closing != NEVER {
            return (now.saturating_sub(closing) >= rules.close_timeout).then_some(Due::CutClosing);
        }
        if self.held.load(Ordering::Relaxed) {
            self.hear(now);
            self.speak(now);
            return None;
        }
        let spoken = self.spoken.load(Ordering::Relaxed);
        if rules.idle_timeout != 0 && now.saturating_sub(spoken) >= rules.idle_timeout {
            return Some(Due::CloseIdle);
        }
        let (heard, pinged) = (self.heard.load(Ordering::Relaxed), self.pinged.load(Ordering::Relaxed));
        if pinged > heard {
            return (now - pinged >= rules.ping_timeout).then_some(Due::CutSilent);
        }
        if rules.ping_interval == 0 || now.saturating_sub(heard) < rules.ping_interval {
            return None;
        }
        self.pinged.store(now, Ordering::Relaxed);
        Some(Due::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { ping_interval: 100, ping_timeout: 50, idle_timeout: 0, close_timeout: 30 };

    #[test]
    fn a_silent_client_is_pinged_and_then_cut() {
        let pulse = Pulse::new(1);
        assert_eq!(pulse.due(100, RULES), None);
        assert_eq!(pulse.due(101, RULES), Some(Due::Ping));
        assert_eq!(pulse.due(150, RULES), None);
        assert_eq!(pulse.due(151, RULES), Some(Due::CutSilent));
    }

    #[test]
    fn whatever_a_client_sends_answers_a_ping() {
        let pulse = Pulse::new(1);
        assert_eq!(pulse.due(101, RULES), Some(Due::Ping));
        pulse.hear(140);
        assert_eq!(pulse.due(151, RULES), None);
        assert_eq!(pulse.due(240, RULES), Some(Due::Ping));
    }

    #[test]
    fn nothing_is_held_against_a_client_that_is_not_read() {
        let pulse = Pulse::new(1);
        assert_eq!(pulse.due(101, RULES), Some(Due::Ping));
        pulse.hold(true);
        assert_eq!(pulse.due(5000, RULES), None);
        pulse.hold(false);
        assert_eq!(pulse.due(5099, RULES), None);
        assert_eq!(pulse.due(5100, RULES), Some(Due::Ping));
    }

    #[test]
    fn messages_keep_a_connection_from_being_idle_and_pings_do_not() {
        let rules = Rules { idle_timeout: 300, ..RULES };
        let pulse = Pulse::new(1);
        pulse.speak(200);
        pulse.hear(490);
        assert_eq!(pulse.due(499, rules), None);
        assert_eq!(pulse.due(500, rules), Some(Due::CloseIdle));
    }

    #[test]
    fn a_close_that_takes_too_long_is_cut() {
        let pulse = Pulse::new(1);
        pulse.close(1000);
        assert_eq!(pulse.due(1029, RULES), None);
        assert_eq!(pulse.due(1030, RULES), Some(Due::CutClosing));
    }

    #[test]
    fn without_an_interval_there_are_no_pings() {
        let pulse = Pulse::new(1);
        assert_eq!(pulse.due(1_000_000, Rules { ping_interval: 0, ..RULES }), None);
    }

    #[test]
    fn one_looks_often_enough() {
        assert_eq!(RULES.tick(), Duration::from_millis(10));
        assert_eq!(
            Rules { close_timeout: 400, ping_interval: 0, ping_timeout: 800, ..RULES }.tick(),
            Duration::from_millis(50)
        );
        assert_eq!(Rules::new(&WebSocket::default()).tick(), Duration::from_millis(625));
    }
}
