//! Pages of the log: the rows of several stretches and tables in the order in which they are read (`Window::place`), no
//! further than the page needs.
//!
//! The rows of a stretch, or of one table of it, come from an index in order of position. Several are merged by runs:
//! the place whose next row is the first of all is read up to the next row of any other. A stretch that is read at a
//! grant stands there as a whole.
//!
//! ```text
//! a   1 2     5 6                      run of a up to 2, run of b up to 4, run of a up to 6, all of c, run of b …
//! b       3 4         9
//! c               (1 2 4 6 at 8)
//! ```

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};
use sync_protocol::{
    AppId, ClientId, EventId, IdentError, Millis, Op, RecordId, SpaceId, TableName, Tables, UserId,
    Value,
};
use sync_store::{Entry, Page, Position, Scope, Stretch, Window, read_fields};

use super::queries;
use crate::failure::{Failure, Outcome};

/// The page of a window.
pub(crate) fn page(connection: &Connection, window: &Window) -> Outcome<Page> {
    let mut catch = Catch::new(window);
    let mut heads = Vec::with_capacity(window.stretches.len());
    for place in places(window) {
        heads.extend(head(connection, window, place, place.stretch.after)?);
    }
    while let Some(first) = take_first(&mut heads) {
        let until = first.end_of_run(heads.iter().map(Head::key).min());
        read_run(connection, &first, until, &mut catch)?;
        if catch.is_full() {
            break;
        }
        heads.extend(head(connection, window, first.place, until)?);
    }
    Ok(catch.page)
}

/// A row of this scope.
pub(super) fn row(
    connection: &Connection,
    app: &AppId,
    scope: &Scope,
    position: i64,
) -> Outcome<Entry> {
    let mut statement = connection.prepare_cached(queries::ROW)?;
    let mut rows = statement.query((scope.key(), app.as_str(), position))?;
    match rows.next()? {
        Some(row) => entry(row, scope, app),
        None => Err(gone(position)),
    }
}

/// A record points at a row that is not there.
pub(super) fn gone(position: i64) -> Failure {
    Failure::fault(format!(
        "row {position} is gone, but its record points at it"
    ))
}

/// Where rows are found in order of position: a stretch, or one table of it.
#[derive(Clone, Copy)]
struct Place<'a> {
    stretch: &'a Stretch,
    table: Option<&'a TableName>,
}

/// All places of a window.
fn places(window: &Window) -> Vec<Place<'_>> {
    let stretches = window.stretches.iter();
    match &window.tables {
        Tables::All => stretches
            .map(|stretch| Place {
                stretch,
                table: None,
            })
            .collect(),
        Tables::Only(tables) => stretches
            .flat_map(|stretch| {
                tables.iter().map(move |table| Place {
                    stretch,
                    table: Some(table),
                })
            })
            .collect(),
    }
}

/// The next row of a place.
struct Head<'a> {
    position: Position,
    place: Place<'a>,
}

/// By what rows of several places are ordered, as [`Window::place`] says.
type Key = (Position, Position);

impl Head<'_> {
    fn key(&self) -> Key {
        let joined = self.place.stretch.joined;
        (joined.unwrap_or(self.position), self.position)
    }

    /// Up to where the rows of its place come before the first of all others.
    fn end_of_run(&self, other: Option<Key>) -> Position {
        let Stretch { until, joined, .. } = *self.place.stretch;
        let Some((read_at, position)) = other else {
            return until;
        };
        let before = match joined {
            Some(grant) if grant < read_at => return until,
            // Another table of the same space.
            Some(_) => position,
            None => read_at,
        };
        until.min(Position(before.0 - 1))
    }
}

/// The page so far. It has more from the moment when a row was found that no longer fits, and that alone ends the
/// reading: a size that is wrong makes pages longer or shorter, but no cursor passes a row that was left (P3).
struct Catch<'a> {
    window: &'a Window,
    page: Page,
    room: usize,
}

impl<'a> Catch<'a> {
    fn new(window: &'a Window) -> Self {
        Self {
            window,
            page: Page::default(),
            room: window.bytes,
        }
    }

    fn is_full(&self) -> bool {
        self.page.has_more
    }

    /// Takes a row if it fits; the first one always does.
    fn take(&mut self, row: &Row<'_>, scope: &Scope) -> Outcome<()> {
        let size = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
        let taken = self.page.entries.len();
        if taken == self.window.limit || size > self.room && taken > 0 {
            self.page.has_more = true;
            return Ok(());
        }
        self.room = self.room.saturating_sub(size);
        self.page.entries.push(entry(row, scope, &self.window.app)?);
        Ok(())
    }
}

fn take_first<'a>(heads: &mut Vec<Head<'a>>) -> Option<Head<'a>> {
    let keys = heads.iter().map(Head::key).enumerate();
    let first = keys.min_by_key(|(_, key)| *key)?.0;
    Some(heads.swap_remove(first))
}

/// The first row of a place behind a position.
fn head<'a>(
    connection: &Connection,
    window: &Window,
    place: Place<'a>,
    after: Position,
) -> Outcome<Option<Head<'a>>> {
    let Stretch { scope, until, .. } = place.stretch;
    if after >= *until {
        return Ok(None);
    }
    let (app, key) = (window.app.as_str(), scope.key());
    let (after, until) = (after.0, until.0);
    let next: Option<i64> = match place.table {
        None => connection
            .prepare_cached(queries::NEXT)?
            .query_row((key, app, after, until), |row| row.get(0))?,
        Some(table) => connection
            .prepare_cached(queries::NEXT_OF_TABLE)?
            .query_row((key, app, after, until, table.as_str()), |row| row.get(0))?,
    };
    Ok(next.map(|position| Head {
        position: Position(position),
        place,
    }))
}

/// Reads the rows of a place from its head to `until`, or until the catch is full.
fn read_run(
    connection: &Connection,
    head: &Head<'_>,
    until: Position,
    catch: &mut Catch<'_>,
) -> Outcome<()> {
    let window = catch.window;
    let Place { stretch, table } = head.place;
    let (app, key) = (window.app.as_str(), stretch.scope.key());
    let (after, until) = (head.position.0 - 1, until.0);
    // What a space held when its reader joined is read whole.
    let skip = window.skip.as_ref().filter(|_| stretch.joined.is_none());
    let user = skip.map(|(user, _)| user.as_str());
    let client = skip.map(|(_, client)| client.as_str());
    let mut statement = connection.prepare_cached(match table {
        None => queries::RUN,
        Some(_) => queries::RUN_OF_TABLE,
    })?;
    let mut rows = match table {
        None => statement.query((key, app, after, until, user, client))?,
        Some(table) => statement.query((key, app, after, until, user, client, table.as_str()))?,
    };
    while let Some(row) = rows.next()? {
        catch.take(row, &stretch.scope)?;
        if catch.is_full() {
            break;
        }
    }
    Ok(())
}

/// Reads a row, whose columns are those of `run` and `row`.
pub(super) fn entry(row: &Row<'_>, scope: &Scope, app: &AppId) -> Outcome<Entry> {
    let text = |column| -> Outcome<&str> { Ok(row.get_ref(column)?.as_str()?) };
    let maybe = |column| -> Outcome<Option<&str>> { Ok(row.get_ref(column)?.as_str_or_null()?) };
    Ok(Entry {
        scope: scope.clone(),
        app: app.clone(),
        position: Position(cell(row, 1)?),
        table: read(TableName::new(text(2)?))?,
        record: read(RecordId::new(text(3)?))?,
        event_id: EventId::from_bits(u128::from_be_bytes(cell(row, 4)?)),
        op: Op::parse(text(5)?).ok_or_else(|| Failure::fault("a row has an unknown op"))?,
        fields: read_fields(text(6)?, text(7)?)?,
        user: read(UserId::new(text(8)?))?,
        client: read(ClientId::new(text(9)?))?,
        space: maybe(10)?.map(SpaceId::new).map(read).transpose()?,
        received: Millis(cell(row, 11)?),
        schema_version: cell(row, 12)?,
        actor: maybe(13)?.map(value).transpose()?,
        origin: maybe(14)?.map(value).transpose()?,
        opens: cell(row, 15)?,
        to_everyone: cell(row, 16)?,
        undated: cell(row, 17)?,
        source_change_id: cell(row, 18)?,
    })
}

fn cell<T: FromSql>(row: &Row<'_>, column: usize) -> Outcome<T> {
    Ok(row.get(column)?)
}

fn read<T>(ident: Result<T, IdentError>) -> Outcome<T> {
    ident.map_err(|error| Failure::fault(format!("a name of a row {error}")))
}

fn value(text: &str) -> Outcome<Value> {
    Value::parse(text).map_err(|error| Failure::fault(format!("a value of a row: {error}")))
}
