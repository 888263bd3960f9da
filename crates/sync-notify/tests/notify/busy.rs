//! What waits for a listener that is busy: nothing is dropped, and it is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use sync_notify::{Hub, Listener, MAX_TABLES, News, Notice, Waiting};
use sync_protocol::{AppId, TableName};

use crate::support::{Alarm, announce, app, listens, notice, table, to_user, told, user};

/// What may happen to a listener.
#[derive(Clone, Debug)]
enum Act {
    /// It is told of so many tables of an app, from this one on.
    Tell(u8, u16, u16),
    /// What its user may see changes.
    Access,
    /// It begins to wait.
    Wait,
    /// It gives up waiting.
    GiveUp,
    /// It takes what there is.
    Take,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, 0..40_u16, 1..4_u16).prop_map(|(app, first, count)| Act::Tell(app, first, count)),
        1 => (0..3_u8, 0..1_500_u16, 1..600_u16).prop_map(|(app, first, count)| Act::Tell(app, first, count)),
        1 => Just(Act::Access),
        2 => Just(Act::Wait),
        2 => Just(Act::GiveUp),
        2 => Just(Act::Take),
    ]
}

/// What should be waiting, without a bound.
#[derive(Debug, Default)]
struct Expected {
    names: BTreeSet<(AppId, TableName)>,
    access: bool,
}

impl Expected {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.access
    }

    /// Compares with what was taken, and forgets it. That access has changed comes alone, and first.
    fn check(&mut self, taken: Option<Waiting>) {
        if std::mem::take(&mut self.access) {
            let access = Waiting {
                access: true,
                ..Waiting::default()
            };
            assert_eq!(taken, Some(access));
            return;
        }
        let expected = std::mem::take(self);
        let Some(taken) = taken else {
            assert!(expected.is_empty(), "{expected:?} is not told");
            return;
        };
        assert!(!expected.is_empty(), "told of nothing");
        assert!(!taken.access);
        assert!(taken.tables.values().all(|tables| !tables.is_empty()));
        let pairs = taken.tables.into_iter();
        let names: BTreeSet<_> = pairs
            .flat_map(|(app, tables)| tables.into_iter().map(move |table| (app.clone(), table)))
            .collect();
        assert_eq!(taken.overflowed, expected.names.len() > MAX_TABLES);
        if taken.overflowed {
            assert_eq!(names.len(), MAX_TABLES);
            assert!(names.is_subset(&expected.names));
        } else {
            assert_eq!(names, expected.names);
        }
    }
}

/// A wait that has begun, and what is rung when it is over.
type Wait<'a> = (Pin<Box<dyn Future<Output = Waiting> + 'a>>, Arc<Alarm>);

/// Begins to wait; what there is already comes at once.
fn begin(listener: &Listener) -> Result<Waiting, Wait<'_>> {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    let mut future = Box::pin(listener.waiting());
    match future.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(taken) => Ok(taken),
        Poll::Pending => Err((future, alarm)),
    }
}

fn several(app_number: u8, first: u16, count: u16, position: i64) -> Notice {
    Notice {
        app: app(&format!("app-{app_number}")),
        tables: (first..first + count)
            .map(|number| table(&format!("t{number}")))
            .collect(),
        position,
        ..notice(to_user("ann"), &[])
    }
}

/// Plays acts on one listener, with at most one wait at a time, that is begun, woken, given up or served.
fn play(acts: &[Act]) {
    let hub = Hub::new(1);
    let listener = listens(&hub, "ann");
    let mut expected = Expected::default();
    let mut wait: Option<Wait<'_>> = None;
    for (position, act) in (1..).zip(acts) {
        match act {
            Act::Tell(app, first, count) => {
                let notice = several(*app, *first, *count, position);
                let names = notice.tables.iter();
                let names = names.map(|table| (notice.app.clone(), table.clone()));
                expected.names.extend(names);
                announce(&hub, notice);
            }
            Act::Access => {
                expected.access = true;
                hub.hear(News::Access(user("ann")));
            }
            Act::Wait => {
                drop(wait.take());
                match begin(&listener) {
                    Ok(taken) => expected.check(Some(taken)),
                    Err(begun) => {
                        assert!(expected.is_empty(), "{expected:?} is not told");
                        wait = Some(begun);
                    }
                }
            }
            Act::GiveUp => wait = None,
            Act::Take => {
                wait = None;
                expected.check(told(&listener));
            }
        }
        if let Some((_, alarm)) = &wait {
            let woken = alarm.rang();
            assert_eq!(woken, !expected.is_empty(), "woken when there is something");
        }
    }
    drop(wait);
    while !expected.is_empty() {
        expected.check(told(&listener));
    }
    assert_eq!(told(&listener), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_taken_is_what_was_told_whatever_comes_between(acts in prop::collection::vec(act(), 0..60)) {
        play(&acts);
    }
}

#[test]
fn a_wait_that_is_woken_and_then_given_up_has_taken_nothing() {
    play(&[Act::Wait, Act::Tell(0, 0, 2), Act::GiveUp, Act::Take]);
    play(&[
        Act::Wait,
        Act::Access,
        Act::GiveUp,
        Act::Tell(0, 0, 1),
        Act::Wait,
    ]);
}

#[test]
fn names_are_bounded_over_all_apps_and_the_flag_says_that_some_are_missing() {
    let limit = u16::try_from(MAX_TABLES).unwrap();
    let hub = Hub::new(1);
    let ann = listens(&hub, "ann");
    let tell = |notice| hub.find(vec![notice]);
    tell(several(0, 0, limit - 1, 1));
    tell(several(1, 0, 1, 2));
    tell(several(0, 0, limit - 1, 3));
    let waiting = told(&ann).unwrap();
    let count = |waiting: &Waiting| waiting.tables.values().map(BTreeSet::len).sum::<usize>();
    assert_eq!((count(&waiting), waiting.overflowed), (MAX_TABLES, false));

    tell(several(0, 0, limit, 4));
    tell(several(1, 0, 1, 5));
    let waiting = told(&ann).unwrap();
    assert_eq!((count(&waiting), waiting.overflowed), (MAX_TABLES, true));
    let only_app: BTreeMap<_, _> = [(app("app-0"), several(0, 0, limit, 0).tables)].into();
    assert_eq!(waiting.tables, only_app);
    assert_eq!(told(&ann), None, "and then it is idle again");
}
