//! Compares answers, events and messages with the recorded ones; names every place where they differ.

use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::Fault;
use super::event_stream::Event;
use super::forms::{Form, OPEN};
use super::http::Answer;
use super::page::ExpectedEvent;
use super::raw::{self, shortened};
use super::socket::Farewell;
use super::story::Expected;
use super::world::World;

/// Where the answer is not as expected; `None` stands for an answer that is left open. Binds the placeholders that the
/// answer is the first to have.
pub(crate) fn differences(
    expected: Option<&Expected>,
    answer: &Answer,
    world: &mut World,
) -> Vec<Fault> {
    faults(world, |comparison| match expected {
        Some(expected) => comparison.answer(expected, answer),
        None => comparison.status(&Value::from(OPEN), answer.status),
    })
}

/// Where the event is not as expected. Only one that ends a page has an `id`: the cursor in its data.
pub(crate) fn event(
    expected: &ExpectedEvent,
    id: Option<&str>,
    event: &Event,
    world: &mut World,
) -> Vec<Fault> {
    faults(world, |comparison| {
        comparison.text("the name of the event", &expected.event, &event.name);
        match raw::parse(event.data.as_bytes()) {
            Ok(data) => {
                comparison.value("", &expected.data, data);
                comparison.id(id, event.id.as_deref(), data);
            }
            Err(fault) => comparison.faults.push(fault),
        }
    })
}

/// Where the message of a socket is not as expected.
pub(crate) fn message(expected: &Value, message: &str, world: &mut World) -> Vec<Fault> {
    faults(world, |comparison| match raw::parse(message.as_bytes()) {
        Ok(actual) => comparison.value("", &in_the_order_of(expected, actual), actual),
        Err(fault) => comparison.faults.push(fault),
    })
}

/// Where the end of a socket is not as expected; a reason that the story does not tell may be any.
pub(crate) fn farewell(
    code: u16,
    reason: Option<&str>,
    actual: &Farewell,
    world: &mut World,
) -> Vec<Fault> {
    faults(world, |comparison| {
        if actual.code != Some(code) {
            let got = actual
                .code
                .map_or("none".to_owned(), |code| code.to_string());
            let fault = format!("the code: expected {code}, got {got}");
            comparison.faults.push(fault);
        }
        if let Some(reason) = reason {
            comparison.text("the reason", reason, &actual.reason);
        }
    })
}

fn faults(world: &mut World, compare: impl FnOnce(&mut Comparison)) -> Vec<Fault> {
    let mut comparison = Comparison {
        world,
        faults: Vec::new(),
    };
    compare(&mut comparison);
    comparison.faults
}

/// The same notice with its tables, which are a set, as they stand in this one; all else stays.
fn in_the_order_of(expected: &Value, actual: &RawValue) -> Value {
    let mut expected = expected.clone();
    if expected["type"] != "sync-available" {
        return expected;
    }
    let tables = raw::at(actual, "/tables").map(|tables| serde_json::from_str(tables.get()));
    if let (Some(Value::Array(expected)), Ok(Ok(Value::Array(actual)))) =
        (expected.get_mut("tables"), tables)
    {
        let place = |table: &Value| actual.iter().position(|other| other == table);
        expected.sort_by_key(|table| place(table).unwrap_or(actual.len()));
    }
    expected
}

struct Comparison<'a> {
    world: &'a mut World,
    faults: Vec<Fault>,
}

impl Comparison<'_> {
    fn answer(&mut self, expected: &Expected, answer: &Answer) {
        self.status(&expected.status, answer.status);
        for (name, value) in &expected.headers {
            self.header(name, value.as_deref(), answer);
        }
        if let Some(text) = &expected.text {
            self.text("the text", text, &String::from_utf8_lossy(&answer.body));
        }
        for line in &expected.lines {
            if !answer
                .body
                .split(|byte| *byte == b'\n')
                .any(|other| other == line.as_bytes())
            {
                self.faults.push(format!("the line {line:?} is missing"));
            }
        }
        if let Some(body) = &expected.body {
            self.body(body, expected, answer);
        }
    }

    /// An open answer must be one all the same: whatever comes in, the server does not break.
    fn status(&mut self, expected: &Value, actual: u16) {
        let fits = if expected == OPEN || expected == "{{any}}" {
            actual < 500 || actual == 503
        } else {
            *expected == actual
        };
        if !fits {
            self.faults
                .push(format!("status: expected {expected}, got {actual}"));
        }
    }

    fn header(&mut self, name: &str, expected: Option<&str>, answer: &Answer) {
        let actual = answer.header(name);
        let at = format!("header {name}");
        match (expected, actual) {
            (None, None) => {}
            (None, Some(actual)) => self
                .faults
                .push(format!("{at}: expected none, got {actual:?}")),
            (Some(expected), None) => self
                .faults
                .push(format!("{at}: expected {expected:?}, got none")),
            (Some(expected), Some(actual)) if name == "content-type" => {
                self.text(&at, media_type(expected), media_type(&actual));
            }
            (Some(expected), Some(actual)) if is_list(name) && !expected.starts_with("{{") => {
                self.list(&at, expected, &actual);
            }
            (Some(expected), Some(actual)) => self.text(&at, expected, &actual),
        }
    }

    /// The expected words must be there, in any case and order. Where GET is allowed, HEAD may be or not.
    fn list(&mut self, at: &str, expected: &str, actual: &str) {
        let actual_words = words(actual);
        for word in words(expected) {
            if word != "head" && !actual_words.contains(&word) {
                self.faults
                    .push(format!("{at}: expected {expected:?}, got {actual:?}"));
                return;
            }
        }
    }

    fn body(&mut self, body: &Value, expected: &Expected, answer: &Answer) {
        let actual = match raw::parse(&answer.body) {
            Ok(actual) => actual,
            Err(fault) => return self.faults.push(fault),
        };
        self.value("", body, actual);
        for verbatim in &expected.verbatim {
            match raw::at(actual, &verbatim.at).map(RawValue::get) {
                Ok(text) if text == verbatim.text => {}
                Ok(text) => {
                    let at = &verbatim.at;
                    self.faults.push(format!(
                        "{at}: expected exactly {}, got {}",
                        verbatim.text,
                        shortened(text)
                    ));
                }
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    fn id(&mut self, expected: Option<&str>, actual: Option<&str>, data: &RawValue) {
        match (expected, actual) {
            (None, None) => {}
            (None, Some(actual)) => self
                .faults
                .push(format!("the id: expected none, got {actual:?}")),
            (Some(expected), None) => self
                .faults
                .push(format!("the id: expected {expected:?}, got none")),
            (Some(expected), Some(actual)) => {
                self.text("the id", expected, actual);
                let cursor = raw::at(data, "/syncedUntil").map(RawValue::get);
                if cursor != Ok(format!("{actual:?}").as_str()) {
                    self.faults.push(format!(
                        "the id: expected the cursor {cursor:?}, got {actual:?}"
                    ));
                }
            }
        }
    }

    fn value(&mut self, at: &str, expected: &Value, actual: &RawValue) {
        match expected {
            Value::String(text) => self.string(at, text, actual),
            Value::Array(items) => self.array(at, items, actual),
            Value::Object(members) => self.object(at, members, actual),
            Value::Number(number) => {
                let same = serde_json::from_str(actual.get())
                    .is_ok_and(|other| same_number(number, &other));
                self.hold(same, at, expected, actual);
            }
            Value::Bool(true) => self.hold(actual.get() == "true", at, expected, actual),
            Value::Bool(false) => self.hold(actual.get() == "false", at, expected, actual),
            Value::Null => self.hold(actual.get() == "null", at, expected, actual),
        }
    }

    fn hold(&mut self, same: bool, at: &str, expected: &Value, actual: &RawValue) {
        if !same {
            self.faults.push(format!(
                "{at}: expected {expected}, got {}",
                shortened(actual.get())
            ));
        }
    }

    fn string(&mut self, at: &str, expected: &str, actual: &RawValue) {
        if expected == OPEN || expected == "{{any}}" {
            return;
        }
        match serde_json::from_str::<String>(actual.get()) {
            Ok(text) => self.text(at, expected, &text),
            Err(_) => self.faults.push(format!(
                "{at}: expected {expected:?}, got {}",
                shortened(actual.get())
            )),
        }
    }

    fn array(&mut self, at: &str, expected: &[Value], actual: &RawValue) {
        let items = match raw::items(actual) {
            Ok(items) => items,
            Err(fault) => return self.faults.push(format!("{at}: {fault}")),
        };
        if items.len() != expected.len() {
            self.faults.push(format!(
                "{at}: expected {} items, got {}",
                expected.len(),
                items.len()
            ));
        }
        for (place, (expected, actual)) in expected.iter().zip(items).enumerate() {
            self.value(&format!("{at}/{place}"), expected, actual);
        }
    }

    fn object(&mut self, at: &str, expected: &serde_json::Map<String, Value>, actual: &RawValue) {
        let members = match raw::members(actual) {
            Ok(members) => members,
            Err(fault) => return self.faults.push(format!("{at}: {fault}")),
        };
        for (name, value) in &members {
            match expected.get(name) {
                Some(expected) => self.value(&format!("{at}/{name}"), expected, value),
                None => self.faults.push(format!(
                    "{at}/{name}: expected nothing, got {}",
                    shortened(value.get())
                )),
            }
        }
        for (name, value) in expected {
            if value != OPEN && !members.iter().any(|(other, _)| other == name) {
                self.faults
                    .push(format!("{at}/{name}: expected {value}, got nothing"));
            }
        }
    }

    fn text(&mut self, at: &str, expected: &str, actual: &str) {
        let outcome = match expected
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"))
        {
            Some(placeholder) => self.placeholder(placeholder, actual),
            None => self
                .world
                .resolve(expected)
                .map(|expected| expected == actual),
        };
        match outcome {
            Ok(true) => {}
            Ok(false) => self.faults.push(format!(
                "{at}: expected {expected:?}, got {:?}",
                shortened(actual)
            )),
            Err(fault) => self.faults.push(format!("{at}: {fault}")),
        }
    }

    /// Whether the text is what a placeholder stands for.
    fn placeholder(&mut self, placeholder: &str, actual: &str) -> Result<bool, Fault> {
        let (kind, name) = placeholder
            .split_once(':')
            .map_or((placeholder, None), |(kind, name)| (kind, Some(name)));
        match (kind, name, Form::named(kind)) {
            ("any" | "open", None, _) => Ok(true),
            ("text", None, _) => Ok(!actual.is_empty()),
            ("contains", Some(part), _) => Ok(actual.contains(part)),
            (_, None, Some(form)) => Ok(form.fits(actual)),
            (_, Some(_), Some(form)) => Ok(self.world.bind(placeholder, actual, form)),
            _ => self
                .world
                .resolve(&format!("{{{{{placeholder}}}}}"))
                .map(|expected| expected == actual),
        }
    }
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn is_list(header: &str) -> bool {
    const LISTS: [&str; 5] = [
        "allow",
        "vary",
        "cache-control",
        "access-control-allow-headers",
        "access-control-allow-methods",
    ];
    LISTS.contains(&header)
}

fn words(list: &str) -> Vec<String> {
    list.split(',')
        .map(|word| word.trim().to_ascii_lowercase())
        .collect()
}

fn same_number(one: &Number, other: &Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one == other,
        _ => one.as_f64() == other.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(body: &str) -> Answer {
        let headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("allow", "GET,HEAD"),
            ("vary", "A, origin"),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Answer {
            status: 200,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    fn against(expected: Value, answer: &Answer, world: &mut World) -> Vec<Fault> {
        let expected = serde_json::from_value(expected).unwrap();
        differences(Some(&expected), answer, world)
    }

    fn compared(world: &mut World, expected: &Value, body: &str) -> Vec<Fault> {
        against(
            json!({"status": 200, "body": expected}),
            &answer(body),
            world,
        )
    }

    #[track_caller]
    fn same(expected: &Value, body: &str) {
        assert_eq!(
            compared(&mut World::empty(), expected, body),
            Vec::<Fault>::new()
        );
    }

    #[track_caller]
    fn different(expected: &Value, body: &str, faults: &[&str]) {
        assert_eq!(compared(&mut World::empty(), expected, body), faults);
    }

    #[test]
    fn members_come_in_any_order_and_items_in_theirs() {
        same(
            &json!({"a": 1, "b": [1, "x", null, true]}),
            r#"{"b":[1,"x",null,true],"a":1}"#,
        );
        different(
            &json!([1, 2]),
            "[2,1]",
            &["/0: expected 1, got 2", "/1: expected 2, got 1"],
        );
        different(&json!([]), "[1]", &[": expected 0 items, got 1"]);
    }

    #[test]
    fn a_member_too_many_or_too_few_is_a_fault() {
        different(&json!({}), r#"{"a":1}"#, &["/a: expected nothing, got 1"]);
        different(
            &json!({"a": null}),
            "{}",
            &["/a: expected null, got nothing"],
        );
    }

    #[test]
    fn numbers_are_compared_by_value_and_types_are_not_mixed() {
        same(&json!([1, 100, 1.1, -0.0]), "[1.0,1E2,1.10,0]");
        different(
            &json!([9_007_199_254_740_993_u64]),
            "[9007199254740992]",
            &["/0: expected 9007199254740993, got 9007199254740992"],
        );
        for (expected, body) in [
            (json!(1), r#""1""#),
            (json!("1"), "1"),
            (json!([null]), "[false]"),
            (json!({}), "[]"),
        ] {
            assert_eq!(
                compared(&mut World::empty(), &expected, body).len(),
                1,
                "{expected} and {body}"
            );
        }
    }

    #[test]
    fn a_bound_name_is_the_same_value_everywhere() {
        let mut world = World::empty();
        let (one, two) = (
            "0194c0ff-ee00-7abc-8def-0123456789ab",
            "0194c0ff-ee00-7abc-8def-0123456789ac",
        );
        let expected = json!(["{{uuid:1}}", "{{uuid:2}}", "{{uuid:1}}", "{{uuid}}"]);
        assert_eq!(
            compared(
                &mut world,
                &expected,
                &json!([one, two, one, two]).to_string()
            ),
            Vec::<Fault>::new()
        );
        let faults = compared(
            &mut world,
            &json!(["{{uuid:1}}"]),
            &json!([two]).to_string(),
        );
        assert_eq!(
            faults,
            [format!(r#"/0: expected "{{{{uuid:1}}}}", got "{two}""#)]
        );
        assert_eq!(
            world.resolve("since={{uuid:2}}"),
            Ok(format!("since={two}"))
        );
    }

    #[test]
    fn a_value_of_another_form_binds_nothing() {
        let mut world = World::empty();
        assert_eq!(
            compared(
                &mut world,
                &json!("{{cursor:1}}"),
                r#""2025-01-01T00:00:00Z""#
            )
            .len(),
            1
        );
        assert!(world.resolve("{{cursor:1}}").is_err());
    }

    #[test]
    fn the_placeholders_of_differences() {
        same(
            &json!(["{{any}}", "{{any}}", "{{text}}", "{{contains:b c}}"]),
            r#"[1e400,"\ud83d","x","a b c d"]"#,
        );
        different(
            &json!(["{{text}}", "{{contains:x}}"]),
            r#"["","y"]"#,
            &[
                r#"/0: expected "{{text}}", got """#,
                r#"/1: expected "{{contains:x}}", got "y""#,
            ],
        );
    }

    #[test]
    fn an_open_member_may_be_anything_or_missing() {
        same(&json!({"a": OPEN, "b": OPEN}), r#"{"a":[1]}"#);
    }

    #[test]
    fn an_open_answer_may_be_any_but_a_broken_one() {
        let faults = |status| {
            let answer = Answer {
                status,
                ..answer("")
            };
            let any = against(json!({"status": "{{any}}"}), &answer, &mut World::empty());
            (
                differences(None, &answer, &mut World::empty()).len(),
                any.len(),
            )
        };
        assert_eq!([200, 404, 503].map(faults), [(0, 0); 3]);
        assert_eq!([500, 502].map(faults), [(1, 1); 2]);
    }

    #[test]
    fn the_exact_text_of_a_value_counts_where_it_is_asked_for() {
        let verbatim = |text: &str| {
            let expected = json!({"status": 200, "body": {"n": "{{any}}"}, "verbatim": [{"at": "/n", "text": text}]});
            against(expected, &answer(r#"{"n":1.10}"#), &mut World::empty())
        };
        assert_eq!(verbatim("1.10"), Vec::<Fault>::new());
        assert_eq!(verbatim("1.1"), ["/n: expected exactly 1.1, got 1.10"]);
    }

    #[test]
    fn headers_are_compared_as_each_is_meant() {
        let headers = |headers: Value| {
            against(
                json!({"status": 200, "headers": headers}),
                &answer(""),
                &mut World::empty(),
            )
        };
        let fine = json!({"content-type": "application/json", "allow": "GET", "vary": "Origin", "location": null});
        assert_eq!(headers(fine), Vec::<Fault>::new());
        let bad = json!({"content-type": "text/plain", "allow": "POST", "vary": null, "x-request-id": "{{text}}"});
        assert_eq!(headers(bad).len(), 4);
    }

    #[test]
    fn status_text_and_lines_are_compared() {
        let expected = json!({"status": 404, "text": "one\n", "lines": ["one", "three"]});
        assert_eq!(
            against(expected, &answer("one\ntwo\n"), &mut World::empty()),
            [
                "status: expected 404, got 200",
                r#"the text: expected "one\n", got "one\ntwo\n""#,
                r#"the line "three" is missing"#,
            ]
        );
    }

    #[test]
    fn a_list_in_a_header_may_be_told_by_a_part_of_it() {
        let allow = |allow: &str| {
            against(
                json!({"status": 200, "headers": {"allow": allow}}),
                &answer(""),
                &mut World::empty(),
            )
        };
        assert_eq!(allow("{{contains:GET}}"), Vec::<Fault>::new());
        assert_eq!(allow("{{contains:POST}}").len(), 1);
    }

    #[test]
    fn the_tables_of_a_notice_are_a_set() {
        let expected = json!({"type": "sync-available", "tables": ["notes", "tags"]});
        let told = |tables: &str| {
            let message = format!(r#"{{"type":"sync-available","tables":{tables}}}"#);
            super::message(&expected, &message, &mut World::empty())
        };
        assert_eq!(told(r#"["notes","tags"]"#), Vec::<Fault>::new());
        assert_eq!(told(r#"["tags","notes"]"#), Vec::<Fault>::new());
        assert_eq!(told(r#"["tags"]"#), ["/tables: expected 2 items, got 1"]);
        assert_eq!(
            told(r#"["tags","notes","tags"]"#),
            ["/tables: expected 2 items, got 3"]
        );
        assert_eq!(
            told(r#"["tags","x"]"#),
            [r#"/tables/1: expected "notes", got "x""#]
        );
        assert_eq!(told("5"), ["/tables: 5 is no array"]);
    }

    #[test]
    fn a_message_is_one_text_of_json() {
        let told = |message: &str| {
            super::message(&json!({"type": "pong"}), message, &mut World::empty()).len()
        };
        assert_eq!(told(r#"{ "type": "pong" }"#), 0);
        assert_eq!(told(r#"{"type":"pong","appId":"todo"}"#), 1);
        assert_eq!(told(r#"{"type":"pong"}{"type":"pong"}"#), 1);
        assert_eq!(told("pong"), 1);
    }

    #[test]
    fn the_id_of_an_event_is_the_cursor_in_its_data() {
        const CURSOR: &str = "2025-02-01T10:00:00.123456789Z";
        let expected: ExpectedEvent = serde_json::from_value(
            json!({"event": "changes", "data": {"syncedUntil": "{{cursor:1}}"}}),
        )
        .unwrap();
        let compared = |id: Option<&str>, name: &str, actual: Option<&str>| {
            let event = Event {
                name: name.to_owned(),
                data: json!({"syncedUntil": CURSOR}).to_string(),
                id: actual.map(str::to_owned),
            };
            super::event(&expected, id, &event, &mut World::empty())
        };
        let id = Some("{{cursor:1}}");
        assert_eq!(compared(id, "changes", Some(CURSOR)), Vec::<Fault>::new());
        assert_eq!(compared(None, "changes", None), Vec::<Fault>::new());
        assert_eq!(
            compared(id, "changes", None),
            [r#"the id: expected "{{cursor:1}}", got none"#]
        );
        assert_eq!(compared(None, "changes", Some(CURSOR)).len(), 1);
        assert_eq!(
            compared(id, "changes", Some("2025-02-01T10:00:00.123456788Z")).len(),
            2
        );
        assert_eq!(
            compared(None, "change", None),
            [r#"the name of the event: expected "changes", got "change""#]
        );
    }

    #[test]
    fn a_socket_ends_with_a_code_and_a_reason() {
        let ended = |code, reason: &str| {
            let actual = Farewell {
                code,
                reason: reason.to_owned(),
            };
            let world = &mut World::empty();
            [
                super::farewell(1008, None, &actual, world).len(),
                super::farewell(1008, Some("late"), &actual, world).len(),
                super::farewell(1008, Some(OPEN), &actual, world).len(),
            ]
        };
        assert_eq!(ended(Some(1008), "late"), [0, 0, 0]);
        assert_eq!(ended(Some(1008), "bad"), [0, 1, 0]);
        assert_eq!(ended(Some(1000), "late"), [1, 1, 1]);
        assert_eq!(ended(None, ""), [1, 2, 1]);
    }

    #[test]
    fn a_name_twice_in_an_answer_is_a_fault() {
        different(
            &json!({"a": 1}),
            r#"{"a":1,"a":1}"#,
            &[r#": the name "a" occurs twice"#],
        );
    }
}
