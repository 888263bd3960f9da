//! Whoever asks for all that is kept of a user or a space gets it, once, and nothing of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::{Audience, SpaceId, UserId};

use super::device::{Device, TIMES, insert, update};
use crate::{EXPORT_BYTES, EXPORT_ITEMS, Export, Exported, Item, Place, Role, Store};

/// A user, as whose everything is meant.
pub(super) fn user(name: &str) -> Audience {
    Audience::User(UserId::new(name).expect("an identifier"))
}

/// A space, as whose everything is meant.
pub(super) fn space(name: &str) -> Audience {
    Audience::Space(SpaceId::new(name).expect("an identifier"))
}

/// All pages of an export.
pub(super) async fn pages(store: &Arc<dyn Store>, of: &Audience) -> Vec<Vec<Item>> {
    let mut pages = Vec::new();
    let mut after = Some(Place::default());
    while let Some(place) = after {
        let export = Export {
            of: of.clone(),
            after: place,
        };
        let Exported { items, next } = store.export(export).await.expect("a page");
        pages.push(items);
        after = next;
    }
    pages
}

/// All items of an export.
pub(super) async fn items(store: &Arc<dyn Store>, of: &Audience) -> Vec<Item> {
    pages(store, of).await.concat()
}

/// An item in few words.
pub(super) fn told(item: &Item) -> String {
    match item {
        Item::Grant(user, grant) => format!(
            "grant {user} {} {}",
            grant.space,
            grant.role.map_or("none", Role::as_str)
        ),
        Item::Parked(app, parked) => format!("parked {app} {}", parked.reason),
        Item::Change(entry, dead) => format!(
            "{} {} {} {} by {}{}",
            entry.op.as_str(),
            entry.app,
            entry.scope,
            entry.record,
            entry.user,
            if dead.is_some() { " dead" } else { "" }
        ),
    }
}

/// The items in few words, in alphabetical order.
pub(super) async fn everything(store: &Arc<dyn Store>, of: &Audience) -> Vec<String> {
    let mut all: Vec<_> = items(store, of).await.iter().map(told).collect();
    all.sort();
    all
}

/// A change about a space.
pub(super) fn about(space: &str, mut change: Json) -> Json {
    change["spaceId"] = json!(space);
    change
}

/// Anna and Ben with rows of their own, live and dead, in two apps and in a space, with something kept aside, and Carl, who
/// has left it.
pub(super) async fn neighbours(store: &Arc<dyn Store>) -> [Device; 2] {
    let mut anna = Device::new(store, "anna", "phone");
    let mut ben = Device::new(store, "ben", "tablet");
    let carl = Device::new(store, "carl", "phone");
    anna.grant("club", Some(Role::Writer)).await;
    ben.grant("club", Some(Role::Writer)).await;
    carl.grant("club", Some(Role::Reader)).await;
    carl.grant("club", None).await;
    let parked = json!({"table": "tasks", "id": "a\u{1}", "op": "insert", "data": {}});
    for (device, name) in [(&mut anna, "annas"), (&mut ben, "bens")] {
        device
            .push(json!([
                insert(name, "x"),
                update(name, "note", 1, TIMES[0]),
                about("club", insert(&format!("{name}-shared"), "x")),
                parked,
            ]))
            .await;
        device
            .push(json!([update(name, "note", 2, TIMES[1])]))
            .await;
        let mut notes = device.clone().in_app("notes");
        notes.push(json!([insert(name, "x")])).await;
    }
    ben.push(json!([
        about("club", update("annas-shared", "note", 1, TIMES[0])),
        about("club", update("annas-shared", "note", 2, TIMES[1])),
    ]))
    .await;
    ben.push(json!([about(
        "club",
        update("annas-shared", "note", 3, TIMES[2])
    )]))
    .await;
    [anna, ben]
}

/// Everything of a user: grants, what was kept aside, own rows of all apps and those written in spaces, dead ones, too.
pub async fn everything_of_a_user_is_exported(store: Arc<dyn Store>) {
    neighbours(&store).await;
    assert_eq!(
        everything(&store, &user("anna")).await,
        [
            "grant anna club writer",
            "insert notes u:anna annas by anna",
            "insert todo s:club annas-shared by anna",
            "insert todo u:anna annas by anna",
            "parked todo id has a control character or a lone surrogate",
            "update todo u:anna annas by anna",
            "update todo u:anna annas by anna dead",
        ]
    );
    assert_eq!(
        everything(&store, &user("carl")).await,
        ["grant carl club none"]
    );
    assert_eq!(items(&store, &user("nobody")).await, []);
}

/// Everything of a space: its members, those that have left, too, and its rows, whoever wrote them.
pub async fn everything_of_a_space_is_exported(store: Arc<dyn Store>) {
    neighbours(&store).await;
    assert_eq!(
        everything(&store, &space("club")).await,
        [
            "grant anna club writer",
            "grant ben club writer",
            "grant carl club none",
            "insert todo s:club annas-shared by anna",
            "insert todo s:club bens-shared by ben",
            "update todo s:club annas-shared by ben",
            "update todo s:club annas-shared by ben dead",
        ]
    );
    assert_eq!(items(&store, &space("anna")).await, []);
}

/// However much there is, a page is bounded, and each row is on one of them, with its values digit for digit.
pub async fn an_export_of_many_pages_has_each_row_once(store: Arc<dyn Store>) {
    let anna = Device::new(&store, "anna", "phone");
    anna.grant("club", Some(Role::Writer)).await;
    let numbers: Vec<usize> = (0..1300).collect();
    for (app, target) in [("todo", None), ("notes", Some("club"))] {
        let mut device = anna.clone().in_app(app);
        for some in numbers.chunks(650) {
            let row = |n: &usize| {
                let row = insert(&format!("r{n}"), "1e400");
                target.map_or(row.clone(), |target| about(target, row))
            };
            device.push(some.iter().map(row).collect()).await;
        }
    }
    let mut files = anna.in_app("files");
    let large = "x".repeat(400_000);
    for n in 0..5 {
        let big = about("club", insert(&format!("big{n}"), &large));
        files.push(json!([big])).await;
    }
    for (of, rows) in [(user("anna"), 2605), (space("club"), 1305)] {
        let pages = pages(&store, &of).await;
        for page in &pages {
            let bytes: usize = page.iter().map(Item::size).sum();
            let is_bounded = page.len() <= EXPORT_ITEMS && bytes <= EXPORT_BYTES;
            assert!(is_bounded || page.len() == 1, "{} {bytes}", page.len());
        }
        let mut ids = BTreeSet::new();
        let mut apps: BTreeMap<_, usize> = BTreeMap::new();
        for item in pages.iter().flatten() {
            if let Item::Change(entry, None) = item {
                assert!(ids.insert(entry.event_id), "each once");
                *apps.entry(entry.app.to_string()).or_default() += 1;
            }
        }
        assert_eq!(ids.len(), rows, "{apps:?}");
    }
}
