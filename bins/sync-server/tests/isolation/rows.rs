//! The rows dialect: uploads and downloads by devices of each other, of rows, tables and schemas of each other, under the numbers
//! of each other.

use serde_json::{Value, json};

use crate::acts::{Actor, Asked};
use crate::model::{Mark, Route, mark_text};
use crate::names::{APPS, RECORDS, ROW_APPS, ROW_RECORDS, SPACES, USERS};

/// The most changes of one upload.
const CHANGES: usize = 4;
/// So few numbers have all devices that they meet.
const NUMBERS: usize = 30;

impl Actor {
    /// Uploads rows; what is in conflict is sent again as a new version, most times.
    pub(crate) async fn upload(&mut self, user: usize) -> Route {
        let app = *self.chance.one(&ROW_APPS);
        let device = self.client(user);
        let count = 1 + self.chance.below(CHANGES);
        let mut own = Vec::new();
        let mut changes: Vec<Value> = (0..count)
            .map(|_| self.row_change(user, app, &mut own))
            .collect();
        for _ in 0..=self.chance.below(3) {
            let said = self
                .send_rows(user, app, &device, &changes, own.clone())
                .await;
            let statuses = said["statuses"].as_array().cloned().unwrap_or_default();
            let pairs = changes.into_iter().zip(statuses);
            let again = pairs.filter_map(|(mut change, status)| {
                let version = status["server_row"]["server_version"].as_i64()?;
                change["server_version"] = json!(version);
                Some(change)
            });
            changes = again.collect();
            if changes.is_empty() {
                break;
            }
        }
        Route::Upload
    }

    async fn send_rows(
        &mut self,
        user: usize,
        app: usize,
        device: &str,
        changes: &[Value],
        own: Vec<usize>,
    ) -> Value {
        let mut url = self.url(&["sync", "upload"]);
        self.add_another_user(&mut url);
        let other = self.chance.below(USERS);
        let body = json!({
            "source_id": self.client(other),
            "user_id": self.world.names.users[other],
            "last_server_seq_seen": 0,
            "changes": changes,
        });
        let body = body.to_string();
        let token = match self.chance.percent(3) {
            true => self.world.token(user),
            false => self.world.device_token(user, device),
        };
        let request = self.world.http.post(url).bearer_auth(token);
        let request = request.header("X-Client-Id", self.client(other));
        let asked = Asked {
            route: Route::Upload,
            reader: Some(user),
            app: Some(app),
            own,
            text: body.clone(),
            request: request.body(body),
        };
        self.ask(asked).await.1
    }

    fn row_change(&mut self, user: usize, app: usize, own: &mut Vec<usize>) -> Value {
        let table = self.table(user);
        let record = *self.chance.one(&ROW_RECORDS);
        let mut change = json!({
            "source_change_id": self.chance.below(NUMBERS),
            "schema": APPS[app],
            "table": self.world.names.tables[table],
            "op": *self.chance.one(&["INSERT", "UPDATE"]),
            "pk": RECORDS[record],
            "server_version": self.chance.below(4),
        });
        if self.chance.percent(20) {
            change["op"] = json!("DELETE");
            return change;
        }
        let number = self.world.model.mark(Mark {
            author: u16::try_from(user).expect("there are few"),
            app: u8::try_from(app).expect("there are few"),
            table: u16::try_from(table).expect("there are few"),
            record: u8::try_from(record).expect("there are few"),
        });
        own.push(number);
        let text = format!("{} of {user}", mark_text(number));
        let names = &self.world.names;
        let space = &names.spaces[self.chance.below(SPACES)];
        let mut payload = json!({"id": RECORDS[record], "title": text});
        match self.chance.below(6) {
            0 => payload["done"] = json!({"by": [text]}),
            1 => payload["spaceId"] = json!(space),
            2 => payload["user_id"] = json!(names.users[self.chance.below(USERS)]),
            3 => change["spaceId"] = json!(space),
            // It can be no row, and is kept aside.
            4 if self.chance.percent(20) => change["pk"] = json!("u:anna"),
            _ => {}
        }
        change["payload"] = payload;
        change
    }

    /// Downloads a page from a position that anybody was given, and sometimes goes on.
    pub(crate) async fn download(&mut self, user: usize) -> Route {
        let app = self.chance.percent(70).then(|| *self.chance.one(&ROW_APPS));
        let device = self.client(user);
        let limit = *self.chance.one(&["1", "2", "7", "1000"]);
        let mut after = match self.chance.below(3) {
            0 => self.world.positions.any(&mut self.chance),
            _ => None,
        }
        .unwrap_or_default();
        let include_self = self.chance.percent(60).to_string();
        for _ in 0..=self.chance.below(3) {
            let mut url = self.url(&["sync", "download"]);
            url.query_pairs_mut()
                .append_pair("after", &after)
                .append_pair("limit", limit)
                .append_pair("include_self", &include_self)
                .append_pair("schema", app.map_or("", |app| APPS[app]));
            self.add_another_user(&mut url);
            let token = self.world.device_token(user, &device);
            let asked = Asked {
                route: Route::Download,
                reader: Some(user),
                app,
                own: Vec::new(),
                text: url.to_string(),
                request: self.world.http.get(url).bearer_auth(token),
            };
            let (_, said) = self.ask(asked).await;
            match said["next_after"].as_i64() {
                Some(next) if said["has_more"] == true => after = next.to_string(),
                _ => break,
            }
        }
        Route::Download
    }
}
