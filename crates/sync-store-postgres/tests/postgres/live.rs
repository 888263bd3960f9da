//! Nodes that hear of each other's commits: the relay, and the looks at the log that make good for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sync_notify::{Hub, Interest, Listener, News, Notice, Relay, Waiting, Writer};
use sync_protocol::{Audience, ClientId, TableName, Tables};
use sync_store::{Pushed, Role, Store};
use sync_store_postgres::{Config, Fate, Lookout, PostgresRelay, PostgresStore};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::support::{Database, app, grant, insert, push, space, user};

/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(30);

fn hub() -> Arc<Hub> {
    Hub::new(10)
}

fn listener(hub: &Arc<Hub>, user_name: &str, client: &str) -> Listener {
    let interest = Interest {
        user: user(user_name),
        client: Some(ClientId::new(client).unwrap()),
        app: None,
        tables: Tables::All,
    };
    hub.listen(interest).unwrap()
}

async fn told(listener: &Listener) -> Vec<String> {
    let waiting = timeout(PATIENCE, listener.waiting()).await;
    names(&waiting.expect("somebody tells it"))
}

fn names(waiting: &Waiting) -> Vec<String> {
    let tables = waiting.tables.values().flatten();
    tables.map(ToString::to_string).collect()
}

fn tables(names: &[&str]) -> BTreeSet<TableName> {
    names
        .iter()
        .map(|name| TableName::new(name).unwrap())
        .collect()
}

fn news(user_name: &str, names: &[&str]) -> News {
    News::Changes(Notice {
        audience: Audience::User(user(user_name)),
        app: app(),
        tables: tables(names),
        writer: None,
        position: 1,
    })
}

/// Until this holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn relay(database: &Database, hub: &Arc<Hub>) -> PostgresRelay {
    let relay = PostgresRelay::start(&database.config(), Arc::clone(hub)).unwrap();
    until("the relay is up", || relay.figures().is_up).await;
    relay
}

/// Announces a push on a node, as a server does.
fn announce(hub: &Hub, pushed: &Pushed, user_name: &str, client: &str) {
    for touched in &pushed.touched {
        hub.announce(&News::Changes(Notice {
            audience: touched.scope.audience().clone(),
            app: app(),
            tables: touched.tables.clone(),
            writer: Some(Writer {
                user: user(user_name),
                client: ClientId::new(client).unwrap(),
            }),
            position: touched.position.0,
        }));
    }
}

async fn write(store: &PostgresStore, client: &str, id: &str) -> Pushed {
    let changes = format!("[{}]", insert(id, "x"));
    store
        .push(push("anna", client, "", &changes))
        .await
        .unwrap()
}

/// Looks at the log now, and waits until it is done.
async fn look(hub: &Hub) {
    let before = hub.figures().looks;
    hub.may_have_missed();
    until("a look is done", || hub.figures().looks > before).await;
}

#[tokio::test]
async fn a_node_hears_what_another_one_has_told_and_not_itself() {
    let database = Database::empty().await;
    let (one, other) = (hub(), hub());
    let (own, others) = (listener(&one, "anna", "a"), listener(&other, "anna", "b"));
    let relays = (relay(&database, &one).await, relay(&database, &other).await);
    relays.0.publish(news("anna", &["tasks"]));
    assert_eq!(told(&others).await, ["tasks"]);
    relays.1.publish(news("anna", &["notes"]));
    assert_eq!(told(&own).await, ["notes"]);
    assert_eq!(one.figures().woken, 1);
}

#[tokio::test]
async fn what_does_not_fit_into_one_message_arrives_in_several() {
    let database = Database::empty().await;
    let (one, other) = (hub(), hub());
    let others = listener(&other, "anna", "b");
    let relays = (relay(&database, &one).await, relay(&database, &other).await);
    let long: Vec<String> = (0..200)
        .map(|n| format!("{n:03}{}", "\"é".repeat(84)))
        .collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    relays.0.publish(news("anna", &long));
    let mut heard = BTreeSet::new();
    while heard.len() < long.len() {
        heard.extend(told(&others).await);
    }
    assert_eq!(
        heard,
        tables(&long).iter().map(ToString::to_string).collect()
    );
    // What is sent is counted when the database has said so, which may be after it was heard.
    while relays.0.figures().sent <= 10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_notices_travel_in_few_messages() {
    let database = Database::empty().await;
    let (one, other) = (hub(), hub());
    let last = listener(&other, "u1999", "b");
    let relays = (relay(&database, &one).await, relay(&database, &other).await);
    for n in 0..2000 {
        relays.0.publish(news(&format!("u{n}"), &["tasks"]));
    }
    assert_eq!(told(&last).await, ["tasks"]);
    let sent = relays.0.figures().sent;
    assert!(sent < 100, "{sent} messages");
    assert_eq!(relays.0.figures().lost, 0);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_harms_nobody() {
    let database = Database::empty().await;
    let hub = hub();
    let own = listener(&hub, "anna", "a");
    let relay = relay(&database, &hub).await;
    let raw = database.raw().await;
    let tell = "select pg_notify('sync_notices_' || current_schema()::regnamespace::oid, $1)";
    raw.execute(tell, &[&"garbage"]).await.unwrap();
    until("it is counted", || relay.figures().lost == 1).await;
    let good = r#"[{"u":"anna","a":"app","t":["tasks"],"p":1}]"#;
    raw.execute(tell, &[&good]).await.unwrap();
    assert_eq!(told(&own).await, ["tasks"]);
}

#[tokio::test]
async fn a_relay_that_was_cut_off_comes_back_and_says_that_something_may_be_lost() {
    let database = Database::empty().await;
    let (one, other) = (hub(), hub());
    let others = listener(&other, "anna", "b");
    let relays = (relay(&database, &one).await, relay(&database, &other).await);
    one.look_wanted().await;
    let raw = database.raw().await;
    let cut_off = "select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
    raw.execute(cut_off, &[]).await.unwrap();
    until("both are back", || {
        [&relays.0, &relays.1].iter().all(|relay| {
            let figures = relay.figures();
            figures.is_up && figures.failures > 0
        })
    })
    .await;
    timeout(PATIENCE, one.look_wanted()).await.unwrap();
    relays.0.publish(news("anna", &["tasks"]));
    assert_eq!(told(&others).await, ["tasks"]);
}

#[tokio::test]
async fn a_look_finds_what_nobody_has_told() {
    let database = Database::migrated().await;
    let store = database.store().await;
    grant(store.as_ref(), "team", &[("anna", Role::Writer)]).await;
    let hub = hub();
    let _lookout = Lookout::start(&database.config(), Arc::clone(&hub)).unwrap();
    look(&hub).await;
    let (own, other) = (
        listener(&hub, "anna", "phone"),
        listener(&hub, "anna", "tab"),
    );
    let mut member = listener(&hub, "ben", "phone");
    member.set_spaces(BTreeSet::from([space("team")]));
    let shared = r#"{"table":"lists","id":"l","op":"insert","data":{"n":1},"spaceId":"team"}"#;
    let changes = format!("[{},{shared}]", insert("a", "x"));
    store
        .push(push("anna", "phone", "", &changes))
        .await
        .unwrap();
    assert_eq!(told(&other).await, ["tasks"]);
    assert_eq!(told(&member).await, ["lists"]);
    // The writer's own connections are not told, here as little as anywhere.
    write(&store, "tab", "b").await;
    assert_eq!(told(&own).await, ["tasks"]);
    assert_eq!(hub.figures().woken, 3);
}

#[tokio::test]
async fn a_look_tells_nothing_that_was_told_and_nothing_twice() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let hub = hub();
    let _lookout = Lookout::start(&database.config(), Arc::clone(&hub)).unwrap();
    look(&hub).await;
    let own = listener(&hub, "anna", "tab");
    let pushed = write(&store, "phone", "a").await;
    announce(&hub, &pushed, "anna", "phone");
    assert_eq!(told(&own).await, ["tasks"]);
    // Not announced; the one after it is, by another client.
    write(&store, "laptop", "b").await;
    let pushed = write(&store, "phone", "c").await;
    announce(&hub, &pushed, "anna", "phone");
    for _ in 0..5 {
        look(&hub).await;
    }
    assert_eq!(told(&own).await, ["tasks"]);
    let figures = hub.figures();
    assert_eq!((figures.found, figures.woken + figures.merged), (1, 3));
}

#[tokio::test]
async fn a_push_that_can_be_seen_only_after_later_ones_is_found() {
    let database = Database::migrated().await;
    let (gate, waits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Arc::new(
        PostgresStore::connect(Config {
            before_commit: Some({
                let (gate, waits) = (Arc::clone(&gate), Arc::clone(&waits));
                Arc::new(move || {
                    let (gate, waits) = (Arc::clone(&gate), Arc::clone(&waits));
                    Box::pin(async move {
                        waits.add_permits(1);
                        gate.acquire().await.unwrap().forget();
                        Fate::Commit
                    })
                })
            }),
            ..database.config()
        })
        .await
        .unwrap(),
    );
    let free = database.store().await;
    let hub = hub();
    let _lookout = Lookout::start(&database.config(), Arc::clone(&hub)).unwrap();
    look(&hub).await;
    let own = listener(&hub, "anna", "tab");
    let slow = tokio::spawn({
        let held = Arc::clone(&held);
        async move { write(&held, "phone", "slow").await }
    });
    timeout(PATIENCE, waits.acquire())
        .await
        .unwrap()
        .unwrap()
        .forget();
    // Others draw later and commit sooner, and looks pass over them.
    for n in 0..10 {
        let changes = format!("[{}]", insert(&format!("r{n}"), "x"));
        free.push(push("ben", "phone", "", &changes)).await.unwrap();
        look(&hub).await;
        look(&hub).await;
    }
    gate.add_permits(1);
    slow.await.unwrap();
    assert_eq!(told(&own).await, ["tasks"]);
}

#[tokio::test]
async fn a_row_that_this_version_cannot_read_hides_no_other() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let hub = hub();
    let _lookout = Lookout::start(&database.config(), Arc::clone(&hub)).unwrap();
    look(&hub).await;
    let own = listener(&hub, "anna", "tab");
    write(&store, "phone", "a").await;
    assert_eq!(told(&own).await, ["tasks"]);
    let stranger = "update sync_changes set scope = 'g:new-kind'";
    database.raw().await.execute(stranger, &[]).await.unwrap();
    write(&store, "phone", "b").await;
    assert_eq!(told(&own).await, ["tasks"]);
    assert_eq!(hub.figures().failed_looks, 0);
}

#[tokio::test]
async fn locks_of_other_programs_do_not_keep_looks_from_moving_on() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let raw = database.raw().await;
    raw.batch_execute("select pg_advisory_lock(1), pg_advisory_lock(1, 1)")
        .await
        .unwrap();
    let hub = hub();
    let _lookout = Lookout::start(&database.config(), Arc::clone(&hub)).unwrap();
    write(&store, "phone", "a").await;
    look(&hub).await;
    look(&hub).await;
    look(&hub).await;
    // The floor has passed the row: a later look that finds everything does not find it.
    hub.look_failed();
    let own = listener(&hub, "anna", "tab");
    look(&hub).await;
    write(&store, "laptop", "b").await;
    assert_eq!(told(&own).await, ["tasks"]);
    assert_eq!(hub.figures().woken + hub.figures().merged, 1);
}

#[tokio::test]
async fn an_open_transaction_of_another_program_on_the_log_is_told_apart_from_a_push() {
    let database = Database::migrated().await;
    let raw = database.raw().await;
    let idle = "begin; update sync_changes set dead_since = null where false";
    raw.batch_execute(idle).await.unwrap();
    let asked = database.raw().await;
    let rows = asked.query(writing(), &[]).await.unwrap();
    let has_written: Vec<bool> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(has_written, [false]);
    let held = tokio::spawn({
        let hanging = database.raw().await;
        async move {
            let commits =
                "begin; update sync_changes set dead_since = null where false; select pg_sleep(60)";
            let _ = hanging.batch_execute(commits).await;
        }
    });
    let waited = timeout(PATIENCE, async {
        loop {
            let rows = asked.query(writing(), &[]).await.unwrap();
            if rows.iter().filter(|row| row.get(1)).count() == 1 {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("who is at work counts");
    held.abort();
}

/// The statement by which looks know who writes.
fn writing() -> &'static str {
    let source = include_str!("../../src/queries/live.rs");
    let (_, text) = source
        .split_once("pub(crate) const WRITING: &str = \"\\\n")
        .unwrap();
    text.split_once("\";").unwrap().0
}
