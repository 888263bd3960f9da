//! The rows that loads write: the same through the server and straight into the database.

use std::fmt::Write;

/// Of which app the rows are.
pub(crate) const APP: &str = "business";
/// Of which table.
pub(crate) const TABLE: &str = "users";

/// A row that nobody else has, by its number and that of its user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    id: (u64, u64),
    number: u64,
}

impl Row {
    /// The row of this number.
    pub(crate) fn new(user: u64, number: u64) -> Self {
        let high = scatter(user << 40 | number);
        Self {
            id: (high, scatter(high)),
            number,
        }
    }

    /// Its key, as random as those that clients make up.
    pub(crate) fn key(self) -> String {
        let (high, low) = self.id;
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// Its payload at a version, about 300 bytes.
    pub(crate) fn write_payload(self, version: u64, into: &mut String) {
        let (key, number) = (self.key(), self.number);
        let (minute, second) = (version / 60 % 60, version % 60);
        write!(
            into,
            r#"{{"id":"{key}","name":"Somebody with the number {number:010} whose name is as long as that of a small company, in version {version:06}","email":"somebody.with.the.number.{number:010}@mail.example.org","created_at":"2026-01-19T10:00:00.12345Z","updated_at":"2026-01-20T10:{minute:02}:{second:02}.54321Z"}}"#
        )
        .expect("a text takes all that is written");
    }

    /// A change of it for an upload: an `INSERT` if the version is 0.
    pub(crate) fn write_change(self, id: u64, version: u64, into: &mut String) {
        let op = if version == 0 { "INSERT" } else { "UPDATE" };
        write!(
            into,
            r#"{{"source_change_id":{id},"schema":"{APP}","table":"{TABLE}","op":"{op}","pk":"{}","server_version":{version},"payload":"#,
            self.key()
        )
        .expect("a text takes all that is written");
        self.write_payload(version, into);
        into.push('}');
    }
}

/// Spreads numbers over all of them (SplitMix64); no two come out the same.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
