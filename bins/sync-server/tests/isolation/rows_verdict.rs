//! Holds what rows clients were told against what was allowed: rows are personal, so all of it is the reader's own.

use serde_json::Value;

use crate::model::Exchange;
use crate::names::Place;
use crate::verdict::{Court, Verdict};

impl Court<'_> {
    /// Judges a page of rows: each stands in the log at its place, in the scope of its reader. Their values are judged beside.
    pub(crate) fn judge_download(&self, said: &Value, exchange: &Exchange, verdict: &mut Verdict) {
        for row in said["changes"].as_array().into_iter().flatten() {
            verdict.read += 1;
            let position = row["server_id"].as_i64().unwrap_or(-1);
            let names = named(row, ["schema", "table", "pk"]);
            let stands = self.truth.positions.get(&position);
            let is_own = stands.is_some_and(|(place, stands)| {
                Some(*place) == exchange.reader.map(Place::User) && *stands == names
            });
            if is_own {
                verdict.traced += 1;
            } else {
                let why = format!("a row of {stands:?}");
                verdict.read_across(exchange, self.names, &why, &position.to_string());
            }
        }
    }

    /// Judges what became of uploaded changes: whoever is told a version has such a row.
    pub(crate) fn judge_statuses(&self, said: &Value, exchange: &Exchange, verdict: &mut Verdict) {
        let asked: Value = serde_json::from_str(&exchange.asked).unwrap_or_default();
        let changes = asked["changes"].as_array().into_iter().flatten();
        let statuses = said["statuses"].as_array().into_iter().flatten();
        for (change, status) in changes.zip(statuses) {
            let row = &status["server_row"];
            let names = match (row.is_object(), status["new_server_version"].is_i64()) {
                (true, _) => named(row, ["schema_name", "table_name", "id"]),
                (false, true) => named(change, ["schema", "table", "pk"]),
                (false, false) => continue,
            };
            verdict.read += 1;
            let is_asked = names == named(change, ["schema", "table", "pk"]);
            let place = exchange.reader.map(Place::User);
            let key = place.map(|place| (place, names.clone()));
            if is_asked && key.is_some_and(|key| self.truth.records.contains(&key)) {
                verdict.traced += 1;
            } else {
                let why = format!("the version of {names:?}, of which the reader has none");
                verdict.read_across(exchange, self.names, &why, &names[2]);
            }
        }
    }

    /// Judges a list of rows that fit into no business table.
    pub(crate) fn judge_failures(&self, said: &Value, exchange: &Exchange, verdict: &mut Verdict) {
        let reader = exchange.reader.map(|user| self.names.users[user].as_str());
        for failure in said.as_array().into_iter().flatten() {
            verdict.read += 1;
            if failure["user_id"].as_str() == reader {
                verdict.traced += 1;
            } else {
                verdict.read_across(exchange, self.names, "a failure of another", "user_id");
            }
        }
    }

    /// Nobody hears of a failure of others that there is one.
    pub(crate) fn judge_retry(&self, exchange: &Exchange, verdict: &mut Verdict) {
        let reader = exchange.reader.map(|user| self.names.users[user].as_str());
        let (_, owner) = exchange.asked.split_once(' ').unwrap_or_default();
        verdict.read += 1;
        if reader == Some(owner) || exchange.status == 404 {
            verdict.traced += 1;
        } else {
            verdict.read_across(exchange, self.names, "a retry for another", "status");
        }
    }
}

fn named(row: &Value, members: [&str; 3]) -> [String; 3] {
    members.map(|member| row[member].as_str().unwrap_or_default().to_owned())
}
