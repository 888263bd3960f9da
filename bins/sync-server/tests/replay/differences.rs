//! The places where ours answers otherwise on purpose.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Fault;
use super::forms::OPEN;

/// One entry of a story's `differences`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// The number of the step.
    pub(crate) step: u64,
    rule: String,
    at: String,
    #[serde(default, deserialize_with = "present")]
    instead: Option<Value>,
    #[serde(default)]
    remove: bool,
    #[expect(dead_code, reason = "for people")]
    note: Option<String>,
}

/// Any value is one, `null` too, which an `Option` alone would take for absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Difference {
    /// Changes the step as this entry says.
    pub(crate) fn apply(self, step: &mut Value) -> Result<(), Fault> {
        let told = format!(
            "the difference {} at {:?} of step {}",
            self.rule, self.at, self.step
        );
        let outcome = match (self.rule.as_str(), self.instead, self.remove) {
            ("open", None, false) if self.at.is_empty() => replace(step, json!({"kind": "skip"})),
            ("open", None, false) => put(step, &self.at, Value::from(OPEN)),
            ("open", ..) | (_, None, false) | (_, Some(_), true) => {
                Err("says not what to do".to_owned())
            }
            (_, None, true) => remove(step, &self.at),
            (_, Some(value), false) if self.at.is_empty() => replace(step, value),
            (_, Some(value), false) => put(step, &self.at, value),
        };
        outcome.map_err(|fault| format!("{told}: {fault}"))
    }
}

/// Puts another step in the place of this one; the number stays.
fn replace(step: &mut Value, mut value: Value) -> Result<(), Fault> {
    let members = value.as_object_mut().ok_or("a step is an object")?;
    members.insert("step".to_owned(), step["step"].clone());
    *step = value;
    Ok(())
}

fn put(root: &mut Value, at: &str, value: Value) -> Result<(), Fault> {
    let (parent, last) = parent(root, at)?;
    match parent {
        Value::Object(members) => {
            members.insert(last, value);
            Ok(())
        }
        Value::Array(items) => {
            let place: usize = last
                .parse()
                .map_err(|_| format!("{last:?} is no place in an array"))?;
            if place > items.len() {
                return Err(format!("the array ends before {place}"));
            }
            items.splice(place..items.len().min(place + 1), [value]);
            Ok(())
        }
        _ => Err("it is in no object or array".to_owned()),
    }
}

fn remove(root: &mut Value, at: &str) -> Result<(), Fault> {
    let (parent, last) = parent(root, at)?;
    let removed = match parent {
        Value::Object(members) => members.remove(&last).is_some(),
        Value::Array(items) => last.parse().is_ok_and(|place: usize| {
            let there = place < items.len();
            there.then(|| items.remove(place)).is_some()
        }),
        _ => false,
    };
    if removed {
        Ok(())
    } else {
        Err("there is nothing to remove".to_owned())
    }
}

/// What holds the value at this pointer, and under which name.
fn parent<'a>(root: &'a mut Value, at: &str) -> Result<(&'a mut Value, String), Fault> {
    let (parent, last) = at.rsplit_once('/').ok_or("it points at nothing")?;
    let parent = root
        .pointer_mut(parent)
        .ok_or("there is nothing that could hold it")?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(difference: Value) -> Result<Value, Fault> {
        let mut step =
            json!({"step": 1, "kind": "http", "response": {"body": {"list": [1, {"a/b": 2}]}}});
        let difference: Difference =
            serde_json::from_value(difference).map_err(|error| error.to_string())?;
        difference.apply(&mut step).map(|()| step)
    }

    fn body(difference: Value) -> Value {
        applied(difference).unwrap()["response"]["body"].take()
    }

    #[test]
    fn a_value_is_replaced_added_or_removed() {
        let at = |at: &str| json!({"step": 1, "rule": "r", "at": at, "instead": null});
        assert_eq!(body(at("/response/body/list")), json!({"list": null}));
        assert_eq!(
            body(at("/response/body/more")),
            json!({"list": [1, {"a/b": 2}], "more": null})
        );
        assert_eq!(
            body(at("/response/body/list/2")),
            json!({"list": [1, {"a/b": 2}, null]})
        );
        assert_eq!(
            body(at("/response/body/list/1/a~1b")),
            json!({"list": [1, {"a/b": null}]})
        );
        let remove = json!({"step": 1, "rule": "r", "at": "/response/body/list/0", "remove": true});
        assert_eq!(body(remove), json!({"list": [{"a/b": 2}]}));
    }

    #[test]
    fn the_empty_pointer_is_the_whole_step_but_its_number() {
        let step = applied(json!({"step": 1, "rule": "r", "at": "", "instead": {"kind": "skip"}}))
            .unwrap();
        assert_eq!(step, json!({"step": 1, "kind": "skip"}));
    }

    #[test]
    fn an_open_entry_is_compared_with_nothing() {
        let step =
            applied(json!({"step": 1, "rule": "open", "at": "/response", "note": "…"})).unwrap();
        assert_eq!(step["response"], json!("{{open}}"));
        let step = applied(json!({"step": 1, "rule": "open", "at": ""})).unwrap();
        assert_eq!(step, json!({"step": 1, "kind": "skip"}));
    }

    #[test]
    fn an_entry_that_does_not_fit_is_a_fault() {
        for entry in [
            json!({"step": 1, "rule": "r", "at": "/response/none/x", "instead": 1}),
            json!({"step": 1, "rule": "r", "at": "/response/body/list/3", "instead": 1}),
            json!({"step": 1, "rule": "r", "at": "/response/body/list/x", "instead": 1}),
            json!({"step": 1, "rule": "r", "at": "/kind/x", "instead": 1}),
            json!({"step": 1, "rule": "r", "at": "/response/none", "remove": true}),
            json!({"step": 1, "rule": "r", "at": "/response/body/list/2", "remove": true}),
            json!({"step": 1, "rule": "r", "at": "/response"}),
            json!({"step": 1, "rule": "open", "at": "/response", "instead": 1}),
            json!({"step": 1, "rule": "r", "at": "", "instead": 1}),
            json!({"step": 1, "rule": "r", "at": "/response", "instead": 1, "typo": 1}),
        ] {
            assert!(applied(entry.clone()).is_err(), "{entry}");
        }
    }
}
