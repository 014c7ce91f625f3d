//! What differs between two JSON objects, field by field.

use serde_json::{Map, Value};

/// A field that differs; `None`: absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldChange {
    /// Such as `models.big`.
    pub(crate) path: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// Objects are compared by their fields; anything else, lists too, as a whole.
pub(crate) fn fields(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", before, after, &mut changes);
    changes
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let none = Map::new();
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => objects(path, before, after, changes),
        (Some(Value::Object(before)), None) => objects(path, before, &none, changes),
        (None, Some(Value::Object(after))) => objects(path, &none, after, changes),
        (before, after) => changes.push(FieldChange {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn objects(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<FieldChange>,
) {
    let added = after.keys().filter(|name| !before.contains_key(*name));
    for name in before.keys().chain(added) {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        compare(&path, before.get(name), after.get(name), changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_differ_are_named_by_their_path() {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let before = json(r#"{"a":1,"in":{"same":[1],"list":[1,2]},"gone":{"x":"y"}}"#);
        let after = json(r#"{"a":2,"in":{"same":[1],"list":[2,1],"new":null},"b":true}"#);
        let said = |changes: Vec<FieldChange>| -> Vec<String> {
            let text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
            let line = |change: FieldChange| {
                format!("{}:{}>{}", change.path, text(change.before), text(change.after))
            };
            let mut lines: Vec<_> = changes.into_iter().map(line).collect();
            lines.sort();
            lines
        };
        assert_eq!(
            said(fields(Some(&before), Some(&after))),
            [
                "a:1>2",
                "b:>true",
                "gone.x:\"y\">",
                "in.list:[1,2]>[2,1]",
                "in.new:>null"
            ]
        );
        assert_eq!(said(fields(None, Some(&json(r#"{"a":{"b":1}}"#)))), ["a.b:>1"]);
        assert_eq!(fields(Some(&before), Some(&before)), []);
    }
}
