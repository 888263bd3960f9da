//! The rows dialect: its routes, who is let in, what they are told.

mod heard;
mod paths;
mod refused;
mod subscribed;
mod tokens;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::Server;

/// Every route, with a method that it takes.
const ROUTES: [(&str, &str); 5] = [
    ("POST", "/sync/upload"),
    ("GET", "/sync/download"),
    ("GET", "/sync/schema-version"),
    ("GET", "/admin/materialize-failures"),
    ("POST", "/admin/materialize-failures/retry?id=1"),
];

/// A row.
const PK: &str = "0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";

/// The insert of a row.
fn change(schema: &str, id: i64, pk: &str) -> Value {
    json!({"source_change_id": id, "schema": schema, "table": "tasks", "op": "INSERT", "pk": pk,
        "server_version": 0, "payload": {"title": "milk"}})
}

fn changes(changes: &[Value]) -> String {
    json!({"last_server_seq_seen": 0, "changes": changes}).to_string()
}

impl Server {
    /// A request of a device of a user.
    fn of_device(&self, method: &str, path: &str, user: &str, device: &str) -> RequestBuilder {
        let token = self.device_token(user, device);
        self.request(method, path).bearer_auth(token)
    }

    async fn uploads(&self, device: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.of_device("POST", "/sync/upload", "alice", device);
        request.body(body).send().await.unwrap()
    }

    async fn downloads(&self, device: &str, query: &str) -> Response {
        let path = format!("/sync/download{query}");
        let request = self.of_device("GET", &path, "alice", device);
        request.send().await.unwrap()
    }

    /// What became of an upload.
    async fn uploaded(&self, device: &str, all: &[Value]) -> Value {
        read(self.uploads(device, changes(all)).await).await
    }

    /// What a device is given.
    async fn downloaded(&self, device: &str, query: &str) -> Value {
        read(self.downloads(device, query).await).await
    }
}

async fn read(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}
