//! Who is told of what.

use std::collections::{BTreeMap, BTreeSet};

use sync_notify::{Crowded, Figures, Hub, Interest, News, Waiting};
use sync_protocol::{ClientId, Tables};

use crate::support::{
    announce, app, at_once, by, everything, listens, listens_as, notice, space, tables, to_space,
    to_user, told, told_tables, user,
};

#[test]
fn a_notice_for_a_user_reaches_all_its_listeners_and_nobody_else() {
    let hub = Hub::new(10);
    let (one, two) = (listens(&hub, "ann"), listens(&hub, "ann"));
    let mut bob = listens(&hub, "bob");
    // A space is no user, whatever its name.
    bob.set_spaces(BTreeSet::from([space("ann")]));
    announce(&hub, notice(to_user("ann"), &["a", "b"]));
    assert_eq!(told_tables(&one), ["a", "b"]);
    assert_eq!(told_tables(&two), ["a", "b"]);
    assert_eq!(told(&bob), None);
    assert_eq!(told(&one), None, "told once");
}

#[test]
fn a_notice_for_a_space_reaches_those_who_listen_to_it() {
    let hub = Hub::new(10);
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| listens(&hub, name));
    ann.set_spaces(BTreeSet::from([space("red"), space("blue")]));
    bob.set_spaces(BTreeSet::from([space("blue")]));
    announce(&hub, notice(to_space("red"), &["r"]));
    announce(&hub, notice(to_space("blue"), &["b"]));
    announce(&hub, notice(to_user("red"), &["x"]));
    assert_eq!(told_tables(&ann), ["b", "r"]);
    assert_eq!(told_tables(&bob), ["b"]);
}

#[test]
fn spaces_are_joined_and_left_as_a_whole() {
    let hub = Hub::new(10);
    let mut ann = listens(&hub, "ann");
    let mut bob = listens(&hub, "bob");
    bob.set_spaces(BTreeSet::from([space("red")]));
    assert_eq!(ann.spaces(), &BTreeSet::new());
    let steps: [(&[&str], &[&str]); 5] = [
        (&["red", "blue"], &["blue", "red"]),
        (&["blue", "green"], &["blue", "green"]),
        (&["green"], &["green"]),
        (&["green"], &["green"]),
        (&[], &[]),
    ];
    for (position, (spaces, expected)) in (1..).zip(steps) {
        let spaces: BTreeSet<_> = spaces.iter().map(|name| space(name)).collect();
        ann.set_spaces(spaces.clone());
        assert_eq!(ann.spaces(), &spaces);
        for name in ["red", "blue", "green"] {
            let mut notice = notice(to_space(name), &[name]);
            notice.position = position;
            announce(&hub, notice);
        }
        assert_eq!(told_tables(&ann), expected);
        assert_eq!(told_tables(&bob), ["red"]);
    }
}

#[test]
fn a_listener_of_one_app_or_of_some_tables_hears_of_no_others() {
    let hub = Hub::new(10);
    let all = listens(&hub, "ann");
    let listen = |app: Option<&str>, only: &[&str]| {
        let interest = Interest {
            app: app.map(crate::support::app),
            tables: Tables::Only(tables(only)),
            ..everything("ann")
        };
        hub.listen(interest).unwrap()
    };
    let one_app = hub
        .listen(Interest {
            app: Some(app("app")),
            ..everything("ann")
        })
        .unwrap();
    let some = listen(None, &["a", "c"]);
    let elsewhere = listen(Some("other"), &["a"]);
    let nothing = listen(None, &[]);

    announce(&hub, notice(to_user("ann"), &["a", "b"]));
    let mut of_other = notice(to_user("ann"), &["c"]);
    of_other.app = app("other");
    announce(&hub, of_other);

    let expected = |apps: &[(&str, &[&str])]| Waiting {
        tables: apps
            .iter()
            .map(|(name, names)| (app(name), tables(names)))
            .collect(),
        ..Waiting::default()
    };
    let both = expected(&[("app", &["a", "b"]), ("other", &["c"])]);
    assert_eq!(told(&all), Some(both));
    assert_eq!(told(&one_app), Some(expected(&[("app", &["a", "b"])])));
    let parts = expected(&[("app", &["a"]), ("other", &["c"])]);
    assert_eq!(told(&some), Some(parts));
    assert_eq!(told(&elsewhere), None);
    assert_eq!(told(&nothing), None);
}

#[test]
fn a_client_does_not_hear_its_own_echo() {
    let hub = Hub::new(10);
    let [writer, other] = ["phone", "laptop"].map(|client| listens_as(&hub, "ann", client));
    let nameless = listens(&hub, "ann");
    let mut namesake = listens_as(&hub, "bob", "phone");
    namesake.set_spaces(BTreeSet::from([space("red")]));
    let mut member = listens_as(&hub, "ann", "phone");
    member.set_spaces(BTreeSet::from([space("red")]));

    let mut own = notice(to_user("ann"), &["own"]);
    own.writer = by("ann", "phone");
    announce(&hub, own);
    assert_eq!(told(&writer), None);
    assert_eq!(told(&member), None);
    assert_eq!(told_tables(&other), ["own"]);
    assert_eq!(told_tables(&nameless), ["own"]);

    let mut shared = notice(to_space("red"), &["shared"]);
    shared.writer = by("ann", "phone");
    announce(&hub, shared);
    assert_eq!(told(&member), None);
    assert_eq!(told_tables(&namesake), ["shared"]);
}

#[test]
fn a_client_without_a_name_is_never_left_out() {
    let hub = Hub::new(10);
    let [nameless, other] = ["", "laptop"].map(|client| listens_as(&hub, "ann", client));
    let mut written = notice(to_user("ann"), &["t"]);
    written.writer = by("ann", "");
    announce(&hub, written);
    assert_eq!(told_tables(&nameless), ["t"]);
    assert_eq!(told_tables(&other), ["t"]);
}

#[test]
fn the_client_that_counts_is_the_one_set_last() {
    let hub = Hub::new(10);
    let listener = listens_as(&hub, "ann", "phone");
    let tell = |client: &str, position: i64| {
        let mut written = notice(to_user("ann"), &[client]);
        written.writer = by("ann", client);
        written.position = position;
        announce(&hub, written);
    };
    listener.set_client(Some(ClientId::new("laptop").unwrap()));
    ["phone", "laptop"]
        .iter()
        .for_each(|client| tell(client, 1));
    assert_eq!(told_tables(&listener), ["phone"]);
    listener.set_client(None);
    ["phone", "laptop"]
        .iter()
        .for_each(|client| tell(client, 2));
    assert_eq!(told_tables(&listener), ["laptop", "phone"]);
}

#[test]
fn a_change_of_access_reaches_every_connection_of_that_user() {
    let hub = Hub::new(10);
    let narrow = Interest {
        app: Some(app("app")),
        tables: Tables::Only(BTreeSet::new()),
        ..everything("ann")
    };
    let ann = [hub.listen(narrow).unwrap(), listens(&hub, "ann")];
    let bob = listens(&hub, "bob");
    hub.hear(News::Access(user("ann")));
    let expected = Waiting {
        access: true,
        ..Waiting::default()
    };
    for listener in ann {
        assert_eq!(told(&listener).as_ref(), Some(&expected));
        assert_eq!(told(&listener), None);
    }
    assert_eq!(told(&bob), None);
}

#[test]
fn that_a_user_is_gone_is_all_that_its_connections_hear_from_then_on() {
    let hub = Hub::new(10);
    let (ann, bob) = (listens(&hub, "ann"), listens(&hub, "bob"));
    hub.hear(News::Access(user("ann")));
    announce(&hub, notice(to_user("ann"), &["t"]));
    assert!(!ann.is_gone());
    hub.hear(News::Gone(user("ann")));
    let expected = Waiting {
        gone: true,
        ..Waiting::default()
    };
    for _ in 0..2 {
        assert_eq!(told(&ann).as_ref(), Some(&expected));
    }
    assert!(ann.is_gone() && !bob.is_gone());
    assert_eq!(told(&bob), None);
    assert!(
        !listens(&hub, "ann").is_gone(),
        "whoever comes later is new"
    );
}

#[test]
fn what_another_node_tells_is_told_like_what_this_one_does() {
    let hub = Hub::new(10);
    let ann = listens(&hub, "ann");
    hub.hear(News::Changes(notice(to_user("ann"), &["t"])));
    assert_eq!(told_tables(&ann), ["t"]);
}

#[test]
fn a_user_has_so_many_seats_and_no_more_and_a_seat_is_free_when_its_listener_goes() {
    let hub = Hub::new(2);
    let mut first = listens_as(&hub, "ann", "phone");
    // Neither a space, nor another client or app, is a second way in.
    first.set_spaces(BTreeSet::from([space("red")]));
    let second = listens(&hub, "ann");
    let other_app = Interest {
        app: Some(app("other")),
        client: Some(ClientId::new("laptop").unwrap()),
        ..everything("ann")
    };
    assert_eq!(hub.listen(other_app.clone()).unwrap_err(), Crowded);
    assert_eq!(
        hub.figures().connections,
        2,
        "who was refused is not counted"
    );
    let bob = listens(&hub, "bob");

    first.set_spaces(BTreeSet::new());
    assert_eq!(hub.listen(other_app.clone()).unwrap_err(), Crowded);
    drop(second);
    let third = hub.listen(other_app.clone()).unwrap();
    assert_eq!(hub.listen(other_app).unwrap_err(), Crowded);
    drop((first, third, bob));
    assert_eq!(hub.figures(), Figures::default());
}

#[test]
fn a_hub_without_seats_takes_nobody() {
    let hub = Hub::new(0);
    assert_eq!(hub.listen(everything("ann")).unwrap_err(), Crowded);
    assert_eq!(hub.figures(), Figures::default());
}

#[test]
fn a_listener_let_go_is_told_and_counted_no_more() {
    let hub = Hub::new(10);
    let mut ann = listens(&hub, "ann");
    ann.set_spaces(BTreeSet::from([space("red"), space("blue")]));
    let bob = listens(&hub, "bob");
    let second = listens(&hub, "bob");
    let figures = hub.figures();
    assert_eq!((figures.connections, figures.users), (3, 2));
    drop(second);
    let figures = hub.figures();
    assert_eq!((figures.connections, figures.users), (2, 2));
    drop((ann, bob));
    for audience in [to_user("ann"), to_space("red"), to_space("blue")] {
        announce(&hub, notice(audience, &["t"]));
    }
    assert_eq!(hub.figures(), Figures::default());
}

#[test]
fn figures_tell_who_was_woken_and_for_whom_it_was_merged() {
    let hub = Hub::new(10);
    let [idle, busy] = ["phone", "laptop"].map(|client| listens_as(&hub, "ann", client));
    let mut first = notice(to_user("ann"), &["a"]);
    first.writer = by("ann", "phone");
    announce(&hub, first);
    announce(&hub, notice(to_user("ann"), &["b"]));
    hub.hear(News::Access(user("ann")));
    let figures = hub.figures();
    assert_eq!((figures.woken, figures.merged), (2, 3));
    for (listener, names) in [(idle, &["b"][..]), (busy, &["a", "b"])] {
        let access = Waiting {
            access: true,
            ..Waiting::default()
        };
        assert_eq!(told(&listener), Some(access), "it comes alone, and first");
        let changes = Waiting {
            tables: BTreeMap::from([(app("app"), tables(names))]),
            ..Waiting::default()
        };
        assert_eq!(told(&listener), Some(changes));
    }
}

#[test]
fn what_waits_of_a_space_is_forgotten_when_it_is_left_and_nothing_else_is() {
    let hub = Hub::new(10);
    let mut ann = listens(&hub, "ann");
    let spaces = ["left", "kept"].map(space);
    ann.set_spaces(spaces.clone().into());
    announce(&hub, notice(to_space("left"), &["secret", "both"]));
    announce(&hub, notice(to_space("kept"), &["shared", "both"]));
    announce(&hub, notice(to_user("ann"), &["own"]));
    hub.hear(News::Access(user("ann")));
    assert!(told(&ann).unwrap().access);
    ann.set_spaces([space("kept")].into());
    assert_eq!(told_tables(&ann), ["both", "own", "shared"]);
    // Left with nothing else waiting, it is idle again, and woken by what comes next.
    announce(&hub, notice(to_space("kept"), &["shared"]));
    ann.set_spaces([].into());
    assert_eq!(told(&ann), None);
    announce(&hub, notice(to_user("ann"), &["own"]));
    assert_eq!(told_tables(&ann), ["own"]);
}

#[test]
fn a_look_is_wanted_once_however_much_may_have_been_missed() {
    let hub = Hub::new(10);
    assert_eq!(at_once(hub.look_wanted()), None);
    hub.may_have_missed();
    hub.may_have_missed();
    assert_eq!(at_once(hub.look_wanted()), Some(()), "nobody waited for it");
    assert_eq!(at_once(hub.look_wanted()), None);
}

#[test]
fn debug_output_of_a_listener_is_its_user_and_spaces() {
    let hub = Hub::new(10);
    let mut ann = listens(&hub, "ann");
    ann.set_spaces(BTreeSet::from([space("red")]));
    let text = format!("{ann:?}");
    assert_eq!(text, r#"Listener { user: "ann", spaces: {"red"}, .. }"#);
}
