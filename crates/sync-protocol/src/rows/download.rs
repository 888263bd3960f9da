//! The query of `GET /sync/download`.

use crate::AppId;

/// How many rows a page has if nothing is said.
pub const DEFAULT_DOWNLOAD_LIMIT: usize = 100;
/// The most rows of a page.
pub const MAX_DOWNLOAD_LIMIT: usize = 1000;

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadQuery {
    /// Behind which `server_id`.
    pub after: i64,
    /// How many rows, 1 to [`MAX_DOWNLOAD_LIMIT`].
    pub limit: usize,
    /// Of which schema; `None` for all.
    pub schema: Option<AppId>,
    /// Whether what the device itself has uploaded comes, too.
    pub include_self: bool,
    /// Up to which `server_id`; 0 for all that there is.
    pub until: i64,
}

/// Why a query is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DownloadError(String);

impl DownloadQuery {
    /// Reads the parameters, by name. One that is empty counts as missing.
    ///
    /// # Errors
    ///
    /// The first that is wrong, in the order in which clients know them.
    pub fn parse<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Self, DownloadError> {
        let given = |name: &str| parameter(name).filter(|text| !text.is_empty());
        let number = |name: &str| {
            given(name)
                .map(|text| text.parse::<i64>().map_err(|_| wrong(name, "an integer")))
                .transpose()
        };
        let at_least_zero = |name: &str| match number(name)? {
            Some(number) if number < 0 => Err(wrong(name, ">= 0")),
            number => Ok(number.unwrap_or(0)),
        };
        let after = at_least_zero("after")?;
        let limit = match number("limit")? {
            None => DEFAULT_DOWNLOAD_LIMIT,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=MAX_DOWNLOAD_LIMIT).contains(limit))
                .ok_or_else(|| wrong("limit", &format!("between 1 and {MAX_DOWNLOAD_LIMIT}")))?,
        };
        let schema = given("schema").map(|schema| {
            let app = AppId::new(schema).ok().filter(|_| is_row_name(schema));
            app.ok_or_else(|| DownloadError("invalid schema name".to_owned()))
        });
        Ok(Self {
            after,
            limit,
            schema: schema.transpose()?,
            include_self: given("include_self") == Some("true"),
            until: at_least_zero("until")?,
        })
    }
}

/// Whether this is a name of a schema or a table as rows clients may use it.
#[must_use]
pub fn is_row_name(text: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    !text.is_empty() && text.bytes().all(is_letter)
}

fn wrong(name: &str, what: &str) -> DownloadError {
    DownloadError(format!("{name} must be {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &'static str)]) -> Result<DownloadQuery, String> {
        let find = |name: &str| {
            let found = parameters.iter().find(|(own, _)| *own == name);
            found.map(|(_, text)| *text)
        };
        DownloadQuery::parse(find).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_or_empty_has_its_default() {
        let query = DownloadQuery {
            after: 0,
            limit: DEFAULT_DOWNLOAD_LIMIT,
            schema: None,
            include_self: false,
            until: 0,
        };
        assert_eq!(parse(&[]), Ok(query.clone()));
        let empty = [("after", ""), ("limit", ""), ("schema", ""), ("until", "")];
        assert_eq!(parse(&empty), Ok(query.clone()));
        assert_eq!(parse(&[("include_self", "TRUE")]), Ok(query));
    }

    #[test]
    fn the_first_parameter_that_is_wrong_is_named() {
        for (parameters, message) in [
            (
                &[("after", "x"), ("limit", "x")][..],
                "after must be an integer",
            ),
            (&[("after", "-1")], "after must be >= 0"),
            (&[("limit", "x")], "limit must be an integer"),
            (&[("limit", "0")], "limit must be between 1 and 1000"),
            (&[("limit", "1001")], "limit must be between 1 and 1000"),
            (&[("schema", "Business")], "invalid schema name"),
            (&[("until", "1.5")], "until must be an integer"),
            (&[("until", "-1")], "until must be >= 0"),
        ] {
            assert_eq!(parse(parameters), Err(message.to_owned()));
        }
    }
}
