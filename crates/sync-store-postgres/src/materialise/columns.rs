//! The columns of business tables, as the catalogue has them, and how a value of JSON becomes one of theirs.

use openssl::base64::decode_block;
use sync_protocol::rows::{canonical_uuid, reference_uuid};
use sync_protocol::{Timestamp, Value};
use tokio_postgres::Row;

use super::handler::{BusinessConnection, HandlerError};
use crate::queries::business;

/// A column of a business table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its type, as SQL writes it.
    pub(crate) type_name: String,
    /// Its type without what narrows it: that of a domain is what the domain is made of.
    pub(crate) kind: String,
    pub(crate) not_null: bool,
    pub(crate) has_default: bool,
    /// Whether the database fills it and takes no other value.
    pub(crate) is_generated: bool,
}

impl Column {
    pub(crate) fn read(row: &Row) -> Self {
        let is_identity: bool = row.get(6);
        Self {
            name: row.get(0),
            type_name: row.get(1),
            kind: row.get(2),
            not_null: row.get(3),
            has_default: row.get::<_, bool>(4) || is_identity,
            is_generated: row.get(5),
        }
    }

    /// Its name in SQL.
    pub(crate) fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// A value as `json_to_recordset` reads it for this column.
    pub(crate) fn take(&self, value: &Value) -> Result<Value, HandlerError> {
        let taken = match self.kind.as_str() {
            "uuid" => value.text().map(|text| uuid(&text)),
            "bytea" if value.is_null() => None,
            "bytea" => {
                let bytes = value.text().and_then(|text| bytes(&text));
                Some(Value::string(
                    &bytes.ok_or_else(|| self.unfit("is no base64"))?,
                ))
            }
            "timestamptz" | "timestamp" if is_number(value) => {
                let instant = instant(value.as_str());
                let instant = instant.ok_or_else(|| self.unfit("is no number of seconds"))?;
                Some(Value::string(&instant.to_string()))
            }
            _ => None,
        };
        Ok(taken.unwrap_or_else(|| value.clone()))
    }

    fn unfit(&self, what: &str) -> HandlerError {
        HandlerError::new(format!("the value for column {} {what}", self.quoted()))
    }
}

/// The columns of a table; none if there is no such table.
pub(crate) async fn read_columns(
    connection: &BusinessConnection<'_>,
    schema: &str,
    name: &str,
) -> Result<Vec<Column>, HandlerError> {
    let rows = connection
        .query(business::COLUMNS, &[&schema, &name])
        .await?;
    Ok(rows.iter().map(Column::read).collect())
}

/// A name as SQL takes any.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A UUID in whatever form; nothing where there is none.
fn uuid(text: &str) -> Value {
    match text {
        "" => Value::null(),
        _ => Value::string(reference_uuid(text).as_deref().unwrap_or(text)),
    }
}

/// Bytes from base64, or from a UUID with dashes, as PostgreSQL reads them.
fn bytes(text: &str) -> Option<String> {
    if text.len() == 36
        && let Some(uuid) = canonical_uuid(text)
    {
        return Some(format!("\\x{}", uuid.replace('-', "")));
    }
    let bytes = decode_block(text).ok()?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Some(format!("\\x{}", digits.collect::<String>()))
}

fn is_number(value: &Value) -> bool {
    value
        .as_str()
        .starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// The instant so many seconds after 1970.
fn instant(seconds: &str) -> Option<Timestamp> {
    let nanos = match seconds.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1_000_000_000)?,
        Err(_) => {
            // A double has room for microseconds, and PostgreSQL for no more.
            let micros = (seconds.parse::<f64>().ok()? * 1e6).round();
            let fits = micros.abs() < 9e15;
            fits.then_some(micros as i64)?.checked_mul(1000)?
        }
    };
    Some(Timestamp::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(kind: &str, value: &str) -> Option<String> {
        let column = Column {
            name: "c".to_owned(),
            type_name: kind.to_owned(),
            kind: kind.to_owned(),
            not_null: false,
            has_default: false,
            is_generated: false,
        };
        let value = Value::parse(value).expect("JSON");
        column
            .take(&value)
            .ok()
            .map(|value| value.as_str().to_owned())
    }

    #[test]
    fn values_become_what_their_columns_read() {
        for (kind, value, expected) in [
            (
                "timestamptz",
                "1736000000",
                r#""2025-01-04T14:13:20.000000000Z""#,
            ),
            (
                "timestamp",
                "1736000000.123456",
                r#""2025-01-04T14:13:20.123456000Z""#,
            ),
            (
                "timestamptz",
                "-1.5e0",
                r#""1969-12-31T23:59:58.500000000Z""#,
            ),
            (
                "timestamptz",
                r#""2025-01-04 10:00:00+01""#,
                r#""2025-01-04 10:00:00+01""#,
            ),
            (
                "uuid",
                r#""AAECAwQFBgcICQoLDA0ODw==""#,
                r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#,
            ),
            ("uuid", r#""""#, "null"),
            ("uuid", "null", "null"),
            ("bytea", r#""aGk=""#, r#""\\x6869""#),
            (
                "bytea",
                r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#,
                r#""\\x000102030405060708090a0b0c0d0e0f""#,
            ),
            ("bytea", "null", "null"),
            (
                "numeric",
                "12345678901234567890123",
                "12345678901234567890123",
            ),
            ("jsonb", r#"{"b": 1.0}"#, r#"{"b": 1.0}"#),
        ] {
            assert_eq!(
                taken(kind, value).as_deref(),
                Some(expected),
                "{kind} {value}"
            );
        }
        for (kind, value) in [
            ("bytea", r#""a""#),
            ("bytea", "1"),
            ("timestamptz", "1e400"),
            ("timestamptz", "9e30"),
        ] {
            assert_eq!(taken(kind, value), None, "{kind} {value}");
        }
    }
}
