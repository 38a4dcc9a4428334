//! What follows a failed delivery: another attempt, and when, or the dead letters?

use std::time::Duration;

use rohas_adapters::broker::{self, History};
use rohas_config::schema::model::Backoff;
use rohas_handlers_host::HostError;

use crate::dispatch;
use crate::trigger::broker::attempt::Fault;
use crate::version::DeliveryRules;

/// How often a delivery may see its worker die while it ran alone in it. The first time somebody else may have killed that
/// worker: an operator, or the kernel for want of memory.
const MOST_DEATHS_ALONE: u32 = 2;

/// So many workers that the daemon ended for the sake of others, each time with this delivery in them, make it a suspect too:
/// what blocks a worker's loop is not always what the daemon saw overrun its deadline.
const SUSPECT_AFTER_ENDINGS: u32 = 3;

/// Longest wait that a handler can ask for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// What a delivery has been through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trial {
    /// What its broker keeps of that.
    pub(super) history: History,
    /// Waits in a row that cost no attempt.
    stalls: u32,
}

impl Trial {
    pub(super) fn new(history: History) -> Self {
        Self { history, ..Self::default() }
    }

    /// Whether it may be the one that kills its workers. If so it runs alone.
    pub(super) fn is_suspect(&self) -> bool {
        self.history.deaths > 0 || self.history.endings >= SUSPECT_AFTER_ENDINGS
    }

    /// How often it has been run.
    pub(super) fn runs(&self) -> u32 {
        self.history.attempts + self.history.deaths + self.history.endings
    }

    /// What the dead letters say of it when `fault` was its last.
    pub(super) fn describe(&self, fault: &Fault) -> String {
        let died = matches!(fault, Fault::Dispatch(error) if matches!(**error, dispatch::Error::Host(HostError::WorkerDied(_))));
        if died && self.history.deaths_alone >= MOST_DEATHS_ALONE {
            let deaths = self.history.deaths_alone;
            return format!("the handler kills its worker: {deaths} died while they ran nothing else; {fault}");
        }
        fault.to_string()
    }

    /// Counts a worker's death. One in company only raises a suspicion: the delivery runs again at once, alone.
    fn died(&mut self, rules: &DeliveryRules, chance: f64) -> Verdict {
        let was_alone = self.is_suspect();
        self.history.deaths += 1;
        if !was_alone {
            return Verdict::Again(Duration::ZERO);
        }
        self.history.deaths_alone += 1;
        if self.history.deaths_alone >= MOST_DEATHS_ALONE {
            return Verdict::GiveUp;
        }
        Verdict::Again(jitter(rules, self.history.deaths_alone, chance))
    }

    /// Counts a wait for something that is not the handler's fault.
    fn stall(&mut self, rules: &DeliveryRules, chance: f64) -> Verdict {
        self.stalls += 1;
        Verdict::Again(jitter(rules, self.stalls, chance))
    }
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

/// Judges an attempt that has ended in an error. `trial` counts this attempt afterwards, if it counts. `chance` is
/// between 0 and 1.
pub(super) fn judge(fault: &Fault, rules: &DeliveryRules, trial: &mut Trial, chance: f64) -> Verdict {
    let Fault::Dispatch(error) = fault else { return Verdict::GiveUp };
    let error = &**error;
    match error {
        dispatch::Error::Host(HostError::Closed) => return Verdict::Return,
        dispatch::Error::Host(HostError::WorkerDied(_)) => return trial.died(rules, chance),
        dispatch::Error::Host(HostError::WorkerEnded(_)) => {
            trial.history.endings += 1;
            return Verdict::Again(jitter(rules, trial.history.endings, chance));
        }
        // The handler was never entered, or the broker that it emits to has no room or cannot be reached, however long that lasts:
        // neither is the handler's fault.
        dispatch::Error::Host(HostError::Busy | HostError::NeverStarted | HostError::NoLongerLoads(_))
        | dispatch::Error::NoRoom
        | dispatch::Error::Publish(broker::Error::Full { .. } | broker::Error::Unavailable(_)) => {
            return trial.stall(rules, chance);
        }
        _ => {}
    }
    trial.history.attempts += 1;
    trial.stalls = 0;
    let given_up = matches!(error, dispatch::Error::Rejected(_)) || is_hopeless(error);
    if given_up || trial.history.attempts >= rules.attempts {
        return Verdict::GiveUp;
    }
    let jittered = jitter(rules, trial.history.attempts, chance);
    match error {
        dispatch::Error::Retry { after, .. } => asked_for(*after),
        dispatch::Error::Failed(error) => {
            error.retry_after_ms.map_or(Verdict::Again(jittered), |after| asked_for(Duration::from_millis(after)))
        }
        _ => Verdict::Again(jittered),
    }
}

/// A wait that the handler chose.
fn asked_for(after: Duration) -> Verdict {
    if after > LONGEST_WAIT {
        tracing::warn!(?after, bound = ?LONGEST_WAIT, "a handler asked for a longer wait than there is");
    }
    Verdict::Again(after.min(LONGEST_WAIT))
}

/// Errors that the same code would only repeat.
fn is_hopeless(error: &dispatch::Error) -> bool {
    match error {
        dispatch::Error::Emit(error) => error.code() == "hop_limit",
        dispatch::Error::Publish(error) => matches!(error, broker::Error::TooLarge { .. }),
        dispatch::Error::Host(error) => matches!(error, HostError::TooLarge(_)),
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
    use crate::publish;

    fn rules(backoff: Backoff) -> DeliveryRules {
        DeliveryRules {
            attempts: 3,
            backoff,
            delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            buffer_size: 1000,
            concurrency: 16,
            dedupe: Duration::from_mins(10),
        }
    }

    fn failed() -> Fault {
        dispatch::Error::Failed(HandlerError::default()).into()
    }

    #[test]
    fn delays_grow_to_their_bound() {
        let bounds = |backoff| (1..=4).map(|attempt| bound(&rules(backoff), attempt).as_millis()).collect::<Vec<_>>();
        assert_eq!(bounds(Backoff::Exponential), [200, 400, 800, 1000]);
        assert_eq!(bounds(Backoff::Linear), [200, 400, 600, 800]);
        assert_eq!(bounds(Backoff::Fixed), [200, 200, 200, 200]);
    }

    #[test]
    fn attempts_are_used_up_those_of_earlier_deliveries_included() {
        let mut trial = Trial::new(History { attempts: 1, ..History::default() });
        let mut judge = || judge(&failed(), &rules(Backoff::Fixed), &mut trial, 0.5);
        assert_eq!(judge(), Verdict::Again(Duration::from_millis(100)));
        assert_eq!(judge(), Verdict::GiveUp);
    }

    #[test]
    fn what_does_not_fit_its_declaration_is_final_and_costs_nothing() {
        let unfit = publish::Error::Misfit { event: "E".into(), faults: Vec::new() };
        let mut trial = Trial::default();
        let verdict = judge(&Fault::Schema(Box::new(unfit)), &rules(Backoff::Fixed), &mut trial, 0.5);
        assert_eq!((verdict, trial), (Verdict::GiveUp, Trial::default()));
    }

    #[test]
    fn a_rejection_and_a_panic_are_final() {
        for fault in [dispatch::Error::Rejected(HandlerError::default()).into(), Fault::Panicked] {
            assert_eq!(judge(&fault, &rules(Backoff::Fixed), &mut Trial::default(), 0.5), Verdict::GiveUp);
        }
    }

    #[test]
    fn a_handler_chooses_its_wait_within_a_day_and_pays_with_an_attempt() {
        for (asked, granted) in [(7, 7), (90_000, 86_400)] {
            let after = Duration::from_secs(asked);
            let retry = dispatch::Error::Retry { after, error: HandlerError::default() };
            let error = HandlerError { retry_after_ms: Some(asked * 1000), ..HandlerError::default() };
            for error in [retry, dispatch::Error::Failed(error)] {
                let mut trial = Trial::default();
                let verdict = judge(&error.into(), &rules(Backoff::Fixed), &mut trial, 0.5);
                assert_eq!((verdict, trial.history.attempts), (Verdict::Again(Duration::from_secs(granted)), 1));
            }
        }
    }

    #[test]
    fn a_broker_that_cannot_take_emits_costs_no_attempt_and_one_that_never_can_is_final() {
        let bounded = |full| {
            let (what, bound) = ("a queue".to_owned(), "2 messages".to_owned());
            let error =
                if full { broker::Error::Full { what, bound } } else { broker::Error::TooLarge { what, bound } };
            Fault::from(dispatch::Error::Publish(error))
        };
        let unavailable = || dispatch::Error::Publish(broker::Error::Unavailable("the disk is full".to_owned())).into();
        let mut trial = Trial::default();
        let mut judge = |fault: Fault| judge(&fault, &rules(Backoff::Exponential), &mut trial, 0.5);
        let waits = [bounded(true), unavailable(), unavailable(), unavailable(), unavailable()].map(&mut judge);
        assert_eq!(waits, [100, 200, 400, 500, 500].map(|wait| Verdict::Again(Duration::from_millis(wait))));
        assert_eq!(judge(bounded(false)), Verdict::GiveUp);
        assert_eq!(trial.history.attempts, 1);
    }

    #[test]
    fn what_no_worker_can_be_given_is_final_and_a_handler_that_no_longer_loads_costs_no_attempt() {
        let mut trial = Trial::default();
        let mut judge =
            |error| judge(&Fault::from(dispatch::Error::Host(error)), &rules(Backoff::Fixed), &mut trial, 0.5);
        for _ in 0..4 {
            let verdict = judge(HostError::NoLongerLoads("a replacement lacks it".to_owned()));
            assert_eq!(verdict, Verdict::Again(Duration::from_millis(100)));
        }
        assert_eq!(judge(HostError::TooLarge(1 << 30)), Verdict::GiveUp);
        assert_eq!(trial.history.attempts, 1);
    }

    #[test]
    fn a_death_in_company_costs_no_attempt_and_only_the_second_one_alone_is_final() {
        let died = || Fault::from(dispatch::Error::Host(HostError::WorkerDied("signal 9".to_owned())));
        let mut trial = Trial::default();
        let mut judge = || (judge(&died(), &rules(Backoff::Fixed), &mut trial, 0.5), trial);
        let (verdict, after) = judge();
        assert_eq!((verdict, after.history.attempts, after.is_suspect()), (Verdict::Again(Duration::ZERO), 0, true));
        let (verdict, after) = judge();
        assert_eq!((verdict, after.history.deaths_alone), (Verdict::Again(Duration::from_millis(100)), 1));
        assert!(!after.describe(&died()).contains("kills its worker"));
        let (verdict, after) = judge();
        assert_eq!((verdict, after.history.attempts), (Verdict::GiveUp, 0));
        assert!(after.describe(&died()).contains("kills its worker"));
    }

    #[test]
    fn a_worker_that_is_ended_for_others_costs_nothing_unless_it_happens_again_and_again() {
        let fault = Fault::from(dispatch::Error::Host(HostError::WorkerEnded("another handler blocked it")));
        let mut trial = Trial::default();
        let mut suspect = || {
            assert!(matches!(judge(&fault, &rules(Backoff::Fixed), &mut trial, 0.5), Verdict::Again(_)));
            trial.is_suspect()
        };
        assert_eq!([suspect(), suspect(), suspect()], [false, false, true]);
        assert_eq!(trial.history, History { endings: 3, ..History::default() });
    }

    #[test]
    fn marks_of_an_earlier_process_make_a_suspect() {
        assert!(Trial::new(History { deaths: 1, ..History::default() }).is_suspect());
    }
}
