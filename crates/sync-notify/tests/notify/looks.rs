//! What a look at the log tells: what no notice has.

use std::sync::Arc;

use sync_notify::{Hub, Notice};

use crate::support::{
    announce, app, by, listens, listens_as, notice, space, to_space, to_user, told, told_tables,
};

/// A look that finds this, and up to here settles the log.
fn look(hub: &Hub, notices: Vec<Notice>, floor: i64) {
    hub.find(notices);
    hub.looked(floor, 100);
}

/// A hub of a node that looks at the log, and has done so once.
fn looking_hub() -> Arc<Hub> {
    let hub = Hub::new(10);
    look(&hub, Vec::new(), 0);
    hub
}

fn at(position: i64, names: &[&str]) -> Notice {
    Notice {
        position,
        ..notice(to_user("ann"), names)
    }
}

#[test]
fn a_look_does_not_tell_again_what_a_notice_has_told() {
    let hub = looking_hub();
    let ann = listens(&hub, "ann");
    announce(&hub, at(5, &["a"]));
    assert_eq!(told_tables(&ann), ["a"]);
    look(&hub, vec![at(4, &["a"]), at(5, &["a"])], 0);
    assert_eq!(told(&ann), None);
    let figures = hub.figures();
    assert_eq!((figures.found, figures.looks), (0, 2));
}

#[test]
fn a_look_tells_what_no_notice_has_told_and_tells_it_once() {
    let hub = looking_hub();
    let ann = listens(&hub, "ann");
    announce(&hub, at(5, &["a"]));
    assert_eq!(told_tables(&ann), ["a"]);
    look(&hub, vec![at(5, &["a", "b"])], 0);
    assert_eq!(told_tables(&ann), ["b"]);
    look(&hub, vec![at(6, &["a"]), at(5, &["b"])], 0);
    assert_eq!(told_tables(&ann), ["a"]);
    look(&hub, vec![at(6, &["a"]), at(5, &["b"])], 0);
    assert_eq!(told(&ann), None);
    let figures = hub.figures();
    assert_eq!((figures.found, figures.looks), (2, 4));
}

#[test]
fn a_notice_that_comes_after_the_look_is_not_told_again_either() {
    let hub = looking_hub();
    let ann = listens(&hub, "ann");
    look(&hub, vec![at(5, &["a"])], 0);
    assert_eq!(told_tables(&ann), ["a"]);
    announce(&hub, at(5, &["a"]));
    assert_eq!(told(&ann), None);
}

#[test]
fn each_audience_app_and_table_counts_for_itself() {
    let hub = looking_hub();
    let mut ann = listens(&hub, "ann");
    ann.set_spaces([space("ann")].into());
    announce(&hub, at(5, &["a"]));
    assert_eq!(told_tables(&ann), ["a"]);
    look(&hub, vec![at(4, &["b"])], 0);
    assert_eq!(told_tables(&ann), ["b"]);
    let mut elsewhere = at(4, &["a"]);
    elsewhere.audience = to_space("ann");
    look(&hub, vec![elsewhere], 0);
    assert_eq!(told_tables(&ann), ["a"]);
    let mut other = at(4, &["a"]);
    other.app = app("other");
    look(&hub, vec![other], 0);
    assert!(told(&ann).is_some());
}

#[test]
fn a_notice_of_one_writer_hides_no_unheard_change_of_another_from_the_first_ones_connections() {
    let hub = looking_hub();
    let [first, second] = ["tab-a", "tab-b"].map(|client| listens_as(&hub, "ann", client));
    let written = |client: &str, position: i64| Notice {
        writer: by("ann", client),
        ..at(position, &["t"])
    };
    announce(&hub, written("tab-b", 10));
    assert_eq!(told_tables(&first), ["t"]);
    assert_eq!(told(&second), None, "its own");

    // The change of the other tab came before, and its notice was lost.
    look(&hub, vec![written("tab-a", 8), written("tab-b", 10)], 0);
    assert_eq!(told_tables(&second), ["t"]);
    assert_eq!(told(&first), None);
    assert_eq!(hub.figures().found, 1);

    // A change that nobody in particular wrote counts for itself, too.
    look(&hub, vec![at(7, &["t"])], 0);
    assert_eq!(told_tables(&first), ["t"]);
    assert_eq!(told_tables(&second), ["t"]);
}

#[test]
fn what_is_above_the_floor_stays_told() {
    let hub = looking_hub();
    let ann = listens(&hub, "ann");
    look(&hub, vec![at(5, &["a"]), at(7, &["b"])], 5);
    assert_eq!(told_tables(&ann), ["a", "b"]);
    look(&hub, vec![at(7, &["b"])], 7);
    assert_eq!(told(&ann), None);
    // At or below the floor nobody remembers: told rather than not.
    announce(&hub, at(7, &["b"]));
    assert_eq!(told_tables(&ann), ["b"]);
    announce(&hub, at(8, &["b"]));
    assert_eq!(told_tables(&ann), ["b"]);
}

#[test]
fn a_position_that_cannot_be_hides_no_change() {
    let hub = looking_hub();
    let ann = listens(&hub, "ann");
    announce(&hub, at(i64::MAX, &["a"]));
    assert_eq!(told_tables(&ann), ["a"]);
    announce(&hub, at(5, &["a"]));
    assert_eq!(told_tables(&ann), ["a"]);
    look(&hub, vec![at(6, &["a"])], 0);
    assert_eq!(told_tables(&ann), ["a"]);
}

#[test]
fn after_a_look_that_failed_everything_is_told_again() {
    let hub = looking_hub();
    let ann = listens(&hub, "ann");
    announce(&hub, at(5, &["a"]));
    assert_eq!(told_tables(&ann), ["a"]);
    hub.look_failed();
    look(&hub, vec![at(4, &["a"])], 0);
    assert_eq!(told_tables(&ann), ["a"]);
}

#[test]
fn a_look_that_failed_is_counted() {
    let hub = looking_hub();
    hub.look_failed();
    let figures = hub.figures();
    assert_eq!((figures.looks, figures.failed_looks), (1, 1));
}

#[test]
fn a_node_that_never_looks_remembers_nothing_and_tells_everything() {
    let hub = Hub::new(10);
    let ann = listens(&hub, "ann");
    for position in [5, 5, 4] {
        announce(&hub, at(position, &["a"]));
        assert_eq!(told_tables(&ann), ["a"]);
    }
}
