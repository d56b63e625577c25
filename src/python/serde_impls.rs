//! serde for Python's values, by the feature `serde`: what `json.dumps` would write of them.
//!
//! Tuples, lists and sets are sequences in their order, bytes are bytes, an int above 64 bits is its decimal
//! text, an instance is a map of its attributes. A container in itself is an error, as in Python.

use super::value::Value;
use crate::gc::write_once;
use serde::ser::{Serialize, Serializer};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None(_) => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(value.is_true()),
            Self::Int(value) => match value.value().to_i64() {
                Some(number) => serializer.serialize_i64(number),
                None => serializer.collect_str(value.value()),
            },
            Self::Float(value) => serializer.serialize_f64(value.value()),
            Self::Str(text) => serializer.serialize_str(text.as_str()),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes.as_bytes()),
            Self::Tuple(tuple) => write_once(self.id(), || serializer.collect_seq(tuple.items())),
            Self::List(list) => write_once(self.id(), || serializer.collect_seq(list.to_vec())),
            Self::Set(set) => write_once(self.id(), || serializer.collect_seq(set.to_vec())),
            Self::Dict(dict) => write_once(self.id(), || serializer.collect_map(dict.to_vec())),
            Self::Instance(instance) => {
                write_once(self.id(), || serializer.collect_map(instance.attributes()))
            }
        }
    }
}
