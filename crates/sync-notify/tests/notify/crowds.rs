//! Many threads at once.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sync_notify::{Figures, Hub, News, Notice, Outbox};
use tokio::time::timeout;

use crate::support::{
    announce, everything, listens, notice, space, table, to_space, to_user, user,
};

/// How long anything may take that must happen.
const LIMIT: Duration = Duration::from_secs(60);
const WRITERS: usize = 4;
const TABLES: usize = 250;

fn written(writer: usize, number: usize) -> Notice {
    Notice {
        tables: [table(&format!("t{writer}-{number}"))].into(),
        position: i64::try_from(number).unwrap() + 1,
        ..notice(to_user("ann"), &[])
    }
}

fn all_tables() -> BTreeSet<String> {
    (0..WRITERS)
        .flat_map(|writer| (0..TABLES).map(move |number| format!("t{writer}-{number}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_gives_up_waiting_again_and_again_hears_all_that_many_threads_tell() {
    let hub = Hub::new(10);
    let listener = listens(&hub, "ann");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let hub = hub.clone();
            thread::spawn(move || {
                (0..TABLES).for_each(|number| announce(&hub, written(writer, number)))
            })
        })
        .collect();
    let mut heard = BTreeSet::new();
    let hears_all = async {
        while heard.len() < WRITERS * TABLES {
            // Most of these end before there is anything.
            let waited = timeout(Duration::from_micros(1), listener.waiting()).await;
            let waiting = match waited {
                Ok(waiting) => waiting,
                Err(_) => listener.waiting().await,
            };
            assert!(!waiting.overflowed);
            heard.extend(
                waiting
                    .tables
                    .into_values()
                    .flatten()
                    .map(|name| name.to_string()),
            );
        }
    };
    timeout(LIMIT, hears_all)
        .await
        .expect("all is heard in time");
    assert_eq!(heard, all_tables());
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
}

#[test]
fn listeners_that_come_and_go_while_they_are_told_leave_nothing_behind() {
    let hub = Hub::new(100);
    thread::scope(|threads| {
        for number in 0..WRITERS {
            let hub = &hub;
            threads.spawn(move || {
                for round in 0..200 {
                    let mut listener = listens(hub, ["ann", "bob"][round % 2]);
                    listener.set_spaces([space("red"), space(&format!("s{number}"))].into());
                    announce(hub, written(number, round));
                    announce(hub, notice(to_space("red"), &["t"]));
                    listener.set_spaces([space("red")].into());
                }
            });
        }
    });
    let figures = hub.figures();
    assert_eq!((figures.connections, figures.users), (0, 0));
    announce(&hub, notice(to_user("ann"), &["last"]));
    assert_eq!(hub.figures().woken, figures.woken);
}

#[test]
fn a_user_that_comes_from_many_threads_at_once_gets_its_seats_and_no_more() {
    const SEATS: usize = 5;
    const COMERS: usize = 16;
    for _ in 0..50 {
        let hub = Hub::new(SEATS);
        let (start, seated) = (Barrier::new(COMERS), Barrier::new(COMERS));
        let seats = AtomicUsize::new(0);
        thread::scope(|threads| {
            for _ in 0..COMERS {
                threads.spawn(|| {
                    start.wait();
                    let listener = hub.listen(everything("ann"));
                    seats.fetch_add(usize::from(listener.is_ok()), Ordering::Relaxed);
                    seated.wait();
                });
            }
        });
        assert_eq!(seats.into_inner(), SEATS);
        assert_eq!(hub.figures(), Figures::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_gives_all_that_many_threads_put() {
    let outbox = std::sync::Arc::new(Outbox::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let outbox = outbox.clone();
            thread::spawn(move || {
                for number in 0..TABLES {
                    outbox.put(News::Changes(written(writer, number)));
                    let user = user(&format!("u{writer}-{number}"));
                    outbox.put(News::Access(user.clone()));
                    outbox.put(News::Gone(user));
                }
            })
        })
        .collect();
    let (mut tables, mut users, mut gone) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let all = WRITERS * TABLES;
    let takes_all = async {
        while tables.len() < all || users.len() < all || gone.len() < all {
            let taken = timeout(Duration::from_micros(1), outbox.take()).await;
            for news in taken.unwrap_or_default() {
                match news {
                    News::Access(user) => assert!(users.insert(user), "once"),
                    News::Gone(user) => assert!(gone.insert(user), "once"),
                    News::Changes(notice) => {
                        tables.extend(notice.tables.iter().map(ToString::to_string));
                    }
                }
            }
        }
    };
    timeout(LIMIT, takes_all)
        .await
        .expect("all is taken in time");
    assert_eq!(tables, all_tables());
    assert_eq!(outbox.lost(), 0);
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
}
