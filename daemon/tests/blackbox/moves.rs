//! Is what an event leaves behind worked off when it moves to another adapter?
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::journal::{Handlers, ROCKSDB, notes, notes_of, ok, project, stop};
use crate::support::{Project, eventually};

/// A project with two stores, whose event can be given to either.
fn moving(adapter: &str) -> String {
    format!("event Moved {{ payload: Json handler: [moved] adapter: {adapter} concurrency: 1 }}\n")
}

/// How the subscription stands at an adapter.
fn at(project: &Project, adapter: &str) -> Option<Value> {
    let all: Value = serde_json::from_str(&ok(project, &["subscriptions", "list", "--json"])).unwrap();
    all["subscriptions"].as_array().unwrap().iter().find(|found| found["adapter"] == adapter).cloned()
}

#[test]
fn what_an_event_leaves_behind_at_its_old_adapter_is_worked_off_by_the_next_daemon() {
    let project = project(&moving("a")).event(
        "moved",
        "note('moved', event.payload, state.attempt)\nif not os.path.exists('go'): raise Retry(after=0.2)",
    );
    let stores = ["a", "b"].map(|name| format!("[adapters.{name}]\ntype = \"rocksdb\"\npath = \".rohas/{name}\"\n"));
    project.write("config/rohas.toml", &format!("{ROCKSDB}{}", stores.concat()));
    let publish = |n: u32| drop(ok(&project, &["events", "publish", "Moved", &n.to_string(), "--key", "k"]));
    let mut daemon = project.run();
    (1..=3).for_each(publish);
    eventually("an attempt at the first", || (!notes(&project, "moved").is_empty()).then_some(()));
    stop(&mut daemon);

    project.write("schema/schema.ro", &moving("b"));
    let left = at(&project, "adapters.a").unwrap();
    let unfinished: u64 = ["waiting", "delayed"].iter().map(|count| left[count].as_u64().unwrap()).sum();
    assert_eq!((&left["declared"], unfinished), (&json!(true), 3), "nobody should prune it: {left}");
    project.write("go", "");
    let mut daemon = project.run();
    publish(4);
    let handled = || {
        let all: Vec<_> = notes(&project, "moved").iter().map(|note| note[0].as_u64().unwrap()).collect();
        all[all.iter().position(|&n| n == 1).unwrap()..].iter().copied().filter(|&n| n > 1).collect::<Vec<_>>()
    };
    let mut all = eventually("the others", || Some(handled()).filter(|all| all.len() == 3));
    all.retain(|&n| n != 4);
    assert_eq!(all, [2, 3], "the old ones are in order");
    let retired = || at(&project, "adapters.a").filter(|left| left["declared"] == false);
    let retired = eventually("the end of what was left behind", retired);
    assert_eq!((&retired["waiting"], &retired["in_flight"]), (&json!(0), &json!(0)));
    assert_eq!(at(&project, "adapters.b").unwrap()["declared"], true);
    stop(&mut daemon);

    // Back again, while something waits at the other one.
    ok(&project, &["subscriptions", "pause", "Moved"]);
    publish(5);
    project.write("schema/schema.ro", &moving("a"));
    let _daemon = project.run();
    publish(6);
    ok(&project, &["subscriptions", "resume", "Moved"]);
    let mut all = eventually("the last two", || Some(handled()).filter(|all| all.len() == 5));
    all.sort_unstable();
    assert_eq!(all, [2, 3, 4, 5, 6], "none twice");
}

#[test]
fn an_event_that_moves_while_the_daemon_runs_leaves_its_old_adapter_when_that_is_worked_off() {
    let project = project(&moving("a")).event("moved", "note('moved', event.payload)\nawait wait_for('go')");
    let stores = ["a", "b"].map(|name| format!("[adapters.{name}]\ntype = \"rocksdb\"\npath = \".rohas/{name}\"\n"));
    project.write("config/rohas.toml", &format!("{ROCKSDB}{}", stores.concat()));
    let _daemon = project.dev();
    let publish = |n: u32| drop(ok(&project, &["events", "publish", "Moved", &n.to_string()]));
    (1..=2).for_each(publish);
    eventually("the first", || (!notes(&project, "moved").is_empty()).then_some(()));
    project.write("schema/schema.ro", &moving("b"));
    eventually("the new adapter", || at(&project, "adapters.b").filter(|there| there["declared"] == true));
    project.write("go", "");
    publish(3);
    let mut all = notes_of(&project, "moved", 3);
    all.sort_unstable_by_key(|note| note[0].as_u64());
    assert_eq!(all, [json!([1]), json!([2]), json!([3])]);
    eventually("the end at the old adapter", || at(&project, "adapters.a").filter(|left| left["declared"] == false));
}
