//! A JSON object that is read field by field. Whatever is wrong is noted under the
//! field's path and without its value, which may be a secret; what nobody asked for
//! is left to be named.

use serde_json::{Map, Value};

use crate::domain::Violations;

pub(super) struct Object {
    path: String,
    fields: Map<String, Value>,
}

impl Object {
    pub(super) fn new(path: String, fields: Map<String, Value>) -> Self {
        Self { path, fields }
    }

    pub(super) fn of(path: String, value: Value, violations: &mut Violations) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self { path, fields }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                violations.add(path, "must be an object");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// A field, if it is there and not null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str, violations: &mut Violations) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                violations.add(self.field(name), "must be a text");
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, name: &str, violations: &mut Violations) -> Option<bool> {
        let value = self.take(name)?.as_bool();
        if value.is_none() {
            violations.add(self.field(name), "must be true or false");
        }
        value
    }

    /// A whole number, also if it is written like `60.0`.
    pub(super) fn integer<T: TryFrom<i64>>(&mut self, name: &str, violations: &mut Violations) -> Option<T> {
        let value = self.take(name)?;
        let whole = value
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 1e15)
            .map(|float| float as i64);
        let number = value
            .as_i64()
            .or(whole)
            .and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            violations.add(self.field(name), "must be a whole number in range");
        }
        number
    }

    pub(super) fn list(&mut self, name: &str, violations: &mut Violations) -> Vec<Value> {
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                violations.add(self.field(name), "must be a list");
                Vec::new()
            }
        }
    }

    pub(super) fn texts(&mut self, name: &str, violations: &mut Violations) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, item) in self.list(name, violations).into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    violations.add(format!("{}[{index}]", self.field(name)), "must be a text");
                }
            }
        }
        texts
    }

    /// Paths of the fields that were not asked for.
    pub(super) fn into_unknown(self) -> Vec<String> {
        self.fields.keys().map(|name| self.field(name)).collect()
    }

    fn field(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}
