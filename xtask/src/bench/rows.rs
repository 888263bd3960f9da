//! What devices of the rows dialect do: upload, download, poll.

use std::error::Error;
use std::net::SocketAddr;

use super::http::Connection;
use super::measure::Work;
use super::row::{APP, Row};
use super::token::token;

/// How many changes an upload has.
pub(crate) const BATCH: usize = 200;
/// How many rows a page has.
pub(crate) const PAGE: usize = 1000;
/// How many rows of a user are updated again and again.
const UPDATED: usize = 10_000;

/// A device that uploads.
pub(crate) struct Uploader {
    connection: Connection,
    user: u64,
    /// The number of the last change.
    changes: u64,
    /// The versions of the rows that it has uploaded, by their numbers.
    versions: Vec<u64>,
    body: String,
}

impl Uploader {
    /// The one device of a user that uploads.
    pub(crate) fn new(server: SocketAddr, user: u64) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            connection: Connection::new(server, token(&name(user), "writer")?),
            user,
            changes: 0,
            versions: Vec::new(),
            body: String::new(),
        })
    }

    /// Uploads new rows until there are so many.
    pub(crate) fn fill(&mut self, rows: usize) -> Result<(), Box<dyn Error>> {
        while self.versions.len() < rows {
            self.insert()?;
        }
        self.connection.rest();
        Ok(())
    }

    fn insert(&mut self) -> Result<u64, Box<dyn Error>> {
        let first = self.versions.len();
        self.versions.resize(first + BATCH, 0);
        self.upload(first)
    }

    /// Uploads a batch of rows from the first on.
    fn upload(&mut self, first: usize) -> Result<u64, Box<dyn Error>> {
        self.body.clear();
        self.body
            .push_str(r#"{"last_server_seq_seen":0,"changes":["#);
        for place in first..first + BATCH {
            if place > first {
                self.body.push(',');
            }
            self.changes += 1;
            let row = Row::new(self.user, place as u64);
            row.write_change(self.changes, self.versions[place], &mut self.body);
        }
        self.body.push_str("]}");
        let answer = self.connection.post("/sync/upload", self.body.as_bytes())?;
        let mut applied = 0;
        let told = numbers(answer, r#""new_server_version":"#);
        for (version, told) in self.versions[first..].iter_mut().zip(told) {
            *version = told;
            applied += 1;
        }
        if applied != BATCH || !answer.starts_with(r#"{"accepted":true"#) {
            return Err(format!("an upload was not applied: {applied} of {BATCH}").into());
        }
        Ok(BATCH as u64)
    }
}

/// Uploads new rows.
pub(crate) struct Inserting(pub(crate) Uploader);

impl Work for Inserting {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        self.0.insert()
    }
}

/// Uploads new versions of rows, all of them in turn.
pub(crate) struct Updating {
    uploader: Uploader,
    next: usize,
}

impl Updating {
    /// With rows that are there.
    pub(crate) fn new(mut uploader: Uploader) -> Result<Self, Box<dyn Error>> {
        uploader.fill(UPDATED)?;
        Ok(Self { uploader, next: 0 })
    }
}

impl Work for Updating {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        let first = self.next;
        self.next = (first + BATCH) % UPDATED;
        self.uploader.upload(first)
    }
}

/// A new device that downloads all that there is of its user, and then begins again.
pub(crate) struct Downloading {
    connection: Connection,
    /// How many rows there must be.
    all: usize,
    after: u64,
    until: u64,
    rows: usize,
    /// Whether each row of a page is counted: on the first way through.
    counts: bool,
}

impl Downloading {
    /// A device of a user who has so many rows.
    pub(crate) fn new(server: SocketAddr, user: u64, all: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            connection: Connection::new(server, token(&name(user), "reader")?),
            all,
            after: 0,
            until: 0,
            rows: 0,
            counts: true,
        })
    }
}

impl Work for Downloading {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        let path = format!(
            "/sync/download?after={}&limit={PAGE}&schema={APP}&until={}",
            self.after, self.until
        );
        let page = self.connection.get(&path)?;
        let tail = &page[page.rfind(r#""has_more":"#).ok_or("no page")?..];
        let has_more = tail.starts_with(r#""has_more":true"#);
        let number = |name| numbers(tail, name).next().ok_or("no page");
        self.after = number(r#""next_after":"#)?;
        self.until = number(r#""window_until":"#)?;
        let rows = match self.counts {
            true => page.matches(r#""server_id":"#).count(),
            false => PAGE.min(self.all - self.rows),
        };
        self.rows += rows;
        if !has_more {
            if self.rows != self.all {
                return Err(format!("{} of {} rows came", self.rows, self.all).into());
            }
            (self.after, self.until, self.rows, self.counts) = (0, 0, 0, false);
        }
        Ok(rows as u64)
    }
}

/// The device that has uploaded all that there is, and asks for what others have.
pub(crate) struct Polling {
    connection: Connection,
    path: String,
}

impl Polling {
    /// It asks again and again from the beginning, as it does the first time.
    pub(crate) fn from_the_start(server: SocketAddr, user: u64) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            connection: Connection::new(server, token(&name(user), "writer")?),
            path: path(0),
        })
    }

    /// Whether its user has any rows.
    pub(crate) fn has_rows(&mut self) -> Result<bool, Box<dyn Error>> {
        let page = self.connection.get(&self.path)?;
        let head = numbers(page, r#""window_until":"#).next();
        Ok(head.ok_or("no page")? > 0)
    }

    /// It asks behind what it was told last.
    pub(crate) fn caught_up(server: SocketAddr, user: u64) -> Result<Self, Box<dyn Error>> {
        let mut polling = Self::from_the_start(server, user)?;
        let page = polling.connection.get(&polling.path)?;
        let next = numbers(page, r#""next_after":"#).next().ok_or("no page")?;
        polling.path = path(next);
        polling.connection.rest();
        Ok(polling)
    }
}

impl Work for Polling {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        let page = self.connection.get(&self.path)?;
        if !page.starts_with(r#"{"changes":[],"has_more":false"#) {
            return Err("a poll brought something".into());
        }
        Ok(1)
    }
}

fn path(after: u64) -> String {
    format!("/sync/download?after={after}&limit={PAGE}&schema={APP}")
}

fn name(user: u64) -> String {
    format!("user-{user}")
}

/// The numbers behind each such name.
fn numbers<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = u64> + 'a {
    let found = text.match_indices(name);
    found.filter_map(move |(place, _)| {
        let rest = &text[place + name.len()..];
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        rest[..end].parse().ok()
    })
}
