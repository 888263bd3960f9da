//! The places where ours answers otherwise on purpose.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Fault;
use super::forms::OPEN;

/// One entry of a story's `differences`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    step: u64,
    rule: String,
    at: Option<String>,
    #[serde(default, deserialize_with = "present")]
    instead: Option<Value>,
    #[serde(default)]
    remove: bool,
    then: Option<Value>,
    #[expect(dead_code, reason = "for people")]
    note: Option<String>,
}

/// Any value is one, `null` too, which an `Option` alone would take for absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Difference {
    /// Changes its step as this entry says, or puts one more behind it.
    pub(crate) fn apply(self, steps: &mut Vec<Value>) -> Result<(), Fault> {
        let Self { step, rule, at, .. } = &self;
        let told = match at {
            Some(at) => format!("the difference {rule} at {at:?} of step {step}"),
            None => format!("the difference {rule} of step {step}"),
        };
        let of_this_number = |other: &Value| other["step"] == *step;
        let first = steps.iter().position(of_this_number);
        let last = steps.iter().rposition(of_this_number);
        let (Some(first), Some(last)) = (first, last) else {
            return Err(format!("a difference for step {step}, which is not there"));
        };
        let outcome = match self {
            Self {
                at: Some(at),
                then: None,
                rule,
                instead,
                remove,
                ..
            } => change(&mut steps[first], &rule, &at, instead, remove),
            Self {
                at: None,
                then: Some(mut then),
                instead: None,
                remove: false,
                ..
            } => number(&mut then, steps[first]["step"].clone())
                .map(|()| steps.insert(last + 1, then)),
            _ => Err("says not what to do".to_owned()),
        };
        outcome.map_err(|fault| format!("{told}: {fault}"))
    }
}

fn change(
    step: &mut Value,
    rule: &str,
    at: &str,
    instead: Option<Value>,
    removed: bool,
) -> Result<(), Fault> {
    match (rule, instead, removed) {
        ("open", None, false) if at.is_empty() => replace(step, json!({"kind": "skip"})),
        ("open", None, false) => put(step, at, Value::from(OPEN)),
        ("open", ..) | (_, None, false) | (_, Some(_), true) => {
            Err("says not what to do".to_owned())
        }
        (_, None, true) => remove(step, at),
        (_, Some(value), false) if at.is_empty() => replace(step, value),
        (_, Some(value), false) => put(step, at, value),
    }
}

/// Puts another step in the place of this one; the number stays.
fn replace(step: &mut Value, mut value: Value) -> Result<(), Fault> {
    number(&mut value, step["step"].clone())?;
    *step = value;
    Ok(())
}

fn number(step: &mut Value, number: Value) -> Result<(), Fault> {
    let members = step.as_object_mut().ok_or("a step is an object")?;
    members.insert("step".to_owned(), number);
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
        steps_with(&[difference]).map(|mut steps| steps.remove(0))
    }

    fn steps_with(differences: &[Value]) -> Result<Vec<Value>, Fault> {
        let mut steps = vec![
            json!({"step": 1, "kind": "http", "response": {"body": {"list": [1, {"a/b": 2}]}}}),
            json!({"step": 2, "kind": "wait"}),
        ];
        for difference in differences {
            let difference: Difference =
                serde_json::from_value(difference.clone()).map_err(|error| error.to_string())?;
            difference.apply(&mut steps)?;
        }
        Ok(steps)
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
    fn steps_are_put_behind_another_in_their_order() {
        let then = |kind: &str| json!({"step": 1, "rule": "r", "then": {"kind": kind}});
        let change = json!({"step": 1, "rule": "r", "at": "", "instead": {"kind": "skip"}});
        let steps = steps_with(&[then("a"), then("b"), change]).unwrap();
        let expected = json!([
            {"step": 1, "kind": "skip"},
            {"step": 1, "kind": "a"},
            {"step": 1, "kind": "b"},
            {"step": 2, "kind": "wait"},
        ]);
        assert_eq!(Value::from(steps), expected);
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
            json!({"step": 1, "rule": "r", "at": "", "then": {"kind": "skip"}}),
            json!({"step": 1, "rule": "r", "then": {"kind": "skip"}, "remove": true}),
            json!({"step": 1, "rule": "r", "then": 1}),
            json!({"step": 1, "rule": "r", "instead": 1}),
            json!({"step": 3, "rule": "r", "then": {"kind": "skip"}}),
        ] {
            assert!(applied(entry.clone()).is_err(), "{entry}");
        }
    }
}
