//! What waits to be sent.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use sync_notify::{News, Notice, Outbox};

use crate::support::{Alarm, app, at_once, by, notice, table, to_space, to_user, user};

/// The most that waits, of each kind.
const MAX_WAITING: usize = 10_000;
/// The most tables of one notice.
const MAX_TABLES: usize = 1_000;

fn taken(outbox: &Outbox) -> Vec<News> {
    at_once(outbox.take()).unwrap_or_default()
}

fn put(outbox: &Outbox, notice: Notice) {
    outbox.put(News::Changes(notice));
}

/// A notice for ann of so many tables, from this one on.
fn several(first: usize, count: usize) -> Notice {
    Notice {
        tables: (first..first + count)
            .map(|number| table(&format!("t{number}")))
            .collect(),
        ..notice(to_user("ann"), &[])
    }
}

#[test]
fn notices_of_one_audience_app_and_writer_are_merged() {
    let outbox = Outbox::default();
    for (position, name) in [(5, "a"), (9, "b"), (7, "c"), (8, "a")] {
        let writer = by("ann", "phone");
        put(
            &outbox,
            Notice {
                position,
                writer,
                ..notice(to_user("ann"), &[name])
            },
        );
    }
    let merged = Notice {
        position: 9,
        writer: by("ann", "phone"),
        ..notice(to_user("ann"), &["a", "b", "c"])
    };
    assert_eq!(taken(&outbox), [News::Changes(merged)]);
    assert_eq!(taken(&outbox), []);
    assert_eq!(outbox.lost(), 0);
}

#[test]
fn what_differs_in_audience_app_or_writer_stays_apart() {
    let outbox = Outbox::default();
    let one = notice(to_user("ann"), &["t"]);
    let all = [
        one.clone(),
        Notice {
            audience: to_space("ann"),
            ..one.clone()
        },
        Notice {
            audience: to_user("bob"),
            ..one.clone()
        },
        Notice {
            app: app("other"),
            ..one.clone()
        },
        Notice {
            writer: by("ann", ""),
            ..one.clone()
        },
        Notice {
            writer: by("ann", "phone"),
            ..one.clone()
        },
        Notice {
            writer: by("bob", "phone"),
            ..one
        },
    ];
    all.iter().for_each(|notice| put(&outbox, notice.clone()));
    let out = taken(&outbox);
    assert_eq!(out.len(), all.len());
    for notice in all {
        assert!(out.contains(&News::Changes(notice)));
    }
}

#[test]
fn a_change_of_access_waits_once_and_goes_first() {
    let outbox = Outbox::default();
    put(&outbox, notice(to_user("ann"), &["t"]));
    outbox.put(News::Access(user("ann")));
    outbox.put(News::Access(user("ann")));
    let expected = [
        News::Access(user("ann")),
        News::Changes(notice(to_user("ann"), &["t"])),
    ];
    assert_eq!(taken(&outbox), expected);
}

#[test]
fn notices_beyond_the_bound_are_lost_and_counted_and_what_waits_is_merged_still() {
    let outbox = Outbox::default();
    let to = |number: usize, name: &str| notice(to_user(&format!("u{number}")), &[name]);
    (0..MAX_WAITING + 3).for_each(|number| put(&outbox, to(number, "a")));
    put(&outbox, to(0, "b"));
    assert_eq!(outbox.lost(), 3);
    let out = taken(&outbox);
    assert_eq!(out.len(), MAX_WAITING);
    let merged = notice(to_user("u0"), &["a", "b"]);
    assert!(out.contains(&News::Changes(merged)));
    put(&outbox, to(MAX_WAITING, "a"));
    assert_eq!(taken(&outbox).len(), 1, "there is room again");
    assert_eq!(outbox.lost(), 3);
}

#[test]
fn changes_of_access_beyond_the_bound_are_lost_and_counted() {
    let outbox = Outbox::default();
    for number in 0..MAX_WAITING + 2 {
        outbox.put(News::Access(user(&format!("u{number}"))));
    }
    assert_eq!(outbox.lost(), 2);
    outbox.put(News::Access(user("u0")));
    assert_eq!(outbox.lost(), 2, "it waits already");
    put(&outbox, notice(to_user("ann"), &["t"]));
    assert_eq!(taken(&outbox).len(), MAX_WAITING + 1);
}

#[test]
fn a_notice_has_so_many_tables_and_the_same_ones_again_are_no_more() {
    let outbox = Outbox::default();
    put(&outbox, several(0, MAX_TABLES));
    put(&outbox, several(0, MAX_TABLES));
    put(&outbox, several(500, 400));
    assert_eq!(outbox.lost(), 0);
    put(&outbox, several(MAX_TABLES, 1));
    assert_eq!(outbox.lost(), 1);
    assert_eq!(taken(&outbox), [News::Changes(several(0, MAX_TABLES))]);
    put(&outbox, several(0, MAX_TABLES + 1));
    assert_eq!(outbox.lost(), 2);
    assert_eq!(taken(&outbox), []);
}

#[test]
fn a_taker_that_is_woken_and_gives_up_has_taken_nothing() {
    let outbox = Outbox::default();
    {
        let alarm = Arc::new(Alarm::default());
        let waker = Waker::from(Arc::clone(&alarm));
        let mut taker = pin!(outbox.take());
        let mut context = Context::from_waker(&waker);
        assert!(taker.as_mut().poll(&mut context).is_pending());
        outbox.put(News::Access(user("ann")));
        assert!(alarm.rang());
    }
    assert_eq!(taken(&outbox), [News::Access(user("ann"))]);
}
