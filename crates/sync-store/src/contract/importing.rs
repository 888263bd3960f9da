//! Taking over the table of a replaced service: what is left of it, and what becomes of that service's cursors.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::{
    Answer, AppId, Changeset, ClientId, EventId, EventIds, Millis, Tables, Timestamp, UserId,
};

use super::alike::Dice;
use super::device::{Device, START, changes, grant, update};
use crate::{
    Caller, Cursor, Import, ImportState, Importer, Mark, MemoryStore, PAGE_BYTES, Phase, Position,
    Pull, Push, ReplacedRow, Role, Rules, SpacesOfUsers, Store, StoreError,
};

/// When the first row was made: 2025-06-01T12:00:00Z.
const FIRST: i64 = 1_748_779_200_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// A row of the replaced service's table, made so many nanoseconds after the first.
fn row(number: u64, nanos: i64, (user, client): (&str, &str), change: &Json) -> ReplacedRow {
    let text = |name: &str| change[name].as_str().map(str::to_owned);
    let op = text("op").expect("it has an op");
    let fields = change["fields"].as_object();
    let values = fields.map(|fields| {
        let values = fields.iter();
        let values = values.map(|(name, field)| (name.clone(), field["value"].clone()));
        Json::Object(values.collect())
    });
    let times = fields.map(|fields| {
        let times = fields.iter();
        let times = times.map(|(name, field)| (name.clone(), field["at"].clone()));
        Json::Object(times.collect()).to_string()
    });
    let deleted = || change.get("deletedAt").map(|at| json!({"deletedAt": at}));
    let data = change.get("data").cloned().or(values).or_else(deleted);
    let created_nanos = FIRST + nanos;
    ReplacedRow {
        mark: Mark {
            created: Timestamp::from_nanos(created_nanos).to_string(),
            id: EventId::from_bits(u128::from(number) + 1),
        },
        created_nanos,
        app: "todo".to_owned(),
        user: user.to_owned(),
        client: client.to_owned(),
        space: text("spaceId"),
        table: text("table").unwrap_or_default(),
        record: text("id").unwrap_or_default(),
        op,
        data: data.map(|data| data.to_string()),
        times,
        schema_version: 1,
        actor: None,
        origin: None,
    }
}

fn importer(store: &Arc<dyn Store>) -> &dyn Importer {
    store.importer().expect("the store takes over tables")
}

/// Takes over rows in batches, from the first to the last.
async fn import(store: &Arc<dyn Store>, rows: &[ReplacedRow], batch: usize) -> ImportState {
    let importer = importer(store);
    let mut state = importer.begin().await.expect("the import begins");
    let spaces = Arc::new(spaces(rows));
    for rows in rows.chunks(batch) {
        let import = Import {
            after: state.mark.clone(),
            rows: rows.to_vec(),
            spaces: spaces.clone(),
            now: START,
        };
        state = importer.take(import).await.expect("the rows are taken");
    }
    importer.end(START).await.expect("the import ends")
}

fn spaces(rows: &[ReplacedRow]) -> SpacesOfUsers {
    let mut spaces = SpacesOfUsers::new();
    for row in rows {
        let space = row.space.iter().filter(|space| !space.starts_with('_'));
        let of_user = spaces.entry(row.user.clone()).or_default();
        of_user.extend(space.cloned());
    }
    spaces
}

/// Rows of inserts so many nanoseconds apart: `r0`, `r1`, ….
fn inserts(count: usize, apart: i64) -> Vec<ReplacedRow> {
    let insert = |n: usize| json!({"table": "tasks", "id": format!("r{n}"), "op": "insert", "data": {"n": n}});
    let at = |n: usize| i64::try_from(n).unwrap_or(0) * apart;
    (0..count)
        .map(|n| {
            let number = u64::try_from(n).unwrap_or(0);
            row(number, at(n), ("anna", "phone"), &insert(n))
        })
        .collect()
}

/// One page of Anna's tasks on a laptop, from a cursor.
async fn page(store: &Arc<dyn Store>, since: &str, limit: usize) -> Answer {
    let pull = Pull {
        caller: caller("anna", "laptop"),
        app: app(),
        tables: Tables::All,
        since: Cursor::parse(since),
        limit,
        bytes: PAGE_BYTES,
        now: Millis(START.0 + 1000),
    };
    store.pull(pull).await.expect("the pull is answered")
}

fn caller(user: &str, client: &str) -> Caller {
    Caller {
        user: UserId::new(user).expect("an identifier"),
        client: ClientId::new(client).expect("an identifier"),
    }
}

fn app() -> AppId {
    AppId::new("todo").expect("an identifier")
}

fn ids(answer: &Answer) -> Vec<String> {
    let changes = answer.server_changes.iter();
    changes.map(|change| change.id.to_string()).collect()
}

fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("r{n}")).collect()
}

/// The wire's time, so many nanoseconds after the first row, without the zeros at its end: as the replaced service wrote it.
fn old_cursor(nanos: i64) -> String {
    let text = Timestamp::from_nanos(FIRST + nanos).to_string();
    let short = text.trim_end_matches('Z').trim_end_matches('0');
    format!("{}Z", short.trim_end_matches('.'))
}

/// Rows that are taken over leave what pushing them one after the other at their times would leave, in batches of any size.
pub async fn an_import_leaves_what_pushes_would_have_left(store: Arc<dyn Store>) {
    let mut dice = Dice::new(7);
    let mut nanos = 0;
    let rows: Vec<_> = (0..400)
        .map(|number| {
            nanos += [0, 1000, 40 * SECOND][dice.throw(3)];
            let who = dice.pick(&[("anna", "a"), ("anna", "b"), ("ben", "c"), ("ben", "")]);
            row(number, nanos, who, &random_change(&mut dice, nanos))
        })
        .collect();
    let oracle: Arc<dyn Store> = Arc::new(MemoryStore::new(Rules::default()));
    for user in ["anna", "ben"] {
        grant(&*oracle, user, "club", Some(Role::Writer), Millis(0)).await;
    }
    for row in &rows {
        let pushed = oracle.push(push_of(row)).await;
        pushed.expect("the push is taken");
    }
    let state = import(&store, &rows, 23).await;
    for user in ["anna", "ben"] {
        // What a space holds is read at the grant.
        grant(&*oracle, user, "club", None, START).await;
        for store in [&store, &oracle] {
            grant(&**store, user, "club", Some(Role::Writer), START).await;
        }
        let read = async |store: &Arc<dyn Store>| {
            let mut device = Device::new(store, user, "new");
            device.wait(60_000);
            device.pull().await
        };
        let (taken, pushed) = (read(&store).await, read(&oracle).await);
        assert_eq!(taken, pushed, "{user}");
        assert!(taken.as_array().is_some_and(|rows| rows.len() > 5));
        let parked = async |store: &Arc<dyn Store>| {
            let parked = store.parked(caller(user, "").user, app()).await;
            let parked = parked.expect("they are listed").into_iter();
            parked.map(|parked| parked.reason).collect::<BTreeSet<_>>()
        };
        assert_eq!(parked(&store).await, parked(&oracle).await);
    }
    let tally = &state.tally;
    let told = tally.appended
        + tally.lost
        + tally.replays
        + tally.empty
        + tally.parked.values().sum::<u64>();
    assert_eq!((tally.rows, told), (400, 400), "{tally:?}");
    for some in [
        tally.lost,
        tally.replays,
        tally.empty,
        tally.superseded,
        tally.moved,
        tally.shared,
        tally.ahead,
    ] {
        assert!(some > 0, "{tally:?}");
    }
    assert_eq!(tally.late, 0);
}

/// The push that would have made a row here.
fn push_of(row: &ReplacedRow) -> Push {
    let now = Millis(row.created_nanos / 1_000_000);
    let change = row.change();
    let body = format!(r#"{{"since":"","changes":[{}]}}"#, change.as_str());
    let mut changeset = Changeset::parse(body.as_bytes()).expect("a changeset");
    for change in &mut changeset.changes {
        change.space.take_if(|_| row.space.is_none());
    }
    Push {
        caller: caller(&row.user, &row.client),
        app: app(),
        since: Cursor::BEGINNING,
        changes: changeset.changes,
        parked: changeset.parked,
        now,
        ids: EventIds::new(now, row.mark.id.bits()),
    }
}

fn random_change(dice: &mut Dice, nanos: i64) -> Json {
    let now = (FIRST + nanos) / 1_000_000;
    let time = |dice: &mut Dice| match dice.throw(6) {
        0 => Json::Null,
        1 => json!(Millis(now + 3_600_000).to_string()),
        2 => json!(Millis(FIRST / 1_000_000).to_string()),
        _ => json!(Millis(now - 1000 * i64::try_from(dice.throw(90)).unwrap_or(0)).to_string()),
    };
    let id = dice.pick(&["r1", "r2", "r3", "r4", "r5", "r6"]);
    let id = if dice.throw(40) == 0 { "bad\u{1}" } else { id };
    let op = dice.pick(&["insert", "update", "update", "update", "delete"]);
    let mut change = json!({"table": "tasks", "id": id, "op": op});
    let mut fields = json!({});
    for name in ["title", "done"] {
        if dice.throw(2) == 0 {
            fields[name] = json!({"value": dice.throw(3), "at": time(dice)});
        }
    }
    match op {
        "insert" => {
            change["data"] = json!({"title": dice.throw(3), "updatedAt": time(dice)});
            if dice.throw(4) == 0 {
                change["data"]["spaceId"] = json!("club");
            }
        }
        "delete" if dice.throw(2) == 0 => change["deletedAt"] = time(dice),
        "delete" => {}
        _ => change["fields"] = fields,
    }
    match dice.throw(8) {
        0 => change["spaceId"] = json!("club"),
        1 => change["spaceId"] = json!("_personal:x"),
        _ => {}
    }
    change
}

/// A client of the replaced service gets what it lacks and at most the last minute again, then nothing twice.
pub async fn a_cursor_of_a_replaced_service_goes_on_a_minute_before(store: Arc<dyn Store>) {
    let state = import(&store, &inserts(10, 20 * SECOND), 4).await;
    let Phase::Ended(end) = state.phase else {
        panic!("{state:?}");
    };
    // Clocks that gave cursors out may have been a minute ahead.
    assert_eq!(end, Position((START.0 + 60_000) * 1_000_000));
    for (since, expected) in [
        (old_cursor(100 * SECOND), 3..10),
        (old_cursor(100 * SECOND + 123), 3..10),
        (old_cursor(180 * SECOND + 1), 7..10),
        (old_cursor(3600 * SECOND), 0..0),
        (old_cursor(-1), 0..10),
        ("2025-06-01T14:01:40+02:00".to_owned(), 3..10),
        ("1970-01-01T00:00:00.000Z".to_owned(), 0..10),
        (Timestamp::from_nanos(end.0).to_string(), 0..0),
    ] {
        let first = page(&store, &since, 1000).await;
        assert_eq!(ids(&first), names(expected), "{since}");
        let then = page(&store, &first.synced_until, 1000).await;
        assert_eq!(ids(&then), names([]), "{since}");
        assert_eq!(then.synced_until, first.synced_until, "{since}");
    }
    // A client leaves out its own rows as ever, and a push answers from a minute before, too.
    let mut phone = Device::new(&store, "anna", "phone");
    phone.wait(1000);
    phone.since = old_cursor(100 * SECOND);
    assert_eq!(phone.pull().await, json!([]));
    let mut laptop = Device::new(&store, "anna", "laptop");
    laptop.wait(1000);
    laptop.since = old_cursor(150 * SECOND);
    let pushed = laptop
        .push(json!([update("r1", "n", 100, "2026-01-01T00:00:00Z")]))
        .await;
    assert_eq!(ids(&pushed.answer), names(5..10));
    // Behind the import a bare time is one of ours.
    assert!(!laptop.since.contains('~'), "{}", laptop.since);
    assert_eq!(laptop.pull().await, json!([]));
    let read = changes(
        &page(&store, &old_cursor(200 * SECOND), 1000)
            .await
            .server_changes,
    );
    assert_eq!(read.as_array().map(Vec::len), Some(2), "{read}");
}

/// However many rows lie within a minute, pages of any size pass them all, each once.
pub async fn pages_of_an_import_do_not_go_back_for_ever(store: Arc<dyn Store>) {
    // Ten at a time have the same time.
    let mut rows = inserts(120, 100_000_000);
    for (n, row) in rows.iter_mut().enumerate() {
        row.created_nanos = FIRST + i64::try_from(n / 10).unwrap_or(0) * SECOND;
    }
    import(&store, &rows, 50).await;
    for limit in [1, 7, 100] {
        for since in [
            old_cursor(-1),
            old_cursor(6 * SECOND),
            old_cursor(11 * SECOND),
        ] {
            let (mut since, mut read) = (since, Vec::new());
            loop {
                let answer = page(&store, &since, limit).await;
                read.extend(ids(&answer));
                since.clone_from(&answer.synced_until);
                if !answer.has_more {
                    break;
                }
                assert!(since.contains('~') && read.len() <= 120, "{since}");
            }
            assert_eq!(read, names(0..120), "{limit}");
        }
    }
}

/// While an import is under way, nobody is answered; behind it everybody is.
pub async fn nothing_is_served_while_an_import_is_under_way(store: Arc<dyn Store>) {
    let rows = inserts(3, SECOND);
    let importer = importer(&store);
    assert_eq!(importer.state().await.expect("a state").phase, Phase::Never);
    let state = importer.begin().await.expect("the import begins");
    let refused = |error: StoreError| match error {
        StoreError::Unavailable(text) => assert!(text.contains("import"), "{text}"),
        other => panic!("{other}"),
    };
    let mut phone = Device::new(&store, "anna", "phone");
    let push = phone.read(&json!([update("r1", "n", 1, "2026-01-01T00:00:00Z")]).to_string());
    let pull = || Pull {
        caller: caller("anna", "laptop"),
        app: app(),
        tables: Tables::All,
        since: Cursor::BEGINNING,
        limit: 10,
        bytes: PAGE_BYTES,
        now: START,
    };
    refused(store.push(push.clone()).await.expect_err("it is refused"));
    refused(store.pull(pull()).await.expect_err("it is refused"));
    let take = |after, rows: &[ReplacedRow]| Import {
        after,
        rows: rows.to_vec(),
        spaces: Arc::default(),
        now: START,
    };
    let taken = importer.take(take(state.mark.clone(), &rows[..2])).await;
    let taken = taken.expect("the rows are taken");
    assert_eq!(taken.mark.as_ref(), Some(&rows[1].mark));
    refused(store.pull(pull()).await.expect_err("it is refused"));
    // Another import that stands elsewhere is refused, and one that was cut off goes on.
    let other = importer.take(take(state.mark, &rows[..2])).await;
    assert!(matches!(other, Err(StoreError::Fault(_))), "{other:?}");
    assert_eq!(importer.begin().await, Ok(taken.clone()));
    let taken = importer.take(take(taken.mark, &rows[2..])).await;
    assert_eq!(taken.expect("the row is taken").tally.appended, 3);
    importer.end(START).await.expect("the import ends");
    assert_eq!(ids(&page(&store, "", 10).await), names(0..3));
    assert_eq!(store.push(push).await.expect("it is taken").appended, 1);
}

/// What the replaced service has taken meanwhile can be taken over later, and is skipped by nobody; once there are changes of
/// the store's own, nothing is taken over any more.
pub async fn an_import_goes_on_after_its_end_until_something_is_pushed(store: Arc<dyn Store>) {
    let rows = inserts(8, SECOND);
    let first = import(&store, &rows[..4], 3).await;
    let mut reader = Device::new(&store, "anna", "laptop");
    reader.wait(1000);
    reader.pull().await;
    grant(&*store, "anna", "club", Some(Role::Writer), reader.now).await;
    reader.pull().await;
    let cursor = reader.since.clone();
    let second = import(&store, &rows[4..], 3).await;
    assert!(second.last > first.last);
    assert_eq!((second.tally.rows, second.tally.late), (8, 4));
    assert_eq!(ids(&page(&store, &cursor, 10).await), names(4..8));
    assert_eq!(
        ids(&page(&store, &old_cursor(3 * SECOND), 10).await),
        names(0..8)
    );
    // Nothing new is nothing done, but for the end.
    let third = import(&store, &[], 3).await;
    assert_eq!((third.tally, third.mark), (second.tally, second.mark));
    let mut phone = Device::new(&store, "anna", "phone");
    phone.wait(5000);
    phone
        .push(json!([update("r1", "n", 1, "2026-01-01T00:00:00Z")]))
        .await;
    match importer(&store).begin().await {
        Err(StoreError::Fault(text)) => {
            assert!(
                text.contains("changes of its own since the import"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ids(&page(&store, &cursor, 10).await).len(), 5);
}
