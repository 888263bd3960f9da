//! What has been told already, so that a look at the log tells only what no notice has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sync_protocol::{AppId, Audience, TableName};

use crate::{Notice, Writer};

/// How many places are remembered; beyond that all are forgotten, and some are told twice.
const MAX_PLACES: usize = 100_000;
/// How far above the clock of the last look a position may lie, in nanoseconds: looks come every few seconds. What is
/// further ahead comes from another database, or from somebody who means no good; it is told, and not remembered.
const AHEAD: i64 = 10_000_000_000;

type Place = (Audience, AppId, TableName, Option<Writer>);

/// The greatest positions that were told of each place, for as long as a look may still find them.
///
/// Within an audience positions rise in the order of the commits: whoever was told of a position reads all below it, too.
/// Each writer counts for itself, since its own connections are not told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    places: HashMap<Place, Told>,
    /// Up to where looks have settled the log, and up to where positions are believed; nothing is remembered as long as
    /// nobody looks at all.
    known: Option<(i64, i64)>,
}

/// What was told of a place.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// By whomever.
    position: i64,
    /// By looks, which see nothing but what is there.
    found: i64,
}

/// Who has a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Whoever has committed it. It is told unless a look has told it.
    Writer,
    /// A look. It is told unless somebody has told it.
    Look,
}

impl Heard {
    /// Keeps of a notice what is to be told, and remembers it; `None` if nothing is left.
    pub(crate) fn news(&mut self, mut notice: Notice, source: Source) -> Option<Notice> {
        let position = notice.position;
        let is_between = |(floor, ceiling)| floor < position && position <= ceiling;
        if self.known.is_some_and(is_between) {
            if self.places.len() + notice.tables.len() > MAX_PLACES {
                self.places.clear();
            }
            let (audience, app, writer) = (&notice.audience, &notice.app, &notice.writer);
            notice.tables.retain(|table| {
                let place = (audience.clone(), app.clone(), table.clone(), writer.clone());
                tell(self.places.entry(place), position, source)
            });
        }
        (!notice.tables.is_empty()).then_some(notice)
    }

    /// Remembers from now on: there will be looks.
    pub(crate) fn begin(&mut self) {
        self.known = Some((i64::MIN, i64::MAX));
    }

    /// Forgets what no look will find again: whatever is at or below the floor, or above what the clock can have given out.
    pub(crate) fn settle(&mut self, floor: i64, clock: i64) {
        let ceiling = clock.saturating_add(AHEAD);
        self.known = Some((floor, ceiling));
        let is_between = |told: &Told| floor < told.position && told.position <= ceiling;
        self.places.retain(|_, told| is_between(told));
    }

    /// Forgets everything, and begins again: the log may no longer be what it was.
    pub(crate) fn forget(&mut self) {
        self.places.clear();
        self.begin();
    }
}

/// Remembers a position of a place; says whether it is to be told.
fn tell(place: Entry<'_, Place, Told>, position: i64, source: Source) -> bool {
    let told = place.or_insert(Told {
        position: i64::MIN,
        found: i64::MIN,
    });
    let is_new = match source {
        Source::Writer => told.found < position,
        Source::Look => told.position < position,
    };
    told.position = told.position.max(position);
    if source == Source::Look {
        told.found = told.found.max(position);
    }
    is_new
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
        assert!(heard.news(notice(0, 2, 5), Source::Writer).is_some());
        assert_eq!(heard.places.len(), 0, "nobody looks");
        heard.settle(0, 100);
        heard.news(notice(0, 2, 5), Source::Writer);
        heard.news(notice(1, 2, 6), Source::Writer);
        assert_eq!(heard.places.len(), 3);
        heard.settle(5, 100);
        assert_eq!(heard.places.len(), 2);
        heard.settle(6, 100);
        assert_eq!(heard.places.len(), 0);
        assert!(heard.news(notice(0, 1, 6), Source::Writer).is_some());
        assert_eq!(heard.places.len(), 0, "the last look was there already");
    }

    #[test]
    fn beyond_the_bound_it_begins_anew_and_tells_twice_rather_than_not() {
        let mut heard = Heard::default();
        heard.settle(0, 100);
        assert!(
            heard
                .news(notice(0, MAX_PLACES - 1, 5), Source::Writer)
                .is_some()
        );
        assert_eq!(
            heard.news(notice(7, 1, 5), Source::Look),
            None,
            "it is known"
        );
        assert!(
            heard
                .news(notice(MAX_PLACES, 2, 5), Source::Writer)
                .is_some()
        );
        assert_eq!(heard.places.len(), 2);
        assert!(heard.news(notice(7, 1, 5), Source::Writer).is_some());
    }

    #[test]
    fn what_is_told_before_the_first_look_is_remembered_if_there_will_be_one() {
        let mut heard = Heard::default();
        heard.begin();
        assert!(heard.news(notice(0, 1, 5), Source::Writer).is_some());
        assert!(heard.news(notice(1, 1, i64::MAX), Source::Writer).is_some());
        assert_eq!(heard.news(notice(0, 1, 5), Source::Look), None);
        heard.settle(0, 100);
        assert_eq!(heard.news(notice(0, 1, 5), Source::Look), None);
        assert!(heard.news(notice(1, 1, 5), Source::Look).is_some());
    }

    #[test]
    fn a_position_that_cannot_be_is_told_and_hides_nothing() {
        let mut heard = Heard::default();
        heard.settle(0, 100);
        assert!(heard.news(notice(0, 1, i64::MAX), Source::Writer).is_some());
        assert!(
            heard
                .news(notice(0, 1, AHEAD + 101), Source::Writer)
                .is_some()
        );
        assert_eq!(heard.places.len(), 0);
        assert!(heard.news(notice(0, 1, 5), Source::Look).is_some());
    }

    #[test]
    fn what_somebody_else_has_told_is_told_by_its_writer_all_the_same() {
        let mut heard = Heard::default();
        heard.settle(0, 100);
        assert!(heard.news(notice(0, 1, 9), Source::Writer).is_some());
        assert!(heard.news(notice(0, 1, 5), Source::Writer).is_some());
        assert_eq!(heard.news(notice(0, 1, 5), Source::Look), None);
        assert!(heard.news(notice(0, 1, 10), Source::Look).is_some());
        assert_eq!(heard.news(notice(0, 1, 10), Source::Writer), None);
    }
}
