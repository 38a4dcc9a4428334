//! Does what was acknowledged outlive the daemon, a handler that always fails, and a full store? With the adapter `rocksdb`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::journal::{
    Handlers, ROCKSDB, get_ok, kill_daemon, notes, notes_of, ok, project, stop, subscription, wait_until_finished,
};
use crate::support::{Daemon, eventually};

fn seconds_since_epoch() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn what_was_acknowledged_and_not_yet_handled_survives_a_kill() {
    let project = project(
        "
        api Place { method: GET path: \"/place/{n}\" response: Json triggers: [Placed] }
        event Placed { payload: Json handler: [placed] concurrency: 4 }
        ",
    )
    .api("place", "return req.n")
    .event("placed", "note('begins', event.payload)\nawait wait_for('go')\nnote('ends', event.payload)");
    let mut daemon = project.run();
    (0..20).for_each(|n| get_ok(&daemon, &format!("/place/{n}")));
    notes_of(&project, "begins", 4);
    kill_daemon(&mut daemon);
    project.write("go", "");
    let _next = project.run();
    let mut handled = notes_of(&project, "ends", 20);
    handled.sort_by_key(|note| note[0].as_str().unwrap().parse::<u32>().unwrap());
    let expected: Vec<Value> = (0..20).map(|n: u32| json!([n.to_string()])).collect();
    assert_eq!(handled, expected);
    wait_until_finished(&project, "placed");
}

#[test]
fn delayed_events_survive_a_restart_and_are_not_handled_early() {
    let project = project(
        "
        api Go { method: GET path: \"/go/{seconds}\" response: Json }
        event Due { payload: Json handler: [due] }
        ",
    )
    .api(
        "go",
        "
        import datetime
        now = time.time()
        due = now + float(req.seconds)
        state.trigger_event('Due', {'how': 'delay', 'due': due}, delay=float(req.seconds))
        at = datetime.datetime.fromtimestamp(due, datetime.timezone.utc)
        state.trigger_event('Due', {'how': 'at', 'due': due}, at=at)
        return due
        ",
    )
    .event("due", "note('due', event.payload['how'], event.payload['due'], time.time(), state.attempt)");
    let mut daemon = project.run();
    let soon = daemon.get("/go/3").json().as_f64().unwrap();
    let later = daemon.get("/go/12").json().as_f64().unwrap();
    kill_daemon(&mut daemon);
    eventually("the time of the first two, which no daemon sees", || (seconds_since_epoch() > soon).then_some(()));
    let mut next = project.run();
    notes_of(&project, "due", 2);
    stop(&mut next);
    assert_eq!(subscription(&project, "due")["delayed"], 2);
    let _last = project.run();
    let mut handled = notes_of(&project, "due", 4);
    handled.sort_by_key(Value::to_string);
    for note in &handled {
        // A microsecond may be lost where a time is made of a fraction.
        assert!(note[2].as_f64().unwrap() > note[1].as_f64().unwrap() - 1e-3, "handled early: {handled:?}");
        assert_eq!(note[3], 1, "{handled:?}");
    }
    let which: Vec<_> = handled.iter().map(|note| (note[0].as_str().unwrap(), note[1].as_f64().unwrap())).collect();
    assert_eq!(which, [("at", soon), ("at", later), ("delay", soon), ("delay", later)]);
}

#[test]
fn a_poisoned_key_delays_nobody_and_keeps_its_own_order() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json }
        event Moved { payload: Json handler: [moved] concurrency: 4 retry: { attempts: 10000 } }
        ",
    )
    .api(
        "go",
        "
        for n in range(220):
            key = 'poisoned' if n % 11 == 0 else f'k{n % 7}'
            state.trigger_event('Moved', {'key': key, 'n': n}, key=key)
        return 1
        ",
    )
    .event(
        "moved",
        "
        key = event.payload['key']
        note(key, event.payload['n'], state.attempt)
        if key == 'poisoned' and not os.path.exists('mended'): raise Retry(after=0.1)
        ",
    );
    let daemon = project.run();
    get_ok(&daemon, "/go");
    for key in 0..7 {
        let expected: Vec<Value> = (0..220).filter(|n| n % 11 != 0 && n % 7 == key).map(|n| json!([n, 1])).collect();
        assert_eq!(notes_of(&project, &format!("k{key}"), expected.len()), expected);
    }
    let poisoned = notes(&project, "poisoned");
    assert!(!poisoned.is_empty() && poisoned.iter().all(|note| note[0] == 0), "{poisoned:?}");
    project.write("mended", "");
    wait_until_finished(&project, "moved");
    let mut poisoned = notes(&project, "poisoned");
    let followers = poisoned.split_off(poisoned.len() - 19);
    let attempts: Vec<Value> = (1..=poisoned.len()).map(|attempt| json!([0, attempt])).collect();
    assert_eq!(poisoned, attempts);
    assert_eq!(followers, (1..20).map(|n| json!([n * 11, 1])).collect::<Vec<_>>());
}

#[test]
fn attempts_and_waits_survive_kills_and_restarts_and_a_key_stays_in_order() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json }
        api Mark { method: GET path: \"/mark\" response: Json triggers: [Marked] }
        event Moved { payload: Json handler: [moved] }
        event Marked { payload: Json handler: [marked] }
        ",
    )
    .api(
        "go",
        "
        for n in range(2): state.trigger_event('Moved', n, key='k')
        state.trigger_event('Moved', 2)
        ",
    )
    .api("mark", "return 1")
    .event("marked", "pass")
    .event(
        "moved",
        "
        note('ran', event.payload, state.attempt, time.time())
        if event.payload != 1 and state.attempt < 3: raise Retry(after=4)
        ",
    );
    let both_wait = |daemon: &mut Daemon| {
        daemon.wait_for("two failures", |text| (text.matches("a handler failed").count() >= 2).then_some(()));
    };
    let mut daemon = project.run();
    get_ok(&daemon, "/go");
    both_wait(&mut daemon);
    // What is published later is written later.
    get_ok(&daemon, "/mark");
    kill_daemon(&mut daemon);
    let mut next = project.run();
    both_wait(&mut next);
    stop(&mut next);
    let _last = project.run();
    let ran = notes_of(&project, "ran", 7);
    let of = |n: u32| ran.iter().filter(|note| note[0] == n).collect::<Vec<_>>();
    for n in [0, 2] {
        let attempts: Vec<&Value> = of(n).iter().map(|note| &note[1]).collect();
        assert_eq!(attempts, [1, 2, 3], "{ran:?}");
        let times: Vec<f64> = of(n).iter().map(|note| note[2].as_f64().unwrap()).collect();
        // A microsecond may be lost where a time is made of a fraction.
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] > 4.0 - 1e-3), "it did not wait: {ran:?}");
    }
    let (head, behind) = (of(0), of(1));
    assert_eq!((behind.len(), &behind[0][1]), (1, &json!(1)));
    assert!(behind[0][2].as_f64() > head[2][2].as_f64(), "it overtook: {ran:?}");
    wait_until_finished(&project, "moved");
}

#[test]
fn workers_that_died_count_also_when_the_daemon_is_killed_between() {
    let project = project("event Deadly { payload: Json handler: [deadly] retry: { delay: 1ms, maxDelay: 1ms } }\n")
        .event(
            "deadly",
            "
            import signal
            note('begins', state.attempt)
            await wait_for(f'go{state.attempt}')
            os.kill(os.getpid(), signal.SIGKILL)
            ",
        );
    let mut daemon = project.run();
    ok(&project, &["events", "publish", "Deadly", "1"]);
    notes_of(&project, "begins", 1);
    project.write("go1", "");
    // The first one may have been killed by another; this one runs alone.
    notes_of(&project, "begins", 2);
    kill_daemon(&mut daemon);
    let mut next = project.run();
    notes_of(&project, "begins", 3);
    project.write("go2", "");
    notes_of(&project, "begins", 4);
    kill_daemon(&mut next);
    let _last = project.run();
    let begun = notes_of(&project, "begins", 5);
    assert_eq!(begun, [json!([1]), json!([2]), json!([2]), json!([3]), json!([3])]);
    project.write("go3", "");
    let letter = eventually("a dead letter", || {
        let listed: Value = serde_json::from_str(&ok(&project, &["dlq", "list", "--json"])).unwrap();
        listed["dead_letters"].get(0).cloned()
    });
    assert_eq!((&letter["deaths"], &letter["attempts"]), (&json!(3), &json!(0)), "{letter:#}");
}

#[test]
fn a_replay_after_a_restart_hands_handled_events_out_again() {
    let project = project("event Noted { payload: Json handler: [first, second] }\n")
        .event("first", "note('first', event.payload, event.event_id)")
        .event("second", "note('second', event.payload, event.event_id)");
    let mut daemon = project.run();
    (0..3).for_each(|n| drop(ok(&project, &["events", "publish", "Noted", &n.to_string(), "--key", "k"])));
    let handled = notes_of(&project, "first", 3);
    notes_of(&project, "second", 3);
    wait_until_finished(&project, "first");
    wait_until_finished(&project, "second");
    stop(&mut daemon);
    let _next = project.run();
    let replayed = ok(&project, &["events", "replay", "Noted", "--handler", "first", "--since", "1h", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&replayed).unwrap()["messages"], 3);
    assert_eq!(notes_of(&project, "first", 6), [&handled[..], &handled[..]].concat());
    wait_until_finished(&project, "first");
    assert_eq!(notes(&project, "second").len(), 3, "the other handler got them too");
}

#[test]
fn dead_letters_survive_a_kill_and_can_be_redriven_by_the_next_daemon() {
    let project = project("event Broken { payload: Json handler: [broken] retry: { attempts: 2, delay: 1ms } }\n")
        .event("broken", "await asyncio.sleep(0)\nif not os.path.exists('mended'): raise ValueError('no')\nnote('mended', event.payload, state.attempt)");
    let mut daemon = project.run();
    (0..3).for_each(|n| drop(ok(&project, &["events", "publish", "Broken", &n.to_string()])));
    eventually("the dead letters", || (subscription(&project, "broken")["dead_letters"] == 3).then_some(()));
    kill_daemon(&mut daemon);
    project.write("mended", "");
    let _next = project.run();
    assert_eq!(subscription(&project, "broken")["dead_letters"], 3);
    let redriven: Value = serde_json::from_str(&ok(&project, &["dlq", "redrive", "--all", "--json"])).unwrap();
    assert_eq!(redriven, json!({"selected": 3, "done": 3, "left_out": 0}));
    let mut handled = notes_of(&project, "mended", 3);
    handled.sort_by_key(Value::to_string);
    assert_eq!(handled, [json!([0, 1]), json!([1, 1]), json!([2, 1])], "attempts begin anew");
    assert_eq!(subscription(&project, "broken")["dead_letters"], 0);
}

#[test]
fn a_full_store_answers_503_and_loses_nothing_that_was_acknowledged() {
    let project = project(
        "
        api Place { method: GET path: \"/place/{n}\" response: Json timeout: 1s }
        event Placed { payload: Json handler: [placed] }
        ",
    )
    .api("place", "state.trigger_event('Placed', {'n': int(req.n), 'pad': 'x' * 4000}, key='one')\nreturn 1")
    .event("placed", "note('placed', event.payload['n'])");
    project.write("config/rohas.toml", &format!("{ROCKSDB}max_bytes = \"100KiB\"\n"));
    let mut daemon = project.run();
    ok(&project, &["subscriptions", "pause", "Placed"]);
    let mut acknowledged = 0;
    let refused = loop {
        let answer = daemon.get(&format!("/place/{acknowledged}"));
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 100, "the store does not fill");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1, "{refused:?}");
    assert!(acknowledged > 10, "only {acknowledged} fitted");
    kill_daemon(&mut daemon);

    let next = project.run();
    assert_eq!(next.get("/place/1000").status, 503, "it is still full");
    ok(&project, &["subscriptions", "resume", "Placed"]);
    notes_of(&project, "placed", acknowledged);
    wait_until_finished(&project, "placed");
    get_ok(&next, "/place/2000");
    let expected: Vec<Value> = (0..acknowledged).chain([2000]).map(|n| json!([n])).collect();
    assert_eq!(notes_of(&project, "placed", acknowledged + 1), expected, "what was refused was not published");
}

#[test]
fn a_pause_reaches_what_the_daemon_holds_and_nothing_is_lost_doubled_or_overtaken() {
    let project = project(
        "
        api Place { method: GET path: \"/place\" response: Json }
        event Placed { payload: Json handler: [placed] concurrency: 4 }
        ",
    )
    .api("place", "for n in range(200): state.trigger_event('Placed', n, key=f'{n % 7}')\nreturn 1")
    .event("placed", "note('begins', event.payload)\nawait wait_for('go')");
    let daemon = project.run();
    get_ok(&daemon, "/place");
    notes_of(&project, "begins", 4);
    eventually("that the daemon holds more than it runs", || {
        (subscription(&project, "placed")["in_flight"].as_u64() > Some(100)).then_some(())
    });
    ok(&project, &["subscriptions", "pause", "Placed"]);
    let counts = || {
        let found = subscription(&project, "placed");
        (found["waiting"].as_u64().unwrap(), found["in_flight"].as_u64().unwrap())
    };
    eventually("that what does not run goes back", || (counts() == (196, 4)).then_some(()));
    project.write("go", "");
    eventually("the end of what runs", || (counts() == (196, 0)).then_some(()));
    notes_of(&project, "begins", 4);
    ok(&project, &["subscriptions", "resume", "Placed"]);
    let handled = notes_of(&project, "begins", 200);
    wait_until_finished(&project, "placed");
    for key in 0..7 {
        let of_key = handled.iter().map(|note| note[0].as_u64().unwrap()).filter(|n| n % 7 == key);
        assert_eq!(of_key.collect::<Vec<_>>(), (key..200).step_by(7).collect::<Vec<_>>());
    }
}

#[test]
fn more_events_of_a_poisoned_key_than_the_daemon_holds_delay_nobody_and_keep_their_order() {
    let project = project(
        "
        api Place { method: GET path: \"/place/{key}/{first}\" response: Json }
        event Placed {
            payload: Json
            handler: [placed]
            concurrency: 4
            retry: { attempts: 10000, backoff: fixed, delay: 20ms }
        }
        ",
    )
    .api(
        "place",
        "
        first = int(req.first)
        for n in range(first, first + 500): state.trigger_event('Placed', {'key': req.key, 'n': n}, key=req.key)
        return 1
        ",
    )
    .event(
        "placed",
        "
        key = event.payload['key']
        if key == 'poisoned' and not os.path.exists('mended'): raise ValueError('not yet')
        note(key, event.payload['n'])
        ",
    );
    let daemon = project.run();
    (0..3000).step_by(500).for_each(|from| get_ok(&daemon, &format!("/place/poisoned/{from}")));
    get_ok(&daemon, "/place/other/0");
    notes_of(&project, "other", 500);
    assert_eq!(notes(&project, "poisoned").len(), 0);
    eventually("that the others are finished", || {
        (subscription(&project, "placed")["in_flight"] == 3000).then_some(())
    });
    project.write("mended", "");
    let handled = notes_of(&project, "poisoned", 3000);
    assert_eq!(handled, (0..3000).map(|n| json!([n])).collect::<Vec<_>>());
    wait_until_finished(&project, "placed");
}
