//! A story as it is replayed: its file with the differences applied.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::differences::Difference;
use super::forms::OPEN;
use super::neighbours::Told;
use super::{Fault, generate};

/// One file of `tests/recorded`.
#[derive(Deserialize)]
pub(crate) struct Story {
    /// What a server must have for the story to make sense; empty for push, pull, tokens, health and metrics alone.
    pub(crate) needs: Vec<String>,
    /// The world at the start.
    pub(crate) setup: Setup,
    /// The steps in their order, with the differences applied.
    pub(crate) steps: Vec<Value>,
    #[serde(default)]
    differences: Vec<Difference>,
}

/// The world at the start of a story; what it leaves out is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Setup {
    /// Names of users, of which the replay makes ids.
    pub(crate) users: Vec<String>,
    /// Names of spaces, likewise.
    pub(crate) spaces: Vec<String>,
    /// Neighbours that refuse connections.
    pub(crate) unreachable: Vec<String>,
    /// Environment of the server.
    pub(crate) settings: BTreeMap<String, String>,
    /// What billing and memberships say.
    #[serde(flatten)]
    pub(crate) neighbours: Told,
}

/// A request and the answer that is expected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// What is sent.
    pub(crate) request: Request,
    response: Value,
}

/// A request, with at most one of the four kinds of body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The method, in capitals. That of a socket goes without saying.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Path and query as they are sent, escaped already.
    pub(crate) path: String,
    /// The headers besides those of the connection.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON; white space and the order of names are the replay's.
    pub(crate) body: Option<Value>,
    /// These characters.
    pub(crate) text: Option<String>,
    /// A long text told in short.
    pub(crate) repeat: Option<Repeat>,
    /// These bytes.
    pub(crate) base64: Option<String>,
}

/// `head`, then `unit` `count` times, then `tail`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    head: String,
    unit: String,
    count: usize,
    tail: String,
}

fn get() -> String {
    "GET".to_owned()
}

impl Repeat {
    /// The whole text.
    pub(crate) fn text(&self) -> String {
        format!("{}{}{}", self.head, self.unit.repeat(self.count), self.tail)
    }
}

/// What an answer must be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// A number, or anything if the difference is open.
    pub(crate) status: Value,
    /// The headers that matter; `null` for one that must not be there.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    /// JSON.
    pub(crate) body: Option<Value>,
    /// The body as text.
    pub(crate) text: Option<String>,
    /// Lines that a text must hold.
    #[serde(default)]
    pub(crate) lines: Vec<String>,
    /// Values whose exact text matters.
    #[serde(default)]
    pub(crate) verbatim: Vec<Verbatim>,
}

/// A value whose exact text matters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verbatim {
    /// Where in the body (RFC 6901).
    pub(crate) at: String,
    /// What stands there.
    pub(crate) text: String,
}

impl Exchange {
    /// What must come back; `None` where the contract leaves all of it open.
    pub(crate) fn expected(&self) -> Result<Option<Expected>, Fault> {
        if self.response == OPEN {
            return Ok(None);
        }
        let expected = serde_json::from_value(self.response.clone());
        expected
            .map(Some)
            .map_err(|error| format!("its response: {error}"))
    }
}

impl Story {
    /// Reads a file of `tests/recorded`, applies its differences, and writes out what it tells in short.
    pub(crate) fn load(file: &str) -> Result<Self, Fault> {
        let path = folder().join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|fault| format!("{file}: {fault}"))
    }

    /// Whether the server has what it needs.
    pub(crate) fn can_be_replayed(&self) -> bool {
        self.needs.iter().all(|need| need != "pages")
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let mut story: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for difference in std::mem::take(&mut story.differences) {
            difference.apply(&mut story.steps)?;
        }
        for step in &mut story.steps {
            *step = generate::expand(std::mem::take(step))?;
        }
        Ok(story)
    }
}

/// The names of all files of `tests/recorded`, in order.
pub(crate) fn files() -> Result<Vec<String>, Fault> {
    let entries = std::fs::read_dir(folder()).map_err(|error| error.to_string())?;
    let names =
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    Ok(names)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn story(differences: &Value) -> Result<Story, Fault> {
        let step = json!({
            "step": 1, "kind": "http", "request": {"method": "GET", "path": "/"},
            "response": {"status": 200, "body": {"list": [{"generate": {"count": 2, "item": {"n": "{{n}}"}}}]}},
        });
        Story::parse(
            &json!({"needs": [], "setup": {}, "steps": [step], "differences": differences})
                .to_string(),
        )
    }

    #[test]
    fn differences_come_before_what_is_told_in_short_is_written_out() {
        let count = json!([{"step": 1, "rule": "pages", "at": "/response/body/list/0/generate/count", "instead": 1}]);
        let story = story(&count).unwrap();
        assert_eq!(
            story.steps[0]["response"]["body"],
            json!({"list": [{"n": "0"}]})
        );
    }

    #[test]
    fn a_difference_for_a_step_that_is_not_there_is_a_fault() {
        let fault = story(&json!([{"step": 2, "rule": "health", "at": "", "instead": {}}])).err();
        assert_eq!(
            fault.as_deref(),
            Some("a difference for step 2, which is not there")
        );
    }

    #[test]
    fn a_repeated_unit_is_written_out() {
        let repeat = Repeat {
            head: "<".to_owned(),
            unit: "ab".to_owned(),
            count: 3,
            tail: ">".to_owned(),
        };
        assert_eq!(repeat.text(), "<ababab>");
    }
}
