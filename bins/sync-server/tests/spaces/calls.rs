//! Calls between the server and the services beside it: pushes of services for a person, and what is asked about whom.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sync_client::SocketEvent;
use test_services::Service;

use crate::device::{Given, edit, edit_in, within};
use crate::ear::{Heard, said};
use crate::waiting::until;
use crate::world::{APP, KEY, Place, World, status};

const CLUB: &str = "club";
const FORMS: &str = "the-key-of-the-forms";
const MAIL: &str = "the-key-of-the-mail";

everywhere! {
    what_a_service_writes_for_a_person_is_that_persons_and_all_devices_hear_of_it,
}

/// A push of one note, in the name of a device.
pub(crate) fn note(id: &str) -> Value {
    let title = json!({"value": "from a service", "at": "2025-01-01T00:00:00.000Z"});
    let change = json!({"table": "notes", "id": id, "op": "update", "fields": {"title": title}});
    json!({"clientId": "ben-phone", "since": "", "changes": [change]})
}

fn note_in(space: &str, id: &str) -> Value {
    let mut push = note(id);
    push["changes"][0]["spaceId"] = json!(space);
    push
}

async fn answer(request: RequestBuilder, key: &str) -> Value {
    let answer = within(request.header("X-Service-Key", key).send())
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn what_a_service_writes_for_a_person_is_that_persons_and_all_devices_hear_of_it(
    place: Place,
) {
    let keys = format!("forms:{FORMS},mail:{MAIL}");
    let world = World::with(place, &[("SYNC_SERVICE_KEYS", &keys)]).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let names = ["ben-phone", "service:mail", "service:forms"];
    let [mut phone, mut mail, mut forms] = names.map(|name| world.device("ben", name));
    for device in [&mut phone, &mut mail, &mut forms, &mut anna] {
        device.pull().await;
    }
    let mut ear = phone.stream().at_the_head().await;
    let mut anna_ear = anna.stream().at_the_head().await;
    let mut socket = phone.reads.socket();
    assert_eq!(said(&mut socket).await.unwrap(), SocketEvent::Connected);

    let push = world.service_push("ben", &note("form"));
    let answered = answer(push, FORMS).await;
    assert_eq!(answered.get("warnings"), None, "{answered}");
    assert_eq!(ear.hears_of("form").await, Heard::only(&["form"]));
    let told = SocketEvent::Available {
        app: APP.to_owned(),
        tables: vec!["notes".to_owned()],
    };
    assert_eq!(said(&mut socket).await.unwrap(), told);
    // It is of the client `service:forms`, whatever the body says: only that one has it already.
    let given = [phone.pull().await, mail.pull().await, forms.pull().await];
    assert_eq!(given.map(|given| given.changes), [1, 1, 0]);
    assert_eq!(phone.held.ids(None), ["form"]);

    // Into a space it goes where that person may write.
    answer(world.service_push("ben", &note_in(CLUB, "shared")), MAIL).await;
    assert_eq!(anna_ear.hears_of("shared").await, Heard::only(&["shared"]));
    let denied = answer(world.service_push("carl", &note_in(CLUB, "unseen")), KEY).await;
    assert_eq!(denied["warnings"][0]["code"], "space_write_denied");
    answer(world.service_push("ben", &note_in(CLUB, "last")), KEY).await;
    assert_eq!(anna_ear.hears_of("last").await, Heard::only(&["last"]));
}

#[tokio::test]
async fn a_service_without_a_key_of_its_own_is_refused_and_has_written_nothing() {
    let keys = format!("forms:{FORMS}");
    let world = World::with(Place::File, &[("SYNC_SERVICE_KEYS", &keys)]).await;
    let push = || world.service_push("ben", &note("form"));
    let with = |key: &str| push().header("X-Service-Key", key);
    let refused = [
        push(),
        with(""),
        with("forms"),
        with(&keys),
        with(MAIL),
        with(FORMS).header("X-Service-Key", FORMS),
        push().bearer_auth(world.token("ben")),
        push().bearer_auth(FORMS),
    ];
    for request in refused {
        assert_eq!(status(request).await, 401);
    }
    assert_eq!(
        world.device("ben", "ben-phone").pull().await,
        Given::default()
    );
    assert_eq!(status(with(FORMS)).await, 200);
}

/// Waits until the file is read again, twice, which is after ten seconds each.
#[tokio::test]
async fn keys_come_and_go_with_their_file_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let write = |text: &str| replace(&path, text);
    write("forms:the-first-key-of-all\n# a comment\nmail:the-key-of-the-mail");
    let keys = format!("forms:{FORMS}");
    let file = path.to_str().unwrap();
    let settings = [
        ("SYNC_SERVICE_KEYS", keys.as_str()),
        ("SYNC_SERVICE_KEYS_FILE", file),
    ];
    let world = World::with(Place::File, &settings).await;
    let push = async |key| {
        let push = world.service_push("ben", &note("form"));
        status(push.header("X-Service-Key", key)).await
    };
    let keys = [
        "the-first-key-of-all",
        "the-second-key-of-all",
        MAIL,
        FORMS,
        KEY,
    ];
    let all = async || {
        let mut statuses = Vec::new();
        for key in keys {
            statuses.push(push(key).await);
        }
        statuses
    };
    assert_eq!(all().await, [200, 401, 200, 200, 200]);

    write("forms:the-second-key-of-all\nmail:the-key-of-the-mail");
    until("the new key counts", async || {
        push("the-second-key-of-all").await == 200
    })
    .await;
    assert_eq!(all().await, [401, 200, 200, 200, 200]);

    write("forms:short");
    let log = || world.nodes[0].log();
    until("the server says that the file is wrong", async || {
        log().contains("the service keys stay as they were")
    })
    .await;
    assert_eq!(all().await, [401, 200, 200, 200, 200]);
    assert!(!keys.iter().any(|key| log().contains(key)));
}

/// In one step, as who cares for a file that is read does.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_token_of_whatever_name_reaches_no_other_path_of_the_services() {
    let world = World::start(Place::File).await;
    let named = [
        ("../x?y#z", "..%2Fx%3Fy%23z"),
        ("../../../../admin", "..%2F..%2F..%2F..%2Fadmin"),
        (r"..\..\x", r"..%5C..%5Cx"),
        ("%2e%2e/x", "%252e%252e%2Fx"),
        ("x/memberships?", "x%2Fmemberships%3F"),
        ("http://elsewhere/", "http:%2F%2Felsewhere%2F"),
        ("@elsewhere", "@elsewhere"),
        ("ä 😀", "%C3%A4%20%F0%9F%98%80"),
    ];
    // These would be no segment at all: nobody is asked.
    let unnamed = [".", ".."];
    let mut paths = BTreeSet::new();
    for (user, segment) in named {
        paths.insert(format!("/api/v1/internal/sync/status/{segment}"));
        paths.insert(format!("/api/v1/internal/users/{segment}/memberships"));
        world.services.set_memberships(user, &[(CLUB, "member")]);
    }
    let users = named.map(|(user, _)| user);
    for user in users.iter().chain(&unnamed) {
        let mut device = world.device(user, "phone");
        device
            .push(&[edit_in(CLUB, "note", "title", user, 0)])
            .await;
        device.writes(&[edit("diary", "title", user, 0)]).await;
        world
            .device(user, "tablet")
            .stream()
            .hears_of("diary")
            .await;
        let push = world
            .service_push(user, &note("form"))
            .header("X-Service-Key", KEY);
        assert_eq!(status(push).await, 200, "{user}");
        assert!(device.pull().await.changes > 0, "{user}");
    }
    let requests = world.services.requests();
    let seen: BTreeSet<_> = requests.iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(seen, paths);
    let about: BTreeSet<_> = requests
        .iter()
        .filter_map(|asked| asked.user.as_deref())
        .collect();
    assert_eq!(about, BTreeSet::from(users));
    assert!(
        requests
            .iter()
            .all(|asked| asked.header("X-Service-Key") == Some(KEY))
    );
    assert!(world.services.count(Service::Billing) >= named.len());
}
