//! Which scenarios are there, and what comes of each at an adapter?

use std::pin::Pin;
use std::time::Duration;

use crate::conformance::kit::{Failed, Kit, Verdict};
use crate::conformance::{
    Factory, Outcome, Report, bounds, content, copies, dead, delivery, drain, failing, lifetime, order, people,
};

/// How long to wait for what should come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for what should not come, because the adapter declares that it cannot do it.
const IMPATIENCE: Duration = Duration::from_millis(300);

type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

struct Scenario {
    name: &'static str,
    run: for<'a> fn(&'a Kit<'a>) -> Running<'a>,
}

macro_rules! scenarios {
    ($($module:ident: $($name:ident)+;)+) => {
        &[$($(Scenario { name: stringify!($name), run: |kit| Box::pin($module::$name(kit)) },)+)+]
    };
}

const SCENARIOS: &[Scenario] = scenarios! {
    delivery:
        a_published_message_is_handed_out
        an_acked_message_never_comes_again
        acks_of_many_messages_take_one_call
        a_message_put_back_comes_again
        a_message_put_back_with_a_delay_comes_after_it
        a_message_put_back_keeps_its_history
        a_note_leaves_its_message_where_it_is
        every_handler_of_an_event_gets_its_own_copy
        a_failure_at_one_handler_does_not_reach_another
        an_event_without_handlers_is_accepted
        several_events_are_published_in_one_call
        a_subscription_begins_with_new_messages
        no_more_are_handed_out_than_asked_for
        two_consumers_of_one_subscription_share_no_message
        a_dropped_call_for_messages_loses_none
        many_in_flight_are_finished_in_any_order
        what_a_dropped_consumer_took_can_be_finished
        what_was_handed_out_can_be_recalled;
    order:
        messages_come_in_the_order_of_their_publication
        a_message_put_back_comes_before_later_ones
        messages_put_back_in_any_order_come_in_the_old_one
        a_message_put_back_with_a_delay_holds_up_no_other
        what_is_released_comes_again_as_it_was_and_in_order
        a_delayed_publication_comes_when_it_is_due
        delayed_publications_come_in_the_order_of_their_times
        a_time_that_has_passed_is_no_delay;
    failing:
        messages_of_a_key_stay_in_order_when_they_fail
        a_message_that_always_fails_dies_after_its_attempts
        a_message_that_always_fails_delays_no_other_key
        consumers_and_publishers_at_once_lose_and_double_nothing;
    drain:
        what_a_drained_consumer_held_goes_to_the_next_one
        what_a_drained_consumer_held_comes_again_after_a_restart;
    content:
        every_attribute_of_the_envelope_arrives
        the_trace_context_arrives
        a_payload_of_one_mebibyte_arrives
        a_payload_of_null_arrives
        unicode_in_key_and_data_arrives;
    copies:
        a_copy_within_the_window_is_dropped
        a_copy_of_what_was_handled_is_dropped
        a_copy_in_the_same_call_is_dropped
        without_a_window_nothing_is_dropped
        after_the_window_an_id_is_new;
    dead:
        a_dead_letter_keeps_its_message_and_obituary
        a_dead_letter_is_not_handed_out
        dead_letters_are_listed_by_pages_newest_first
        dead_letters_are_found_by_event_and_handler
        one_message_may_be_dead_at_two_handlers
        a_redriven_message_goes_to_its_own_handler_only
        a_redriven_message_begins_a_new_history
        redriven_messages_come_in_the_order_of_their_deaths
        a_dead_letter_is_redriven_once
        unknown_dead_letters_are_left_out
        a_purged_dead_letter_is_gone;
    bounds:
        a_full_subscription_holds_publishers_back
        a_full_subscription_is_an_answer_to_consumers
        a_publisher_that_gives_up_has_published_nothing
        a_full_subscription_keeps_the_whole_call_out
        more_than_there_is_ever_room_for_is_refused
        a_handler_that_emits_as_much_as_it_consumes_goes_on;
    lifetime:
        a_paused_subscription_waits_until_it_is_resumed
        a_pause_reaches_those_who_hold_messages
        a_retired_subscription_keeps_what_it_has_and_gets_nothing
        a_pruned_subscription_is_gone
        a_declared_subscription_is_not_pruned
        unknown_subscriptions_are_named
        dead_letters_outlive_their_subscription
        published_messages_survive_a_restart
        a_restart_keeps_the_order_of_publication
        finished_messages_stay_finished_after_a_restart
        unfinished_messages_come_again_after_a_restart_with_their_history
        what_was_noted_survives_a_restart
        delayed_publications_survive_a_restart
        dead_letters_survive_a_restart
        pauses_survive_a_restart
        copies_are_dropped_after_a_restart;
    people:
        the_status_counts_what_waits_and_is_in_flight
        a_tail_sees_what_is_published
        a_tail_of_one_event_sees_no_other
        a_tail_sees_a_delayed_message_when_it_is_due
        a_tail_that_is_slow_is_told_what_it_missed
        a_tail_begins_at_a_time_that_has_passed
        a_replay_hands_out_what_was_handled;
};

/// The names of all scenarios, in the order of the suite.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SCENARIOS.iter().map(|scenario| scenario.name).collect()
}

/// Runs all scenarios, each with a broker of its own. Needs a tokio runtime with its clock running.
pub async fn run(factory: &dyn Factory) -> Report {
    let mut outcomes = Vec::with_capacity(SCENARIOS.len());
    for scenario in SCENARIOS {
        outcomes.push((scenario.name, run_one(factory, scenario).await));
    }
    for (name, _) in factory.exceptions().iter().chain(factory.at_times()) {
        if !SCENARIOS.iter().any(|scenario| scenario.name == *name) {
            outcomes.push((name, Outcome::Failed("it is declared, but there is no such scenario".to_owned())));
        }
    }
    Report { adapter: factory.adapter(), outcomes }
}

async fn run_one(factory: &dyn Factory, scenario: &Scenario) -> Outcome {
    let at_times = factory.at_times().iter().find(|(name, _)| *name == scenario.name);
    if let Some((_, reason)) = at_times {
        drop((scenario.run)(&Kit { factory, patience: IMPATIENCE }).await);
        return Outcome::AtTimes(reason);
    }
    let declared = factory.exceptions().iter().find(|(name, _)| *name == scenario.name);
    let patience = if declared.is_some() { IMPATIENCE } else { PATIENCE };
    let kit = Kit { factory, patience };
    match ((scenario.run)(&kit).await, declared) {
        (Ok(()), None) => Outcome::Passed,
        (Err(_), Some((_, reason))) => Outcome::Declared(reason),
        (Ok(()), Some(_)) => Outcome::Failed("it holds, though the adapter declares that it cannot".to_owned()),
        (Err(Failed(reason)), None) => Outcome::Failed(reason),
    }
}
