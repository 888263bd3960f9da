//! How news travels between nodes: a JSON array with one object for each piece. Nodes of two versions may meet during an
//! update, so members that are not known are passed over, and a message that cannot be read is lost, not an error.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sync_protocol::{AppId, Audience, ClientId, IdentError, SpaceId, TableName, UserId};

use crate::{News, Notice, Writer};

/// What one piece of news with one table takes at the most: five identifiers of 256 bytes, of which each character may be
/// escaped, and what stands between them.
pub const MAX_NOTICE_BYTES: usize = 2_800;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Piece {
    #[serde(default, rename = "u", skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    /// A user of its own: a version that does not know it finds neither user nor space, and passes the piece over.
    #[serde(default, rename = "g", skip_serializing_if = "Option::is_none")]
    gone: Option<UserId>,
    #[serde(default, rename = "s", skip_serializing_if = "Option::is_none")]
    space: Option<SpaceId>,
    #[serde(default, rename = "a", skip_serializing_if = "Option::is_none")]
    app: Option<AppId>,
    #[serde(default, rename = "t", skip_serializing_if = "BTreeSet::is_empty")]
    tables: BTreeSet<TableName>,
    #[serde(default, rename = "w", skip_serializing_if = "Option::is_none")]
    writer: Option<(UserId, String)>,
    #[serde(default, rename = "p")]
    position: i64,
}

/// Writes news as texts of at most `limit` bytes each, as few as can be without sorting. A notice with many tables may be
/// spread over several.
///
/// # Panics
///
/// If the limit is below [`MAX_NOTICE_BYTES`].
#[must_use]
pub fn encode(news: &[News], limit: usize) -> Vec<String> {
    assert!(limit >= MAX_NOTICE_BYTES, "a notice may not fit");
    let mut texts = Vec::new();
    let mut open = String::new();
    for piece in news.iter().flat_map(|news| pieces(news, limit)) {
        if !open.is_empty() && open.len() + piece.len() + 2 > limit {
            texts.push(closed(&mut open));
        }
        open.push(if open.is_empty() { '[' } else { ',' });
        open.push_str(&piece);
    }
    if !open.is_empty() {
        texts.push(closed(&mut open));
    }
    texts
}

fn closed(open: &mut String) -> String {
    open.push(']');
    std::mem::take(open)
}

/// One piece, or several if its tables do not fit into one.
fn pieces(news: &News, limit: usize) -> Vec<String> {
    let whole = text(&Piece::from(news));
    let News::Changes(notice) = news else {
        return vec![whole];
    };
    if whole.len() + 2 <= limit {
        return vec![whole];
    }
    let middle = notice.tables.len() / 2;
    let half = |tables: BTreeSet<TableName>| {
        let half = Notice {
            tables,
            ..notice.clone()
        };
        pieces(&News::Changes(half), limit)
    };
    let first = notice.tables.iter().take(middle).cloned().collect();
    let second = notice.tables.iter().skip(middle).cloned().collect();
    [half(first), half(second)].concat()
}

fn text(piece: &Piece) -> String {
    serde_json::to_string(piece).expect("names and numbers are always JSON")
}

/// Reads news. Pieces that this version does not know are passed over.
///
/// # Errors
///
/// The text is not what [`encode`] writes.
pub fn decode(text: &str) -> Result<Vec<News>, serde_json::Error> {
    let pieces: Vec<&RawValue> = serde_json::from_str(text)?;
    let pieces = pieces
        .into_iter()
        .map(|raw| serde_json::from_str(raw.get()));
    // One piece that this version does not understand takes no other with it.
    let pieces = pieces.filter_map(|piece: Result<Piece, _>| piece.ok()?.into_news());
    Ok(pieces.collect())
}

impl From<&News> for Piece {
    fn from(news: &News) -> Self {
        let notice = match news {
            News::Access(user) => {
                let user = Some(user.clone());
                return Self {
                    user,
                    ..Self::default()
                };
            }
            News::Gone(user) => {
                let gone = Some(user.clone());
                return Self {
                    gone,
                    ..Self::default()
                };
            }
            News::Changes(notice) => notice.clone(),
        };
        let (user, space) = match notice.audience {
            Audience::User(user) => (Some(user), None),
            Audience::Space(space) => (None, Some(space)),
        };
        Self {
            user,
            gone: None,
            space,
            app: Some(notice.app),
            tables: notice.tables,
            writer: notice
                .writer
                .map(|Writer { user, client }| (user, client.to_string())),
            position: notice.position,
        }
    }
}

impl Piece {
    /// What it says; nothing if it is of a kind that this version does not know.
    fn into_news(self) -> Option<News> {
        if let Some(user) = self.gone {
            return Some(News::Gone(user));
        }
        let audience = match (self.user, self.space) {
            (Some(user), None) if self.app.is_none() => return Some(News::Access(user)),
            (Some(user), None) => Audience::User(user),
            (None, Some(space)) => Audience::Space(space),
            _ => return None,
        };
        let writer = self.writer.map(writer).transpose().ok()?;
        let notice = Notice {
            audience,
            app: self.app?,
            tables: self.tables,
            writer,
            position: self.position,
        };
        (!notice.tables.is_empty()).then_some(News::Changes(notice))
    }
}

fn writer((user, client): (UserId, String)) -> Result<Writer, IdentError> {
    let client = ClientId::new(&client)?;
    Ok(Writer { user, client })
}
