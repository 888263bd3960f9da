//! What goes in comes out: whole pushes, digits, echoes, event ids, what is kept aside (P2, P7).

use std::sync::Arc;

use serde_json::json;

use super::device::{Device, TIMES, changes, insert, update};
use crate::{Store, StoreError};

/// P1, P3: what was acknowledged is read.
pub async fn a_pushed_change_is_read_by_another_device(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    let mut tab = Device::new(&store, "anna", "tab");
    let pushed = phone.push(json!([insert("a", "milk")])).await;
    assert_eq!((pushed.appended, pushed.answer.has_more), (1, false));
    assert_eq!(changes(&pushed.answer.server_changes), json!([]));
    assert_eq!(tab.pull().await, json!([insert("a", "milk")]));
    assert_eq!(tab.pull().await, json!([]));
}

/// Pushes in the order of their answers, the changes of one push in their order.
pub async fn the_changes_of_a_push_come_in_their_order(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([insert("b", "1"), insert("a", "2")]))
        .await;
    phone
        .push(json!([insert("d", "3"), insert("c", "4")]))
        .await;
    let mut tab = Device::new(&store, "anna", "tab");
    let expected = json!([
        insert("b", "1"),
        insert("a", "2"),
        insert("d", "3"),
        insert("c", "4")
    ]);
    assert_eq!(tab.pull().await, expected);
}

/// Values are opaque: big numbers, key order, `\u0000`, half a surrogate pair.
pub async fn values_come_back_digit_for_digit(store: Arc<dyn Store>) {
    let values = [
        "1.10",
        "9007199254740993",
        "9223372036854775808",
        "1e400",
        "-0",
        r#""\u0000\ud800\/é""#,
        r#"{"z":1, "a":[ ],"m":{"b":null,"a":2.0}}"#,
        "[1.0,1.00]",
        "null",
        "true",
        r#""""#,
    ];
    let fields: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(n, value)| format!(r#""f{n}":{{"value":{value},"at":"{}"}}"#, TIMES[0]))
        .collect();
    let change = format!(
        r#"[{{"table":"t","id":"r","op":"update","fields":{{{}}},"actor":{{"n":1.10, "b":1e400}},"origin":"\u0000x"}}]"#,
        fields.join(",")
    );
    Device::new(&store, "anna", "phone")
        .push_text(&change)
        .await;
    let answer = Device::new(&store, "anna", "tab").page("t", 10).await;
    let change = &answer.server_changes[0];
    let read: Vec<_> = change
        .fields
        .iter()
        .flat_map(|fields| &fields.0)
        .map(|(_, field)| field.value.as_str().to_owned())
        .collect();
    assert_eq!(read, values);
    assert_eq!(
        change.actor.as_ref().map(|actor| actor.as_str().to_owned()),
        Some(r#"{"n":1.10, "b":1e400}"#.to_owned())
    );
    assert_eq!(
        change
            .origin
            .as_ref()
            .map(|origin| origin.as_str().to_owned()),
        Some(r#""\u0000x""#.to_owned())
    );
}

/// P2: 2,500 changes of one push are there, all of them.
pub async fn a_push_is_stored_whole(store: Arc<dyn Store>) {
    let all: Vec<_> = (0..2500)
        .map(|n| insert(&format!("r{n:04}"), "x"))
        .collect();
    let pushed = Device::new(&store, "anna", "phone").push(json!(all)).await;
    assert_eq!(pushed.appended, 2500);
    assert_eq!(Device::new(&store, "anna", "tab").pull().await, json!(all));
}

/// A client does not hear what it wrote itself, in no answer; another client of the user does.
pub async fn a_client_does_not_hear_its_own_echo(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    let mut tab = Device::new(&store, "anna", "tab");
    tab.push(json!([])).await;
    phone.push(json!([insert("a", "1")])).await;
    phone.push(json!([insert("b", "2")])).await;
    tab.push(json!([insert("c", "3")])).await;
    assert_eq!(phone.pull().await, json!([insert("c", "3")]));
    assert_eq!(tab.pull().await, json!([]));
}

/// A client that gives no id is told everything: nothing is known to be its own.
pub async fn a_client_without_a_name_hears_everything(store: Arc<dyn Store>) {
    let mut nameless = Device::new(&store, "anna", "");
    nameless.push(json!([insert("a", "1")])).await;
    let cursor = nameless.since.clone();
    let answer = nameless.push(json!([insert("b", "2")])).await.answer;
    assert_eq!(
        changes(&answer.server_changes),
        json!([]),
        "never the rows of the very push"
    );
    nameless.since = cursor;
    assert_eq!(nameless.pull().await, json!([insert("b", "2")]));
}

/// The answer of a push brings what others wrote in every table, not what it wrote itself.
pub async fn an_answer_of_a_push_holds_what_others_wrote(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    let other = json!({"table": "lists", "id": "l", "op": "insert", "data": {"name": "shop"}});
    phone.push(json!([insert("a", "1"), other])).await;
    let pushed = Device::new(&store, "anna", "tab")
        .push(json!([insert("b", "2")]))
        .await;
    assert_eq!(
        changes(&pushed.answer.server_changes),
        json!([insert("a", "1"), other])
    );
}

/// A client's own event id stands if it is a UUID new to its user; each change has one, the same in every answer.
pub async fn a_client_keeps_its_own_event_id_once(store: Arc<dyn Store>) {
    let mine = "0194c0ff-ee00-7abc-8def-0123456789ab";
    let with_id = |id: &str, event: &str| json!({"table": "tasks", "id": id, "op": "insert", "data": {"title": id}, "eventId": event});
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([
            with_id("a", mine),
            with_id("b", mine),
            with_id("c", "no uuid")
        ]))
        .await;
    phone.push(json!([with_id("d", mine)])).await;
    Device::new(&store, "ben", "phone")
        .push(json!([with_id("e", mine)]))
        .await;
    let read = async |user| -> Vec<String> {
        let answer = Device::new(&store, user, "tab").page("", 10).await;
        answer
            .server_changes
            .iter()
            .map(|change| change.event_id.to_string())
            .collect()
    };
    let annas = read("anna").await;
    assert_eq!(annas[0], mine);
    let unique: std::collections::BTreeSet<_> = annas.iter().collect();
    assert_eq!((annas.len(), unique.len()), (4, 4));
    assert_eq!(read("anna").await, annas);
    assert_eq!(read("ben").await, [mine]);
}

/// `actor`, `origin` and the name of a space come back as they came, and are absent otherwise.
pub async fn actor_origin_and_space_come_back(store: Arc<dyn Store>) {
    let change = json!({"table": "tasks", "id": "a", "op": "insert", "data": {"t": 1},
        "actor": {"kind": "user"}, "origin": "import", "spaceId": "club"});
    let odd =
        json!({"table": "tasks", "id": "b", "op": "insert", "data": {"t": 1}, "actor": "text"});
    Device::new(&store, "anna", "phone")
        .push(json!([change, odd]))
        .await;
    let plain = json!({"table": "tasks", "id": "b", "op": "insert", "data": {"t": 1}});
    assert_eq!(
        Device::new(&store, "anna", "tab").pull().await,
        json!([change, plain])
    );
}

/// P7: a change that can never be a row is kept for its author, once, with a warning; the rest goes through.
pub async fn what_cannot_be_a_row_is_kept_aside_once(store: Arc<dyn Store>) {
    let bad = r#"{"table":"tasks","id":"x","op":"insert","data":{"a":1,"a":2}}"#;
    let all = format!("[{},{bad}]", insert("a", "1"));
    let mut phone = Device::new(&store, "anna", "phone");
    for _ in 0..2 {
        let pushed = phone.push_again(&all).await;
        let warnings = serde_json::to_value(&pushed.answer.warnings).expect("warnings are JSON");
        assert_eq!(
            (&warnings[0]["change"], &warnings[0]["code"]),
            (&json!(1), &json!("parked"))
        );
    }
    let push = phone.read("[]");
    let parked = store
        .parked(push.caller.user.clone(), push.app.clone())
        .await;
    let kept: Result<Vec<String>, StoreError> = parked.map(|list| {
        list.iter()
            .map(|change| change.raw.as_str().to_owned())
            .collect()
    });
    assert_eq!(kept, Ok(vec![bad.to_owned()]));
    let ben = Device::new(&store, "ben", "phone").read("[]");
    assert_eq!(
        store
            .parked(ben.caller.user, ben.app)
            .await
            .map(|list| list.len()),
        Ok(0)
    );
    let mut tab = Device::new(&store, "anna", "tab");
    assert_eq!(
        tab.push(json!([update("a", "title", "2", TIMES[0])]))
            .await
            .appended,
        1
    );
}
