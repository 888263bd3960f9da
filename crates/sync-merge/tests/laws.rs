//! The laws of the merge rule (`semantics.md`, Which write wins), as properties of random pushes and as plain examples.

mod replica;

use proptest::prelude::*;
use replica::{Pushed, Replica, all_of, change, deletion, insert, update};
use sync_merge::{NewRow, Plan, RowOrigin, RowRef, deleted_at};
use sync_protocol::{Change, FieldTime, Op};

const FIELDS: [&str; 3] = ["a", "b", "deletedAt"];
const VALUES: [&str; 4] = ["null", r#""10""#, r#""9""#, "{}"];

/// The kinds of times that a law speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// The server has to give none of them.
    OwnOnly,
    /// Some are ahead of the server, some deletes have none.
    Any,
}

fn time(times: Times) -> BoxedStrategy<i64> {
    match times {
        Times::OwnOnly => (0..5_i64).boxed(),
        Times::Any => {
            prop_oneof![4 => 0..5_i64, 1 => 2_000..2_003_i64, 1 => 5_000..5_002_i64].boxed()
        }
    }
}

fn fields(times: Times) -> impl Strategy<Value = Vec<(&'static str, &'static str, i64)>> {
    proptest::collection::vec((0..FIELDS.len(), 0..VALUES.len(), time(times)), 0..3).prop_map(
        |picked| {
            let mut fields: Vec<_> = picked
                .into_iter()
                .map(|(field, value, at)| (FIELDS[field], VALUES[value], at))
                .collect();
            fields.sort_unstable();
            fields.dedup_by_key(|(name, ..)| *name);
            fields
        },
    )
}

/// A change and the record that it is about.
fn edit(times: Times) -> impl Strategy<Value = (usize, Change)> {
    let deletion_time = match times {
        Times::OwnOnly => (1..5_i64).boxed(),
        Times::Any => time(times),
    };
    let kind = prop_oneof![
        3 => (fields(times), time(times)).prop_map(|(fields, at)| insert(&fields, at)),
        4 => fields(times).prop_map(|fields| update(&fields)),
        2 => (fields(times), deletion_time).prop_map(|(fields, at)| deletion(&fields, at)),
    ];
    (0..2_usize, kind)
}

fn push(times: Times) -> impl Strategy<Value = Pushed> {
    let client = prop_oneof![Just("x"), Just("y"), Just("")];
    (client, proptest::collection::vec(edit(times), 1..4))
        .prop_map(|(client, edits)| Pushed { client, edits })
}

fn pushes(times: Times) -> impl Strategy<Value = Vec<Pushed>> {
    proptest::collection::vec(push(times), 1..7)
}

/// Makes the value of every write a function of its client, field and time: then no client writes the same field twice
/// at the same time.
fn without_doubles(pushes: &mut [Pushed]) {
    for push in pushes {
        for (_, change) in &mut push.edits {
            if change.deletion.is_some() {
                change.writes.retain(|write| write.name != *deleted_at());
            }
            let deletes = change.deletion.is_some();
            for write in &mut change.writes {
                let text = format!("{}{}", push.client, write.at.millis());
                write.value = sync_protocol::Value::string(&text);
                // A top-level delete writes its time: keep other writes of the field off those times.
                if write.name == *deleted_at() && !deletes {
                    write.at = FieldTime::from_millis(write.at.millis() + 100);
                }
            }
        }
    }
}

/// Whether a repeated push stored nothing. What a client has to be told of its own writes and the answer has no room for
/// may go through the log once more: whether the row that has it goes out to that client, nobody knows any more.
fn stores_nothing(plan: &Plan, client: &str) -> bool {
    let moved = |(place, row): (usize, &NewRow)| {
        row.origin == RowOrigin::Server
            && row.fields.iter().all(|(name, ..)| {
                let held = &plan.records[row.record].fields[name];
                held.row != RowRef::New(place) || held.version.client.as_str() == client
            })
    };
    plan.rows.iter().enumerate().all(moved)
        && (!plan.rows.is_empty() || plan.dead.is_empty() && plan.changed.is_empty())
}

/// How far the server's clock goes on from push to push.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    proptest::collection::vec(prop_oneof![Just(0_i64), 1..3_i64, Just(2_500_i64)], 16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_in_which_pushes_arrive_does_not_matter(
        (pushes, shuffled) in pushes(Times::OwnOnly).prop_flat_map(|pushes| (Just(pushes.clone()), Just(pushes).prop_shuffle())),
    ) {
        let (mut here, mut there) = (Replica::new(), Replica::new());
        all_of(&mut here, &pushes);
        all_of(&mut there, &shuffled);
        prop_assert_eq!(here.state(), there.state());
    }

    #[test]
    fn replicas_that_took_the_same_pushes_in_any_order_and_number_are_equal(
        (pushes, orders) in pushes(Times::OwnOnly).prop_flat_map(|pushes| {
            let places: Vec<usize> = (0..pushes.len()).chain(0..pushes.len()).collect();
            (Just(pushes), proptest::collection::vec(Just(places).prop_shuffle(), 4))
        }),
    ) {
        let states: Vec<_> = orders.iter().map(|order| {
            let mut replica = Replica::new();
            for place in order {
                replica.push(&pushes[*place]);
            }
            replica.state()
        }).collect();
        for state in &states {
            prop_assert_eq!(state, &states[0]);
        }
    }

    #[test]
    fn grouping_into_pushes_does_not_matter_without_doubles(
        mut pushes in pushes(Times::OwnOnly), cuts in proptest::collection::vec(any::<bool>(), 24),
    ) {
        without_doubles(&mut pushes);
        let (mut whole, mut single, mut mixed) = (Replica::new(), Replica::new(), Replica::new());
        let mut cuts = cuts.into_iter().cycle();
        for push in &pushes {
            whole.push(push);
            let mut group = Pushed { client: push.client, edits: Vec::new() };
            for edit in &push.edits {
                single.push(&Pushed { client: push.client, edits: vec![edit.clone()] });
                group.edits.push(edit.clone());
                if cuts.next() == Some(true) {
                    mixed.push(&group);
                    group.edits.clear();
                }
            }
            mixed.push(&group);
        }
        prop_assert_eq!(whole.state(), single.state());
        prop_assert_eq!(whole.state(), mixed.state());
    }

    #[test]
    fn a_push_sent_again_stores_nothing(
        pushes in pushes(Times::Any), again in proptest::collection::vec(0..16_usize, 8), steps in steps(), room in prop_oneof![Just(0_usize), Just(1 << 20)],
    ) {
        let mut replica = Replica::with_room(room);
        let mut steps = steps.into_iter().cycle();
        let mut again = again.into_iter().cycle();
        for (place, push) in pushes.iter().enumerate() {
            let first = replica.push(push);
            let repeated = replica.push(push);
            prop_assert!(stores_nothing(&repeated, push.client), "{repeated:?}");
            for clash in &repeated.clashes {
                let known = first.clashes.iter().any(|known| (known.record, &known.field, &known.stands) == (clash.record, &clash.field, &clash.stands));
                prop_assert!(known, "{clash:?}");
            }
            replica.now += steps.next().unwrap_or_default();
            let earlier = &pushes[again.next().unwrap_or_default() % (place + 1)];
            let repeated = replica.push(earlier);
            prop_assert!(stores_nothing(&repeated, earlier.client), "{repeated:?}");
        }
    }

    #[test]
    fn every_row_of_the_log_is_live_exactly_while_it_holds_a_winner_or_the_existence(
        pushes in pushes(Times::Any), steps in steps(), room in prop_oneof![Just(0_usize), Just(250), Just(1 << 20)],
    ) {
        let mut replica = Replica::with_room(room);
        let mut steps = steps.into_iter().cycle();
        for push in &pushes {
            replica.push(push);
            replica.now += steps.next().unwrap_or_default();
            prop_assert_eq!(replica.live_rows(), replica.rows_of_records());
        }
    }

    #[test]
    fn rows_hold_winners_and_what_a_reader_needs_beside_them(
        pushes in pushes(Times::Any), steps in steps(), room in prop_oneof![Just(0_usize), Just(250), Just(1 << 20)],
    ) {
        let mut replica = Replica::with_room(room);
        let mut steps = steps.into_iter().cycle();
        for push in &pushes {
            let before = replica.records.clone();
            let plan = replica.push(push);
            replica.now += steps.next().unwrap_or_default();
            for (place, row) in plan.rows.iter().enumerate() {
                let (known, after) = (&before[row.record], &plan.records[row.record]);
                for (name, value, at) in &row.fields {
                    let winner = &after.fields[name].version;
                    prop_assert_eq!((&winner.value, winner.at), (value, *at));
                }
                let has = |name: &_| row.fields.iter().any(|(own, ..)| own == name);
                if after.is_deleted() && !has(deleted_at()) {
                    prop_assert!(after.fields[deleted_at()].row > RowRef::New(place), "a row on a deleted record lacks its deletedAt: {:?}", row);
                }
                if known.is_deleted() && !after.is_deleted() && has(deleted_at()) && row.origin != RowOrigin::Server {
                    prop_assert!(after.fields.keys().all(has), "an undelete lacks fields: {row:?}");
                    prop_assert!(row.to_everyone);
                }
            }
            for (record, after) in plan.records.iter().enumerate() {
                let of_changes = plan.rows.iter().filter(|row| row.record == record && row.origin != RowOrigin::Server);
                prop_assert_eq!(after.version - before[record].version, i64::try_from(of_changes.count()).unwrap());
            }
        }
    }

    #[test]
    fn whoever_lost_or_tied_is_told_whatever_the_room(
        pushes in pushes(Times::Any), steps in steps(),
    ) {
        let (mut roomy, mut tight) = (Replica::new(), Replica::with_room(0));
        tight.seen = i64::MAX;
        let mut steps = steps.into_iter().cycle();
        for push in &pushes {
            let (told, moved) = (roomy.push(push), tight.push(push));
            let step = steps.next().unwrap_or_default();
            roomy.now += step;
            tight.now += step;
            prop_assert!(moved.corrections.is_empty());
            prop_assert_eq!(roomy.state(), tight.state());
            let unread = moved.unread.unwrap_or(moved.rows.len());
            for correction in &told.corrections {
                let owed = correction.fields.iter().filter(|(name, ..)| !correction.optional.contains(name));
                for (name, value, _) in owed {
                    let comes = moved.rows[unread..].iter().any(|row| row.record == correction.record
                        && row.to_everyone
                        && row.fields.iter().any(|(own, sent, _)| (own, sent) == (name, value)));
                    prop_assert!(comes, "{name} of {correction:?} never reaches its client: {moved:?}");
                }
            }
        }
    }

    #[test]
    fn the_last_write_of_a_client_stands_or_it_is_told_what_does(pushes in pushes(Times::OwnOnly)) {
        let mut replica = Replica::new();
        for push in &pushes {
            let plan = replica.push(push);
            let mut last = std::collections::BTreeMap::new();
            for (record, change) in &push.edits {
                for write in &change.writes {
                    last.insert((*record, write.name.clone()), write.value.clone());
                }
                if let Some(at) = change.deletion {
                    last.insert((*record, deleted_at().clone()), sync_protocol::Value::string(&at.to_string()));
                }
            }
            for ((record, field), value) in last {
                let told = plan.corrections.iter().any(|correction| correction.record == record
                    && correction.fields.iter().any(|(own, ..)| *own == field));
                prop_assert!(told || plan.records[record].fields[&field].version.value == value, "{field} of record {record}");
            }
        }
    }
}

/// The value that stands in field `a` of the first record.
fn stands(replica: &Replica) -> &str {
    replica.value(0, "a").unwrap_or("nothing")
}

fn one(client: &'static str, change: Change) -> Pushed {
    Pushed {
        client,
        edits: vec![(0, change)],
    }
}

#[test]
fn the_greatest_time_wins() {
    let mut replica = Replica::new();
    replica.push(&one("x", update(&[("a", "1", 3)])));
    replica.push(&one("y", update(&[("a", "2", 2)])));
    assert_eq!(stands(&replica), "1");
    replica.push(&one("y", update(&[("a", "3", 4)])));
    assert_eq!(stands(&replica), "3");
}

#[test]
fn at_the_same_time_the_greater_client_wins_then_the_greater_bytes() {
    let mut replica = Replica::new();
    replica.push(&one("y", update(&[("a", "1", 3)])));
    replica.push(&one("x", update(&[("a", "9", 3)])));
    assert_eq!(stands(&replica), "1");
    replica.push(&one("y", update(&[("a", r#""10""#, 3)])));
    assert_eq!(stands(&replica), "1", "a quote sorts before a digit");
    replica.push(&one("y", update(&[("a", "2", 3)])));
    assert_eq!(stands(&replica), "2");
}

#[test]
fn no_time_is_lower_than_any() {
    let mut replica = Replica::new();
    replica.push(&one("y", insert(&[("a", "1", 0)], 0)));
    assert_eq!(stands(&replica), "1");
    replica.push(&one("x", update(&[("a", "0", 1)])));
    assert_eq!(stands(&replica), "0");
    let plan = replica.push(&one("z", insert(&[("a", "5", 0)], 0)));
    assert_eq!((stands(&replica), plan.clashes.len()), ("0", 1));
}

#[test]
fn of_several_writes_in_a_push_the_greatest_time_stands() {
    let mut replica = Replica::new();
    let plan = replica.push(&Pushed {
        client: "x",
        edits: vec![(0, update(&[("a", "1", 3)])), (0, update(&[("a", "2", 2)]))],
    });
    assert_eq!(stands(&replica), "1");
    assert_eq!((plan.rows.len(), plan.clashes.len()), (1, 0));
    let told: Vec<_> = plan.corrections.iter().map(|told| &told.fields).collect();
    assert_eq!(told.len(), 1, "its later write lost, and it does not know");
}

#[test]
fn at_equal_times_the_later_in_the_push_stands() {
    let mut replica = Replica::new();
    replica.push(&Pushed {
        client: "x",
        edits: vec![(0, update(&[("a", "2", 3)])), (0, update(&[("a", "1", 3)]))],
    });
    assert_eq!(stands(&replica), "1");
}

#[test]
fn a_field_that_loses_is_a_conflict_unless_the_winner_is_the_clients_own_newer_write() {
    let mut replica = Replica::new();
    replica.push(&one("x", update(&[("a", "1", 3)])));
    let other = replica.push(&one("y", update(&[("a", "2", 2)])));
    let own = replica.push(&one("x", update(&[("a", "2", 2)])));
    let same_value = replica.push(&one("y", update(&[("a", "1", 2)])));
    let counts = [&other, &own, &same_value]
        .map(|plan| (plan.rows.len(), plan.clashes.len(), plan.corrections.len()));
    assert_eq!(counts, [(0, 1, 1), (0, 0, 1), (0, 0, 1)]);
}

#[test]
fn a_tie_that_is_won_is_corrected_and_goes_out_to_its_writer() {
    let mut replica = Replica::new();
    replica.push(&one("x", update(&[("a", "1", 3)])));
    let plan = replica.push(&one("y", update(&[("a", "0", 3)])));
    assert!(plan.rows[0].to_everyone);
    assert_eq!((plan.clashes.len(), plan.corrections.len()), (0, 1));
}

#[test]
fn an_empty_insert_makes_a_record_once() {
    let mut replica = Replica::new();
    let plan = replica.push(&one("x", insert(&[], 0)));
    assert_eq!((plan.rows.len(), plan.rows[0].opens), (1, true));
    assert!(plan.records[0].inserted.is_some());
    let again = replica.push(&one("y", insert(&[], 5)));
    assert!(again.rows.is_empty() && again.changed.is_empty());
}

#[test]
fn an_update_before_the_insert_opens_the_record() {
    let mut replica = Replica::new();
    let early = replica.push(&one("x", update(&[("a", "1", 3)])));
    let insertion = replica.push(&one("y", insert(&[("a", "0", 2), ("b", "0", 2)], 2)));
    let late = replica.push(&one("x", update(&[("a", "2", 4)])));
    let opens = [&early, &insertion, &late].map(|plan| plan.rows[0].opens);
    assert_eq!(opens, [true, true, false]);
    assert_eq!(insertion.rows[0].fields.len(), 1, "only what it has won");
}

#[test]
fn a_delete_writes_its_time_and_its_fields() {
    let mut replica = Replica::new();
    replica.push(&one("x", insert(&[("a", "1", 1)], 1)));
    let plan = replica.push(&one("x", deletion(&[("a", "2", 2)], 2)));
    assert_eq!((stands(&replica), replica.is_deleted(0)), ("2", true));
    assert_eq!(
        plan.rows[0].op,
        Op::Update,
        "its fields have to travel, too"
    );
    let plan = replica.push(&one("x", deletion(&[], 3)));
    assert_eq!(plan.rows[0].op, Op::Delete);
    assert_eq!(
        replica.value(0, "deletedAt"),
        Some(r#""1970-01-01T00:00:00.003Z""#)
    );
}

#[test]
fn a_delete_without_a_time_gets_that_of_its_receipt() {
    let mut replica = Replica::new();
    replica.push(&one("x", update(&[("a", "1", 1)])));
    let plan = replica.push(&one("y", deletion(&[], 0)));
    assert!(plan.rows[0].undated && plan.ahead.is_empty());
    assert_eq!(replica.at(0, "deletedAt"), Some(replica.now));
}

#[test]
fn a_later_null_undeletes_and_brings_all_fields_along() {
    let mut replica = Replica::new();
    replica.push(&one("x", insert(&[("a", "1", 1), ("b", "1", 1)], 1)));
    replica.push(&one("x", deletion(&[], 3)));
    replica.push(&one("y", update(&[("deletedAt", "null", 2)])));
    assert!(replica.is_deleted(0));
    let plan = replica.push(&one("y", update(&[("deletedAt", "null", 4)])));
    assert!(!replica.is_deleted(0));
    let names: Vec<_> = plan.rows[0]
        .fields
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect();
    assert_eq!(names, ["deletedAt", "a", "b"]);
    let told: Vec<_> = plan.corrections[0]
        .fields
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect();
    assert_eq!(told, ["a", "b"], "its client may lack what others wrote");
}

#[test]
fn an_update_of_a_deleted_record_carries_its_deleted_at() {
    let mut replica = Replica::new();
    replica.push(&one("x", deletion(&[], 3)));
    let plan = replica.push(&one("y", update(&[("a", "1", 5)])));
    let names: Vec<_> = plan.rows[0]
        .fields
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect();
    assert_eq!(names, ["a", "deletedAt"]);
    assert_eq!(plan.dead, Vec::<i64>::new());
}

#[test]
fn a_correction_of_a_deleted_record_carries_its_deleted_at() {
    let mut replica = Replica::new();
    replica.push(&one("x", update(&[("a", "1", 5)])));
    replica.push(&one("x", deletion(&[], 6)));
    let plan = replica.push(&one("y", update(&[("a", "2", 4)])));
    let told: Vec<_> = plan.corrections[0]
        .fields
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect();
    assert_eq!(told, ["a", "deletedAt"]);
}

#[test]
fn after_a_timeless_delete_whoever_writes_is_told_all_that_stands() {
    let mut replica = Replica::new();
    replica.push(&one("x", insert(&[("a", "1", 1), ("b", "1", 1)], 1)));
    replica.push(&one("z", deletion(&[], 0)));
    let deleted = replica.push(&one("x", deletion(&[], 1_500)));
    replica.push(&one("y", update(&[("deletedAt", "null", 1_600)])));
    let live = replica.push(&one("x", update(&[("a", "2", 1_700)])));
    let told = |plan: &Plan| -> Vec<String> {
        let fields = plan.corrections.iter().flat_map(|told| &told.fields);
        fields.map(|(name, ..)| name.as_str().to_owned()).collect()
    };
    assert_eq!(told(&deleted), ["deletedAt"]);
    assert_eq!(told(&live), ["a", "b", "deletedAt"]);
}

#[test]
fn a_record_that_is_undeleted_twice_is_brought_whole_twice() {
    let mut replica = Replica::new();
    replica.push(&one("x", insert(&[("a", "1", 1)], 1)));
    replica.push(&one("x", deletion(&[], 2)));
    for at in [3, 4] {
        let plan = replica.push(&one("y", update(&[("deletedAt", "null", at)])));
        let names: Vec<_> = plan.rows[0]
            .fields
            .iter()
            .map(|(name, ..)| name.as_str())
            .collect();
        assert_eq!(
            names,
            ["deletedAt", "a"],
            "the first row dies of the second"
        );
    }
}

#[test]
fn whoever_inserts_a_deleted_record_is_told_that_it_is_deleted() {
    let mut replica = Replica::new();
    replica.push(&one("x", deletion(&[], 3)));
    for _ in 0..2 {
        let plan = replica.push(&one("y", insert(&[("a", "1", 5)], 5)));
        let told: Vec<_> = plan.corrections[0]
            .fields
            .iter()
            .map(|(name, ..)| name.as_str())
            .collect();
        assert_eq!(told, ["deletedAt"]);
        assert!(
            plan.rows.iter().all(|row| row.to_everyone),
            "its answer may get lost"
        );
    }
}

#[test]
fn a_time_too_far_ahead_becomes_the_time_of_receipt() {
    let mut replica = Replica::new();
    let plan = replica.push(&one("x", change(Op::Update, &[("a", "1", 1_900)])));
    assert_eq!(
        (plan.ahead.len(), replica.at(0, "a")),
        (0, Some(1_900)),
        "within the skew"
    );
    let plan = replica.push(&one("x", update(&[("a", "2", 50_000), ("b", "2", 1)])));
    assert_eq!(
        (plan.ahead, replica.at(0, "a"), stands(&replica)),
        (vec![0], Some(1_900), "1")
    );
    replica.now = 1_950;
    replica.push(&one("x", update(&[("a", "3", 50_001)])));
    assert_eq!((replica.at(0, "a"), stands(&replica)), (Some(1_950), "3"));
}

#[test]
fn a_write_whose_time_the_server_gave_does_not_beat_what_came_between() {
    let ahead = one("x", update(&[("a", "1", 50_000)]));
    let mut replica = Replica::new();
    replica.push(&ahead);
    replica.now += 10;
    replica.push(&one("y", update(&[("a", "2", 1_005)])));
    for later in [0, 10, 60_000] {
        replica.now += later;
        assert!(replica.push(&ahead).rows.is_empty());
        assert_eq!(stands(&replica), "2");
    }
    replica.push(&one("x", update(&[("a", "3", 50_002)])));
    assert_eq!(stands(&replica), "3", "a new write is no retry");
}

#[test]
fn a_timeless_delete_sent_again_does_not_undo_an_undelete() {
    let delete = one("x", deletion(&[], 0));
    let mut replica = Replica::new();
    replica.push(&delete);
    replica.push(&one("y", update(&[("deletedAt", "null", replica.now + 5)])));
    replica.now += 100;
    assert!(replica.push(&delete).rows.is_empty());
    assert!(!replica.is_deleted(0));
}

#[test]
fn a_push_that_was_overtaken_does_not_beat_the_newer_write_of_its_client() {
    // Two tabs: the second push has both writes and arrives first; the server gives them one time.
    let (older, newer) = (update(&[("a", "9", 50_000)]), update(&[("a", "1", 50_001)]));
    let mut replica = Replica::new();
    replica.push(&Pushed {
        client: "x",
        edits: vec![(0, older.clone()), (0, newer)],
    });
    assert_eq!(stands(&replica), "1");
    for later in [0, 60_000] {
        replica.now += later;
        assert!(replica.push(&one("x", older.clone())).rows.is_empty());
        assert_eq!(stands(&replica), "1");
    }
}

#[test]
fn a_full_push_of_writes_ahead_of_the_server_is_no_news_later() {
    let edits = (0..200_i64).map(|place| {
        (
            0,
            update(&[("a", if place % 2 == 0 { "9" } else { "1" }, 50_000 + place)]),
        )
    });
    let push = Pushed {
        client: "x",
        edits: edits.collect(),
    };
    let mut replica = Replica::new();
    replica.push(&push);
    replica.now += 10;
    replica.push(&one("y", update(&[("a", "2", 1_005)])));
    replica.now += 60_000;
    assert!(replica.push(&push).rows.is_empty());
    assert_eq!(stands(&replica), "2");
}
