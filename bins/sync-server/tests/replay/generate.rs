//! Writes out what a story tells in short: `{"generate":{…}}` in place of many items or members.

use serde_json::{Map, Value};

use super::Fault;

/// The value with every `generate` in it written out.
pub(crate) fn expand(value: Value) -> Result<Value, Fault> {
    match value {
        Value::Array(items) => match items.as_slice() {
            [only] if only.get("generate").is_some() => {
                Ok(Value::Array(many_items(&only["generate"])?))
            }
            _ => items
                .into_iter()
                .map(expand)
                .collect::<Result<_, _>>()
                .map(Value::Array),
        },
        Value::Object(members) => match members.get("generate") {
            Some(generate) if members.len() == 1 => many_members(generate).map(Value::Object),
            _ => {
                let expanded = members
                    .into_iter()
                    .map(|(name, value)| Ok((name, expand(value)?)));
                expanded
                    .collect::<Result<Map<_, _>, Fault>>()
                    .map(Value::Object)
            }
        },
        other => Ok(other),
    }
}

fn many_items(generate: &Value) -> Result<Vec<Value>, Fault> {
    let item = part(generate, "item")?;
    Ok(numbers(generate)?
        .map(|number| numbered(item, number))
        .collect())
}

fn many_members(generate: &Value) -> Result<Map<String, Value>, Fault> {
    let item = part(generate, "item")?;
    let key = part(generate, "key")?
        .as_str()
        .ok_or("the key of generated members is a string")?;
    Ok(numbers(generate)?
        .map(|number| (with_number(key, number), numbered(item, number)))
        .collect())
}

fn numbers(generate: &Value) -> Result<std::ops::Range<u64>, Fault> {
    let count = part(generate, "count")?
        .as_u64()
        .ok_or("the count of what is generated is a number")?;
    let from = generate.get("from").and_then(Value::as_u64).unwrap_or(0);
    Ok(from..from + count)
}

fn part<'a>(generate: &'a Value, name: &str) -> Result<&'a Value, Fault> {
    generate
        .get(name)
        .ok_or_else(|| format!("what is generated has no {name}"))
}

fn numbered(item: &Value, number: u64) -> Value {
    match item {
        Value::String(text) => Value::from(with_number(text, number)),
        Value::Array(items) => items.iter().map(|item| numbered(item, number)).collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, item)| (with_number(name, number), numbered(item, number)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn with_number(text: &str, number: u64) -> String {
    text.replace("{{n}}", &number.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_count_from_where_they_are_told_to() {
        let short = json!({"changes": [{"generate": {"from": 9, "count": 2, "item": {"id": "t-{{n}}", "n": [1]}}}]});
        let long = json!({"changes": [{"id": "t-9", "n": [1]}, {"id": "t-10", "n": [1]}]});
        assert_eq!(expand(short), Ok(long));
    }

    #[test]
    fn members_have_numbered_names() {
        let short = json!({"fields": {"generate": {"count": 2, "key": "f{{n}}", "item": {"value": "v{{n}}"}}}});
        let long = json!({"fields": {"f0": {"value": "v0"}, "f1": {"value": "v1"}}});
        assert_eq!(expand(short), Ok(long));
    }

    #[test]
    fn what_is_not_generated_stays() {
        let plain = json!({"a": [1, {"generate": 1, "b": 2}, "{{n}}"], "c": {}});
        assert_eq!(expand(plain.clone()), Ok(plain));
    }

    #[test]
    fn a_generator_without_its_parts_is_a_fault() {
        assert!(expand(json!([{"generate": {"count": 2}}])).is_err());
        assert!(expand(json!({"generate": {"count": 2, "item": 1}})).is_err());
    }
}
