//! What people do at the devices of a [`World`], and programs beside them.

use serde_json::{Map, Value as Json, json};
use sync_protocol::Millis;

use super::world::{FIELDS, RECORDS, TABLES};
use super::{PushRequest, Server, World};

impl<S: Server> World<S> {
    pub(super) fn edit(&mut self, device: usize) {
        let id = if self.scenario.members && self.dice.percent(40) {
            // Records that only this user makes, at first for itself.
            format!("{}s", self.devices[device].client.user)
        } else if self.scenario.members && self.dice.percent(10) {
            // Records of the others, where they are shared.
            self.dice.pick(&["annas", "bens"]).to_owned()
        } else {
            self.dice.pick(&RECORDS).to_owned()
        };
        let key = (self.dice.pick(&TABLES).to_owned(), id);
        let now = self.device_now(device);
        self.last_number += 1;
        let number = self.last_number;
        let known = self.devices[device].client.records.contains_key(&key);
        if !known {
            let is_personal = !RECORDS.contains(&key.1.as_str());
            if is_personal && !key.1.starts_with(&self.devices[device].client.user) {
                return;
            }
            let mut data = self.random_data(&now);
            if is_personal {
                data.remove("spaceId");
            }
            self.tell(|| format!("{device} at {now} inserts {key:?} {data:?}"));
            self.devices[device].client.insert(&key, data, &now, number);
            return;
        }
        let mut fields = vec![(self.dice.pick(&FIELDS), self.random_value())];
        if self.dice.percent(40) {
            fields.push(("updatedAt", json!(now)));
        }
        if self.scenario.members && self.dice.percent(30) {
            fields.push(("spaceId", json!("club")));
        }
        let live = self.devices[device].client.is_live(&key);
        let kind = self.dice.throw(10);
        self.tell(|| format!("{device} at {now} edits {key:?} ({live} {kind}) {fields:?}"));
        let client = &mut self.devices[device].client;
        match (live, kind) {
            (true, 0) => client.delete(&key, &now, number),
            (true, 1) => client.soft_delete(&key, &[("deletedAt", json!(now))], &now, number),
            (true, 2) => {
                let stamp = json!(Millis(self.now).to_string());
                client.soft_delete(&key, &[("deletedAt", stamp)], &now, number);
            }
            (true, 3) => {
                fields.push(("deletedAt", json!(now)));
                client.soft_delete(&key, &fields, &now, number);
            }
            (false, 0..6) if self.scenario.sweeps => client.update(&key, &fields, &now, number),
            (false, 0..3) => client.update(&key, &[("deletedAt", Json::Null)], &now, number),
            (false, 3..6) => {
                fields.push(("deletedAt", Json::Null));
                client.update(&key, &fields, &now, number);
            }
            _ => client.update(&key, &fields, &now, number),
        }
    }

    fn random_value(&mut self) -> Json {
        if self.scenario.fat && self.dice.percent(50) {
            return json!(self.dice.pick(&["x", "y", "z"]).repeat(450_000));
        }
        match self.dice.throw(4) {
            0 => Json::Null,
            1 => json!("text"),
            _ => json!(self.dice.throw(12)),
        }
    }

    fn random_data(&mut self, now: &str) -> Map<String, Json> {
        let mut data = Map::new();
        for field in FIELDS {
            if self.dice.percent(50) {
                data.insert(field.to_owned(), self.random_value());
            }
        }
        let timeless = self.scenario.timeless && self.dice.percent(50);
        if !timeless {
            let kind = self.dice.throw(3);
            if kind != 0 {
                data.insert("updatedAt".to_owned(), json!(now));
            }
            if kind != 1 {
                data.insert("createdAt".to_owned(), json!(now));
            }
        }
        if !self.scenario.sweeps && self.dice.percent(20) {
            data.insert("deletedAt".to_owned(), Json::Null);
        }
        if self.scenario.space {
            data.insert("spaceId".to_owned(), json!("club"));
        }
        data
    }

    /// A program without a client id writes what no web client sends.
    pub(super) fn write_by_program(&mut self) {
        let (table, id) = (self.dice.pick(&TABLES), self.dice.pick(&RECORDS));
        let time = self.now - 2_000 + self.dice.around(3_000);
        let time = match self.dice.throw(4) {
            0 => Millis(time / 1000 * 1000).to_string().replace(".000Z", "Z"),
            1 => Millis(time).to_string().replace('Z', "789Z"),
            2 => Millis(time + 3_600_000).to_string().replace('Z', "+01:00"),
            _ => Millis(time).to_string(),
        };
        let mut change = json!({"table": table, "id": id});
        let field = self.dice.pick(&FIELDS);
        match self.dice.throw(6) {
            0 => change["op"] = json!("delete"),
            1 => {
                change["op"] = json!("delete");
                change["fields"] = json!({field: {"value": 7, "updatedAt": time}});
            }
            2 => {
                change["op"] = json!("insert");
                change["data"] = json!({field: 8, "updatedAt": time});
            }
            3 => {
                change["op"] = json!("delete");
                change["fields"] = json!({"deletedAt": {"value": self.random_value(), "at": time}});
            }
            4 => {
                change["op"] = json!("update");
                change["fields"] = json!({"deletedAt": {"value": null, "at": time}});
            }
            _ => {
                change["op"] = json!("update");
                change["fields"] = json!({field: {"value": 9, "at": time}, "extra": {"value": 1}});
            }
        }
        let changes = [change];
        self.tell(|| format!("a program writes {changes:?}"));
        let request = PushRequest {
            user: "anna".to_owned(),
            client: self.dice.pick(&["", "program"]).to_owned(),
            body: json!({"since": "", "changes": changes}).to_string(),
        };
        let now = self.server_now();
        self.server.push(&request, now);
    }
}
