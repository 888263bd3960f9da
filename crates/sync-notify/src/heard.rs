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

#[cfg(test)]
mod tests {
    use sync_protocol::UserId;

    use super::*;

    fn notice(first: usize, count: usize, position: i64) -> Notice {
        Notice {
            audience: Audience::User(UserId::new("ann").unwrap()),
            app: AppId::new("app").unwrap(),
            tables: (first..first + count)
                .map(|number| TableName::new(&format!("t{number}")).unwrap())
                .collect(),
            writer: None,
            position,
        }
    }

    #[test]
    fn what_no_look_finds_again_is_forgotten() {
        let mut heard = Heard::default();
        assert!(heard.news(notice(0, 2, 5)).is_some());
        assert_eq!(heard.places.len(), 0, "nobody looks");
        heard.settle(0);
        heard.news(notice(0, 2, 5));
        heard.news(notice(1, 2, 6));
        assert_eq!(heard.places.len(), 3);
        heard.settle(5);
        assert_eq!(heard.places.len(), 2);
        heard.settle(6);
        assert_eq!(heard.places.len(), 0);
        assert!(heard.news(notice(0, 1, 6)).is_some());
        assert_eq!(heard.places.len(), 0, "the last look was there already");
    }

    #[test]
    fn beyond_the_bound_it_begins_anew_and_tells_twice_rather_than_not() {
        let mut heard = Heard::default();
        heard.settle(0);
        assert!(heard.news(notice(0, MAX_PLACES - 1, 5)).is_some());
        assert_eq!(heard.news(notice(7, 1, 5)), None, "it is known");
        assert!(heard.news(notice(MAX_PLACES, 2, 5)).is_some());
        assert_eq!(heard.places.len(), 2);
        assert!(heard.news(notice(7, 1, 5)).is_some());
    }
}
