//! Reading a page of the log: window to statement, rows to entries.

use sync_protocol::{
    AppId, ClientId, EventId, Op, RecordId, SpaceId, TableName, Tables, UserId, Value,
};
use sync_store::{Entry, Page, Position, Scope, StoreError, Window, read_fields};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::instant::millis;
use crate::queries;
use crate::uuid::Uuid;
use crate::write::column;

/// Up to so many tables, each in one scope, are read one by one: each as far as if it were alone on the page. Of more, the
/// scopes are read, with the rows of other tables passed over.
const FEW_PLACES: usize = 4;

/// The statement that reads a window.
pub(crate) fn statement(window: &Window) -> &'static str {
    match &window.tables {
        Tables::Only(tables) if tables.len() * window.stretches.len() <= FEW_PLACES => {
            queries::PAGE_OF_FEW_TABLES
        }
        _ => queries::PAGE,
    }
}

/// Sends the statement of a window: its rows, or none at all for a window that holds nothing.
pub(crate) async fn read(
    connection: &Client,
    statement: &Statement,
    window: &Window,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    if window.stretches.is_empty() {
        return Ok(Vec::new());
    }
    let stretches = &window.stretches;
    let scopes = column(stretches, |stretch| stretch.scope.key());
    let after = column(stretches, |stretch| stretch.after.0);
    let until = column(stretches, |stretch| stretch.until.0);
    let joined = column(stretches, |stretch| stretch.joined.map(|grant| grant.0));
    let app = window.app.as_str();
    let rows = number(window.limit).saturating_add(1);
    let bytes = number(window.bytes);
    let user = window.skip.as_ref().map(|(user, _)| user.as_str());
    let client = window.skip.as_ref().map(|(_, client)| client.as_str());
    let tables: Option<Vec<&str>> = match &window.tables {
        Tables::All => None,
        Tables::Only(tables) => Some(tables.iter().map(TableName::as_str).collect()),
    };
    let parameters: [&(dyn ToSql + Sync); 10] = [
        &scopes, &app, &after, &until, &rows, &bytes, &user, &client, &tables, &joined,
    ];
    connection.query(statement, &parameters).await
}

/// The page that the rows of a window make.
pub(crate) fn fill(rows: &[Row], app: &AppId) -> Result<Page, StoreError> {
    let fitting = rows.iter().take_while(|row| row.get::<_, bool>(1));
    let entries = fitting
        .map(|row| entry(row, app))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Page {
        has_more: entries.len() < rows.len(),
        entries,
    })
}

/// Reads one row, in the order of the columns of [`queries::PAGE`].
pub(crate) fn entry(row: &Row, app: &AppId) -> Result<Entry, StoreError> {
    let text = |column| row.get::<_, &str>(column);
    let value = |column| {
        let text: Option<&str> = row.get(column);
        text.map(Value::parse).transpose().map_err(unreadable)
    };
    let space: Option<&str> = row.get(11);
    Ok(Entry {
        position: Position(row.get(0)),
        scope: Scope::from_key(text(2)).ok_or_else(|| unreadable("a scope"))?,
        app: app.clone(),
        table: TableName::new(text(3)).map_err(unreadable)?,
        record: RecordId::new(text(4)).map_err(unreadable)?,
        event_id: event_id(row, 5),
        op: Op::parse(text(6)).ok_or_else(|| unreadable("an op"))?,
        fields: read_fields(text(7), text(8))?,
        user: UserId::new(text(9)).map_err(unreadable)?,
        client: ClientId::new(text(10)).map_err(unreadable)?,
        space: space.map(SpaceId::new).transpose().map_err(unreadable)?,
        received: millis(row.get(12)),
        schema_version: row.get(13),
        actor: value(14)?,
        origin: value(15)?,
        opens: row.get(16),
        to_everyone: row.get(17),
        undated: row.get(18),
        source_change_id: row.get(19),
    })
}

/// Reads an event id.
pub(crate) fn event_id(row: &Row, column: usize) -> EventId {
    row.get::<_, Uuid>(column).0
}

pub(crate) fn unreadable(what: impl std::fmt::Display) -> StoreError {
    StoreError::fault(format!("a row of the log cannot be read: {what}"))
}

/// A count or a size as a parameter.
pub(crate) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
