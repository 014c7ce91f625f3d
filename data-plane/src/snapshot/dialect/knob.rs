//! The values of knobs, as the translation reads them.

use bridge_proto::fleet::v1 as proto;
use serde_json::Value;

pub(super) fn value<T: Into<Knob>>(knob: Option<T>) -> Option<Value> {
    knob.map(|knob| knob.into().0)
}

/// A knob's value as the translation reads it.
pub(super) struct Knob(Value);

impl From<String> for Knob {
    fn from(word: String) -> Self {
        Self(Value::String(word))
    }
}

impl From<bool> for Knob {
    fn from(flag: bool) -> Self {
        Self(Value::Bool(flag))
    }
}

impl From<u32> for Knob {
    fn from(number: u32) -> Self {
        Self(Value::from(number))
    }
}

impl From<f64> for Knob {
    fn from(number: f64) -> Self {
        Self(Value::from(number))
    }
}

impl From<proto::StringList> for Knob {
    fn from(list: proto::StringList) -> Self {
        Self(Value::from(list.values))
    }
}
