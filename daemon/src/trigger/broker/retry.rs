//! What follows a failed delivery: another attempt, and when, or the dead letters?

use std::time::Duration;

use rohas_adapters::broker::{self, History};
use rohas_config::schema::model::Backoff;
use rohas_handlers_host::HostError;

use crate::dispatch;
use crate::version::DeliveryRules;

/// How often a delivery may see its worker die while it ran alone in it. The first time somebody else may have killed that
/// worker: an operator, or the kernel for want of memory.
const MOST_DEATHS_ALONE: u32 = 2;

/// So many workers that the daemon ended for the sake of others, each time with this delivery in them, make it a suspect too:
/// what blocks a worker's loop is not always what the daemon saw overrun its deadline.
const SUSPECT_AFTER_ENDINGS: u32 = 3;

/// Whether a delivery may be the one that kills its workers. If so it runs alone.
pub(super) fn is_suspect(history: &History) -> bool {
    history.deaths > 0 || history.endings >= SUSPECT_AFTER_ENDINGS
}

/// How often a delivery has been run.
pub(super) fn runs(history: &History) -> u32 {
    history.attempts + history.deaths + history.endings
}

/// What the dead letters say of a delivery when `error` was its last.
pub(super) fn describe(history: &History, error: &dispatch::Error) -> String {
    if history.deaths_alone >= MOST_DEATHS_ALONE && matches!(error, dispatch::Error::Host(HostError::WorkerDied(_))) {
        return format!(
            "the handler kills its worker: {} died while they ran nothing else; {error}",
            history.deaths_alone
        );
    }
    error.to_string()
}

/// Counts a worker's death. One in company only raises a suspicion: the delivery runs again at once, alone.
fn died(history: &mut History, rules: &DeliveryRules, chance: f64) -> Verdict {
    let was_alone = is_suspect(history);
    history.deaths += 1;
    if !was_alone {
        return Verdict::Again(Duration::ZERO);
    }
    history.deaths_alone += 1;
    if history.deaths_alone >= MOST_DEATHS_ALONE {
        return Verdict::GiveUp;
    }
    Verdict::Again(jitter(rules, history.deaths_alone, chance))
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another attempt after this time.
    Again(Duration),
    /// No further attempt.
    GiveUp,
    /// The daemon stops: the message goes back to its source as it was.
    Return,
}

/// Judges an attempt that has ended in an error. `history` counts this attempt afterwards, if it counts. `chance` is
/// between 0 and 1.
pub(super) fn judge(error: &dispatch::Error, rules: &DeliveryRules, history: &mut History, chance: f64) -> Verdict {
    match error {
        dispatch::Error::Host(HostError::Closed) => return Verdict::Return,
        dispatch::Error::Host(HostError::WorkerDied(_)) => return died(history, rules, chance),
        dispatch::Error::Host(HostError::WorkerEnded(_)) => {
            history.endings += 1;
            return Verdict::Again(jitter(rules, history.endings, chance));
        }
        // The handler was never entered: waiting costs no attempt.
        dispatch::Error::Host(HostError::Busy | HostError::NeverStarted) => {
            return Verdict::Again(jitter(rules, history.attempts + 1, chance));
        }
        // Nor is a full queue the handler's fault, however long it stays full.
        dispatch::Error::NoRoom | dispatch::Error::Publish(broker::Error::Full { .. }) => {
            return Verdict::Again(jitter(rules, history.attempts + 1, chance));
        }
        _ => history.attempts += 1,
    }
    let given_up = matches!(error, dispatch::Error::Rejected(_)) || is_hopeless(error);
    if given_up || history.attempts >= rules.attempts {
        return Verdict::GiveUp;
    }
    match error {
        dispatch::Error::Retry { after, .. } => Verdict::Again(*after),
        dispatch::Error::Failed(error) if error.retry_after_ms.is_some() => {
            Verdict::Again(Duration::from_millis(error.retry_after_ms.unwrap_or_default()))
        }
        _ => Verdict::Again(jitter(rules, history.attempts, chance)),
    }
}

/// Errors that the same code would only repeat.
fn is_hopeless(error: &dispatch::Error) -> bool {
    match error {
        dispatch::Error::Emit(error) => error.code() == "hop_limit",
        dispatch::Error::Publish(error) => matches!(error, broker::Error::TooLarge { .. }),
        _ => false,
    }
}

/// Full jitter: a random time up to the bound, so that what failed together does not come back together.
fn jitter(rules: &DeliveryRules, attempt: u32, chance: f64) -> Duration {
    bound(rules, attempt).mul_f64(chance)
}

fn bound(rules: &DeliveryRules, attempt: u32) -> Duration {
    let bound = match rules.backoff {
        Backoff::Exponential => rules.delay.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))),
        Backoff::Linear => rules.delay.saturating_mul(attempt),
        Backoff::Fixed => rules.delay,
    };
    bound.min(rules.max_delay)
}

#[cfg(test)]
mod tests {
    use rohas_handlers_host::HandlerError;

    use super::*;

    fn rules(backoff: Backoff) -> DeliveryRules {
        DeliveryRules {
            attempts: 3,
            backoff,
            delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            concurrency: 16,
            dedupe: Duration::from_mins(10),
        }
    }

    fn failed() -> dispatch::Error {
        dispatch::Error::Failed(HandlerError::default())
    }

    #[test]
    fn delays_grow_to_their_bound() {
        let bounds = |backoff| (1..=4).map(|attempt| bound(&rules(backoff), attempt).as_millis()).collect::<Vec<_>>();
        assert_eq!(bounds(Backoff::Exponential), [200, 400, 800, 1000]);
        assert_eq!(bounds(Backoff::Linear), [200, 400, 600, 800]);
        assert_eq!(bounds(Backoff::Fixed), [200, 200, 200, 200]);
    }

    #[test]
    fn attempts_are_used_up() {
        let mut history = History::default();
        let mut judge = || judge(&failed(), &rules(Backoff::Fixed), &mut history, 0.5);
        assert_eq!(judge(), Verdict::Again(Duration::from_millis(100)));
        assert_eq!(judge(), Verdict::Again(Duration::from_millis(100)));
        assert_eq!(judge(), Verdict::GiveUp);
    }

    #[test]
    fn a_rejection_is_final() {
        let error = dispatch::Error::Rejected(HandlerError::default());
        assert_eq!(judge(&error, &rules(Backoff::Fixed), &mut History::default(), 0.5), Verdict::GiveUp);
    }

    #[test]
    fn a_handler_chooses_its_delay_and_pays_with_an_attempt() {
        let error = dispatch::Error::Retry { after: Duration::from_secs(7), error: HandlerError::default() };
        let mut history = History::default();
        assert_eq!(judge(&error, &rules(Backoff::Fixed), &mut history, 0.5), Verdict::Again(Duration::from_secs(7)));
        assert_eq!(history.attempts, 1);
    }

    #[test]
    fn a_full_queue_costs_no_attempt_and_one_that_is_too_small_is_final() {
        let (what, bound) = ("the queue of E--h".to_owned(), "2 messages".to_owned());
        let full = broker::Error::Full { what: what.clone(), bound: bound.clone() };
        let mut history = History::default();
        let verdict = judge(&dispatch::Error::Publish(full), &rules(Backoff::Fixed), &mut history, 0.5);
        assert_eq!((verdict, history), (Verdict::Again(Duration::from_millis(100)), History::default()));
        let too_large = dispatch::Error::Publish(broker::Error::TooLarge { what, bound });
        assert_eq!(judge(&too_large, &rules(Backoff::Fixed), &mut history, 0.5), Verdict::GiveUp);
    }

    fn died() -> dispatch::Error {
        dispatch::Error::Host(HostError::WorkerDied("signal 9".to_owned()))
    }

    #[test]
    fn a_death_in_company_costs_no_attempt_and_only_the_second_one_alone_is_final() {
        let mut history = History::default();
        let mut judge = || (judge(&died(), &rules(Backoff::Fixed), &mut history, 0.5), history);
        let (verdict, after) = judge();
        assert_eq!((verdict, after.attempts, is_suspect(&after)), (Verdict::Again(Duration::ZERO), 0, true));
        let (verdict, after) = judge();
        assert_eq!((verdict, after.deaths_alone), (Verdict::Again(Duration::from_millis(100)), 1));
        assert!(!describe(&after, &died()).contains("kills its worker"));
        let (verdict, after) = judge();
        assert_eq!((verdict, after.attempts), (Verdict::GiveUp, 0));
        assert!(describe(&after, &died()).contains("kills its worker"));
    }

    #[test]
    fn a_worker_that_is_ended_for_others_costs_nothing_unless_it_happens_again_and_again() {
        let error = dispatch::Error::Host(HostError::WorkerEnded("another handler blocked it"));
        let mut history = History::default();
        let mut suspect = || {
            assert!(matches!(judge(&error, &rules(Backoff::Fixed), &mut history, 0.5), Verdict::Again(_)));
            is_suspect(&history)
        };
        assert_eq!([suspect(), suspect(), suspect()], [false, false, true]);
        assert_eq!((history.attempts, history.deaths, history.deaths_alone), (0, 0, 0));
    }
}
