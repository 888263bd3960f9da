//! What has been told already, so that a look at the log tells only what no notice has.

use std::collections::HashMap;

use sync_protocol::{AppId, Audience, TableName};

use crate::{Notice, Writer};

/// How many places are remembered; beyond that all are forgotten, and some are told twice.
const MAX_PLACES: usize = 100_000;

type Place = (Audience, AppId, TableName, Option<Writer>);

/// The greatest position that was told of each place, for as long as a look may still find it.
///
/// Within an audience positions rise in the order of the commits: whoever was told of a position reads all below it, too.
/// Each writer counts for itself, since its own connections are not told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    places: HashMap<Place, i64>,
    /// Up to where nobody looks any more; nothing is remembered as long as nobody looks at all.
    floor: Option<i64>,
}

impl Heard {
    /// Keeps of a notice what was not told before, and remembers it; `None` if nothing is left.
    pub(crate) fn news(&mut self, mut notice: Notice) -> Option<Notice> {
        let position = notice.position;
        if self.floor.is_some_and(|floor| position > floor) {
            if self.places.len() + notice.tables.len() > MAX_PLACES {
                self.places.clear();
            }
            let (audience, app, writer) = (&notice.audience, &notice.app, &notice.writer);
            notice.tables.retain(|table| {
                let place = (audience.clone(), app.clone(), table.clone(), writer.clone());
                let told = self.places.entry(place).or_insert(i64::MIN);
                let is_new = *told < position;
                *told = position.max(*told);
                is_new
            });
        }
        (!notice.tables.is_empty()).then_some(notice)
    }

    /// Forgets what no look will find again: whatever is at or below this position.
    pub(crate) fn settle(&mut self, floor: i64) {
        self.floor = Some(floor);
        self.places.retain(|_, position| *position > floor);
    }
}
