//! As much of JSON Schema as the API's description uses; a word that is not known here is an error, not passed over.

use serde_json::Value;

/// Everything about `value` that does not fit `schema`, whose `$ref`s are places in `document`.
///
/// # Panics
/// If the schema uses what is not known here, or names a place that is not there.
pub fn misfits(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, ("$", &mut found));
    found
}

fn check(document: &Value, schema: &Value, value: &Value, (at, found): (&str, &mut Vec<String>)) {
    let words = schema.as_object().unwrap_or_else(|| panic!("{schema} is no schema"));
    let mut complain = |what: String| found.push(format!("{at}: {what}"));
    let number = || value.as_f64();
    let length = || value.as_array().map(Vec::len);
    for (word, wanted) in words {
        match word.as_str() {
            "description" | "examples" | "default" => {}
            "$ref" | "type" | "properties" | "additionalProperties" | "items" | "anyOf" => {}
            "const" if value != wanted => complain(format!("{value} is not {wanted}")),
            "enum" if !wanted.as_array().is_some_and(|all| all.contains(value)) => {
                complain(format!("{value} is none of {wanted}"))
            }
            "required" => {
                let missing = wanted.as_array().expect("a list").iter().filter_map(Value::as_str);
                missing
                    .filter(|name| value.is_object() && value.get(name).is_none())
                    .for_each(|name| complain(format!("`{name}` is missing")));
            }
            "minimum" if number() < wanted.as_f64().filter(|_| value.is_number()) => {
                complain(format!("{value} is below {wanted}"))
            }
            "maximum" if value.is_number() && number() > wanted.as_f64() => {
                complain(format!("{value} is above {wanted}"))
            }
            "exclusiveMinimum" if value.is_number() && number() <= wanted.as_f64() => {
                complain(format!("{value} is not above {wanted}"))
            }
            "minItems" if length().is_some_and(|length| length < wanted.as_u64().expect("a number") as usize) => {
                complain("too few items".into())
            }
            "maxItems" if length().is_some_and(|length| length > wanted.as_u64().expect("a number") as usize) => {
                complain("too many items".into())
            }
            "minLength" if value.as_str().is_some_and(str::is_empty) => complain("it is empty".into()),
            "const" | "enum" | "minimum" | "maximum" | "exclusiveMinimum" | "minItems" | "maxItems" | "minLength" => {}
            other => panic!("the schema's `{other}` is not known to this test"),
        }
    }
    if let Some(kinds) = words.get("type") {
        let kinds: Vec<&str> = kinds
            .as_str()
            .into_iter()
            .chain(kinds.as_array().into_iter().flatten().filter_map(Value::as_str))
            .collect();
        if !kinds.iter().any(|kind| is(value, kind)) {
            found.push(format!("{at}: {value} is not {}", kinds.join(" or ")));
            return;
        }
    }
    if let Some(place) = words.get("$ref").and_then(Value::as_str) {
        let there = document.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("{place} is not there"));
        check(document, there, value, (at, found));
    }
    if let Some(any) = words.get("anyOf").and_then(Value::as_array) {
        let tried: Vec<Vec<String>> = any.iter().map(|one| misfits(document, one, value)).collect();
        if tried.iter().all(|misfits| !misfits.is_empty()) {
            found.push(format!("{at}: fits none: {tried:?}"));
        }
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(items) = words.get("items") {
            check(document, items, item, (&format!("{at}[{place}]"), found));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        match (words.get("properties").and_then(|known| known.get(name)), words.get("additionalProperties")) {
            (Some(schema), _) => check(document, schema, field, (&format!("{at}.{name}"), found)),
            (None, Some(Value::Bool(false))) => found.push(format!("{at}: `{name}` is not described")),
            (None, Some(schema)) if schema.is_object() => {
                check(document, schema, field, (&format!("{at}.{name}"), found))
            }
            (None, _) => {}
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema's type `{other}` is not known to this test"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let document = json!({"defs": {"Age": {"type": "integer", "minimum": 0}}});
        let person = json!({"type": "object", "required": ["age"], "additionalProperties": false, "properties": {
            "age": {"$ref": "#/defs/Age"}, "names": {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1},
            "kind": {"enum": ["a", "b"]}, "more": {"anyOf": [{"const": 1}, {"type": "object", "additionalProperties": {"type": "number"}}]}}});
        let count = |value: Value| misfits(&document, &person, &value).len();
        assert_eq!(count(json!({"age": 3, "names": ["x", null], "kind": "a", "more": {"a": 0.5}})), 0);
        for bad in [
            json!(3),
            json!({}),
            json!({"age": -1}),
            json!({"age": 1.5}),
            json!({"age": 1, "names": []}),
            json!({"age": 1, "names": [3]}),
            json!({"age": 1, "kind": "c"}),
            json!({"age": 1, "more": {"a": "b"}}),
            json!({"age": 1, "other": 1}),
        ] {
            assert_eq!(count(bad.clone()), 1, "{bad}");
        }
    }
}
