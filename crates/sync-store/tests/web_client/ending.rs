//! How a [`World`] ends: everybody catches up, and has the same.

use std::collections::{BTreeMap, BTreeSet};

use super::client::is_deleted;
use super::world::{Device, RECORDS, SKEW, TABLES};
use super::{Held, Server, Source, WebClient, World};

impl<S: Server> World<S> {
    /// All requests come to an end, all clients push what they have, then each reads all tables once.
    pub(super) fn catch_up(&mut self) {
        self.tell(|| "everybody catches up".to_owned());
        self.server_offset = 0;
        if self.scenario.members {
            self.settle_members();
        }
        for device in 0..self.devices.len() {
            while !self.devices[device].flights.is_empty() {
                self.go_on(device);
            }
            while !self.devices[device].client.pending.is_empty() {
                self.start_push(device);
                while !self.devices[device].flights.is_empty() {
                    self.go_on(device);
                }
            }
        }
        if self.scenario.members {
            for user in ["anna", "ben"] {
                self.promote(user);
            }
        }
        for device in 0..self.devices.len() {
            for table in TABLES {
                self.read_to_the_end(device, table);
            }
        }
    }

    fn read_to_the_end(&mut self, device: usize, table: &str) {
        let mut since = self.devices[device].client.cursor(table);
        loop {
            let reply = self.serve_pull(device, table, &since);
            let now = self.device_now(device);
            self.tell(|| format!("{device} takes a page of {table}: {reply}"));
            let taken = self.devices[device].client.take_page(&reply, &now);
            let (cursor, more) = taken.expect("the answer is taken");
            since = cursor.clone();
            self.devices[device]
                .client
                .cursors
                .insert(table.to_owned(), cursor);
            if !more {
                return;
            }
        }
    }

    /// A device that has never been there reads everything, after whatever was young has grown old.
    fn newcomer(&mut self) -> WebClient {
        self.newcomer_of(0)
    }

    /// One of the user of another device.
    pub(super) fn newcomer_of(&mut self, device: usize) -> WebClient {
        self.now += 2 * SKEW;
        let user = self.devices[device].client.user.clone();
        self.devices.push(Device {
            client: WebClient::new(&user, "newcomer", &TABLES, 200),
            offset: 0,
            flights: Vec::new(),
        });
        let place = self.devices.len() - 1;
        for table in TABLES {
            self.read_to_the_end(place, table);
        }
        self.devices.pop().expect("it was just pushed").client
    }

    pub(super) fn compare(&mut self) {
        if self.scenario.members {
            return self.compare_members();
        }
        let newcomer = self.newcomer();
        if !self.scenario.ahead && !self.scenario.program {
            let live: BTreeMap<_, _> = newcomer
                .records
                .iter()
                .filter(|(_, record)| !is_deleted(record))
                .collect();
            let values = live.into_iter().map(|(key, record)| {
                let fields = record.iter().filter(|(name, _)| *name != "deletedAt");
                let values = fields.map(|(name, held)| (name.clone(), held.value.clone()));
                (key.clone(), values.collect::<BTreeMap<_, _>>())
            });
            assert_eq!(
                values.collect::<BTreeMap<_, _>>(),
                self.oracle.live(),
                "a newcomer against the rule"
            );
        }
        assert_eq!(newcomer.dropped, Vec::<String>::new());
        for (place, device) in self.devices.iter().enumerate() {
            assert_eq!(device.client.dropped, Vec::<String>::new());
            for table in TABLES {
                for id in RECORDS {
                    let key = (table.to_owned(), id.to_owned());
                    self.compare_record(place, &key, &device.client, &newcomer);
                }
            }
        }
    }

    fn compare_record(
        &self,
        place: usize,
        key: &(String, String),
        client: &WebClient,
        newcomer: &WebClient,
    ) {
        let empty = BTreeMap::new();
        let (own, other) = (
            client.records.get(key).unwrap_or(&empty),
            newcomer.records.get(key).unwrap_or(&empty),
        );
        let excused =
            |field: &str| self.is_excused(place, key, field, own.get(field), other.get(field));
        if client.is_live(key) != newcomer.is_live(key) {
            assert!(
                excused("deletedAt"),
                "device {place} and a newcomer differ in whether {key:?} is there: {own:?} {other:?}"
            );
            return;
        }
        if !client.is_live(key) {
            return;
        }
        let names: BTreeSet<&String> = own.keys().chain(other.keys()).collect();
        for name in names.into_iter().filter(|name| *name != "deletedAt") {
            let value =
                |record: &BTreeMap<String, Held>| record.get(name).map(|held| held.value.clone());
            assert!(
                value(own) == value(other) || excused(name),
                "device {place} and a newcomer differ in {name} of {key:?}: {:?} {:?}",
                own.get(name),
                other.get(name)
            );
        }
    }

    /// The named exceptions: what a device wrote when its clock was ahead of the server, and what it stamped with its own
    /// now for lack of a time, both only against older writes.
    fn is_excused(
        &self,
        place: usize,
        key: &(String, String),
        field: &str,
        own: Option<&Held>,
        other: Option<&Held>,
    ) -> bool {
        let Some(own) = own else { return false };
        let older = other.is_none_or(|other| other.at <= own.at);
        let ahead = (
            place,
            key.0.clone(),
            key.1.clone(),
            field.to_owned(),
            own.at.clone(),
        );
        older
            && match own.source {
                Source::Edit => self.ahead.contains(&ahead),
                Source::Stamp => self.scenario.timeless,
                Source::Server => false,
            }
    }
}
