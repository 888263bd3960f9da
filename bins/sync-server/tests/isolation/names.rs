//! Who is there, and where: names that contain each other, look like keys, and need quoting wherever they go.

use std::collections::HashMap;

/// How many users there are.
pub(crate) const USERS: usize = 50;
/// How many spaces there are.
pub(crate) const SPACES: usize = 20;
/// Apps, all used by everybody.
pub(crate) const APPS: [&str; 4] = ["app", "app,x", "s:app", "app_x"];
/// Those of them that rows clients can name.
pub(crate) const ROW_APPS: [usize; 2] = [0, 3];
/// The tables that everybody writes; beside them each scope has one that is written for it alone.
pub(crate) const SHARED_TABLES: [&str; 2] = ["tasks", "tasks,notes"];
/// The ids of records, the same for all.
pub(crate) const RECORDS: [&str; 11] = [
    "1",
    "11",
    "one",
    "u:anna",
    "{1}",
    "'",
    "é",
    "%31",
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000011",
    "11111111-1111-4111-8111-111111111111",
];
/// Those of them that rows clients can name.
pub(crate) const ROW_RECORDS: [usize; 3] = [8, 9, 10];

const NASTY_USERS: [&str; 40] = [
    "anna",
    "ann",
    "Anna",
    "anna ",
    "u:anna",
    "s:home",
    "s:anna",
    "u:x",
    "s:x",
    "x",
    "u:",
    "s:",
    "u",
    ":",
    "home",
    "anna,ben",
    "ben",
    "{anna}",
    "{anna,ben}",
    "\"anna\"",
    "\"",
    "'anna'",
    "'; drop table sync_changes; --",
    "\\",
    "\\\"",
    "a/b",
    "a?b=c#d",
    "a b",
    "%",
    "%25",
    "an%",
    "_nna",
    "*",
    "$1",
    "NULL",
    "{}",
    "_personal:anna",
    "é",
    "e\u{301}",
    "\u{1F980}",
];

const NASTY_SPACES: [&str; 18] = [
    "home",
    "hom",
    "home,office",
    "office",
    "anna",
    "u:anna",
    "s:home",
    "u:x",
    "s:x",
    "x",
    "{home,x}",
    "\"home\"",
    "'x'",
    "%",
    "NULL",
    "\\",
    "é",
    "e\u{301}",
];

/// A scope, by the numbers of users and spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The personal one of a user.
    User(usize),
    /// A space's.
    Space(usize),
}

/// The names, and what they stand for.
pub(crate) struct Names {
    pub(crate) users: Vec<String>,
    pub(crate) spaces: Vec<String>,
    /// All tables: first those of everybody, then those of each user, then those of each space.
    pub(crate) tables: Vec<String>,
    places: HashMap<String, Place>,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut users: Vec<String> = NASTY_USERS.map(str::to_owned).into();
        users.push("é".repeat(128));
        users.extend((users.len()..USERS).map(|number| format!("user-{number}")));
        let mut spaces: Vec<String> = NASTY_SPACES.map(str::to_owned).into();
        spaces.push("s:".repeat(128));
        spaces.extend((spaces.len()..SPACES).map(|number| format!("space-{number}")));
        let mut tables: Vec<String> = SHARED_TABLES.map(str::to_owned).into();
        tables.extend((0..USERS).map(|user| format!("own_{user}")));
        tables.extend((0..SPACES).map(|space| format!("in_{space}")));
        let personal = users.iter().enumerate();
        let personal = personal.map(|(number, name)| (format!("u:{name}"), Place::User(number)));
        let shared = spaces.iter().enumerate();
        let shared = shared.map(|(number, name)| (format!("s:{name}"), Place::Space(number)));
        Self {
            places: personal.chain(shared).collect(),
            users,
            spaces,
            tables,
        }
    }

    /// The scope of a key that a store has written.
    pub(crate) fn place(&self, key: &str) -> Option<Place> {
        self.places.get(key).copied()
    }

    /// The keys of all scopes.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The number of a user.
    pub(crate) fn user(&self, name: &str) -> Option<usize> {
        self.users.iter().position(|known| known == name)
    }

    /// The number of a space.
    pub(crate) fn space(&self, name: &str) -> Option<usize> {
        self.spaces.iter().position(|known| known == name)
    }

    /// The number of a table.
    pub(crate) fn table(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|known| known == name)
    }

    /// The table that is written for one scope alone.
    pub(crate) fn table_of(place: Place) -> usize {
        match place {
            Place::User(user) => SHARED_TABLES.len() + user,
            Place::Space(space) => SHARED_TABLES.len() + USERS + space,
        }
    }
}
