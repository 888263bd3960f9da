//! Changes as rows clients send them, and what they are answered.

use serde_json::{Value, json};

/// The schema and the table of changes that are not put into another.
pub(crate) const SCHEMA: &str = "business";
pub(crate) const USERS: &str = "users";

/// The name of a row.
pub(crate) fn pk(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

pub(crate) fn insert(id: i64, pk: &str, version: i64, payload: Value) -> Value {
    change(id, "INSERT", pk, version, Some(payload))
}

pub(crate) fn update(id: i64, pk: &str, version: i64, payload: Value) -> Value {
    change(id, "UPDATE", pk, version, Some(payload))
}

pub(crate) fn delete(id: i64, pk: &str, version: i64) -> Value {
    change(id, "DELETE", pk, version, None)
}

/// A row that was not there before.
pub(crate) fn new(id: i64, pk: &str, name: &str) -> Value {
    insert(id, pk, 0, named(pk, name))
}

/// What rows hold.
pub(crate) fn named(pk: &str, name: &str) -> Value {
    json!({"id": pk, "name": name})
}

fn change(id: i64, op: &str, pk: &str, version: i64, payload: Option<Value>) -> Value {
    let mut change = json!({"source_change_id": id, "schema": SCHEMA, "table": USERS, "op": op,
        "pk": pk, "server_version": version});
    if let Some(payload) = payload {
        change["payload"] = payload;
    }
    change
}

/// The same with another member.
pub(crate) fn with(mut change: Value, name: &str, value: impl Into<Value>) -> Value {
    change[name] = value.into();
    change
}

/// The same without a member.
pub(crate) fn without(mut change: Value, name: &str) -> Value {
    change.as_object_mut().unwrap().remove(name);
    change
}

pub(crate) fn applied(id: i64, version: i64) -> Value {
    json!({"source_change_id": id, "status": "applied", "new_server_version": version})
}

pub(crate) fn did_nothing(id: i64) -> Value {
    json!({"source_change_id": id, "status": "applied"})
}

/// The row of [`USERS`] has another version, and this payload, unless it is deleted.
pub(crate) fn conflict(id: i64, pk: &str, version: i64, payload: Option<Value>) -> Value {
    json!({"source_change_id": id, "status": "conflict", "server_row": {
        "schema_name": SCHEMA, "table_name": USERS, "id": pk, "server_version": version,
        "deleted": payload.is_none(), "payload": payload}})
}

/// The change is invalid for this reason, and says so as it should.
pub(crate) fn assert_invalid(status: &Value, reason: &str) {
    assert_eq!(status["status"], "invalid", "{status}");
    assert_eq!(status["invalid"]["reason"], reason, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{status}");
    assert_eq!(status["invalid"]["details"]["error"], message, "{status}");
}

/// Rows that the change refers to are not there.
pub(crate) fn missing(id: i64, labels: &[String]) -> Value {
    json!({"source_change_id": id, "status": "invalid",
        "invalid": {"reason": "fk_missing", "details": {"missing": labels}}})
}
