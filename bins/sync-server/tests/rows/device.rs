//! A device of a user: it uploads and downloads, with the token that it has.

use std::net::SocketAddr;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// A device.
#[derive(Clone)]
pub(crate) struct Device {
    address: SocketAddr,
    http: Client,
    token: String,
}

impl Device {
    pub(crate) fn new(address: SocketAddr, http: Client, token: String) -> Self {
        Self {
            address,
            http,
            token,
        }
    }

    /// The answer to an upload of these changes.
    pub(crate) async fn upload(&self, changes: &[Value]) -> Value {
        let body = json!({"last_server_seq_seen": 0, "changes": changes});
        let response = self.upload_text(body.to_string()).await;
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        let statuses = answer["statuses"].as_array().unwrap();
        assert_eq!(statuses.len(), changes.len(), "{answer}");
        answer
    }

    /// What became of each of these changes, of which the server has looked at all.
    pub(crate) async fn statuses(&self, changes: &[Value]) -> Vec<Value> {
        let mut answer = self.upload(changes).await;
        assert_eq!(answer["accepted"], true, "{answer}");
        match answer["statuses"].take() {
            Value::Array(statuses) => statuses,
            other => panic!("{other} is no list"),
        }
    }

    /// What became of one change.
    pub(crate) async fn status(&self, change: Value) -> Value {
        self.statuses(&[change]).await.remove(0)
    }

    /// Uploads one change, which is applied; the version of the row.
    pub(crate) async fn applies(&self, change: Value) -> i64 {
        let status = self.status(change).await;
        assert_eq!(status["status"], "applied", "{status}");
        status["new_server_version"].as_i64().unwrap()
    }

    pub(crate) async fn upload_text(&self, body: String) -> Response {
        let request = self.post("/sync/upload").body(body);
        request.send().await.unwrap()
    }

    /// A page.
    pub(crate) async fn download(&self, query: &str) -> Page {
        let response = self.get(&format!("/sync/download?{query}")).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        Page(response.json().await.unwrap())
    }

    /// All that other devices have written, by page.
    pub(crate) async fn others(&self) -> Vec<Value> {
        self.rows("").await
    }

    /// All that there is.
    pub(crate) async fn all(&self) -> Vec<Value> {
        self.rows("include_self=true&").await
    }

    async fn rows(&self, query: &str) -> Vec<Value> {
        let (mut rows, mut after) = (Vec::new(), 0);
        loop {
            let page = self
                .download(&format!("{query}after={after}&limit=1000"))
                .await;
            rows.extend(page.rows().to_vec());
            if !page.has_more() {
                return rows;
            }
            assert!(page.next_after() > after, "it goes on");
            after = page.next_after();
        }
    }

    /// Up to where the user has anything.
    pub(crate) async fn highest(&self) -> i64 {
        let answer = self.upload(&[]).await;
        answer["highest_server_seq"].as_i64().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.http.get(url).bearer_auth(&self.token)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.http.post(url).bearer_auth(&self.token)
    }
}

/// A page of a download.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page(pub(crate) Value);

impl Page {
    pub(crate) fn rows(&self) -> &[Value] {
        self.0["changes"].as_array().unwrap()
    }

    pub(crate) fn pks(&self) -> Vec<&str> {
        pks(self.rows())
    }

    pub(crate) fn has_more(&self) -> bool {
        self.0["has_more"].as_bool().unwrap()
    }

    pub(crate) fn next_after(&self) -> i64 {
        self.0["next_after"].as_i64().unwrap()
    }

    pub(crate) fn window_until(&self) -> i64 {
        self.0["window_until"].as_i64().unwrap()
    }
}

/// Which rows these are.
pub(crate) fn pks(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["pk"].as_str().unwrap()).collect()
}

/// The row of this name.
pub(crate) fn row<'a>(rows: &'a [Value], pk: &str) -> &'a Value {
    let mut found = rows.iter().filter(|row| row["pk"] == pk);
    let only = found.next().unwrap();
    assert_eq!(found.next(), None, "it is there once");
    only
}
