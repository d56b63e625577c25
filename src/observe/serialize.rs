//! The figures for serde's formats, field by field under their own names.

use super::region::{Counts, Sum};
use crate::global::{ArenaStats, ClassStats, HeapStats, Stats, ThreadStats};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A structure of numbers.
macro_rules! numbers {
    ($type:ident: $($field:ident),+) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let n = [$(stringify!($field)),+].len();
                let mut fields = serializer.serialize_struct(stringify!($type), n)?;
                $(fields.serialize_field(stringify!($field), &self.$field)?;)+
                fields.end()
            }
        }
    };
}

numbers!(ClassStats: block_bytes, pools, in_use, available);
numbers!(ArenaStats: address, heap, pools_in_use, pools_free, pools_dirty);
numbers!(HeapStats: heap, threads, thread, arenas, arenas_high, block_bytes, block_bytes_high);
numbers!(ThreadStats: heap, listed_blocks, listed_bytes);
numbers!(Sum: blocks, bytes);
numbers!(Counts: allocated, freed, resizes, live, peak_bytes);

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = [
            ("mapped_bytes", self.mapped_bytes),
            ("mapped_bytes_high", self.mapped_bytes_high),
            ("active_bytes", self.active_bytes),
            ("metadata_bytes", self.metadata_bytes),
            ("retained_bytes", self.retained_bytes),
            ("block_bytes", self.block_bytes),
            ("block_bytes_high", self.block_bytes_high),
            ("arenas", self.arenas),
            ("arenas_high", self.arenas_high),
            ("arenas_total", self.arenas_total),
            ("huge_blocks", self.huge_blocks),
            ("huge_bytes", self.huge_bytes),
            ("huge_bytes_high", self.huge_bytes_high),
            ("huge_total", self.huge_total),
            ("threads", self.threads),
            ("threads_high", self.threads_high),
            ("threads_total", self.threads_total),
            ("heaps", self.heaps),
            ("purged_bytes", self.purged_bytes),
            ("foreign_frees", self.foreign_frees),
        ];
        let mut fields = serializer.serialize_struct("Stats", numbers.len() + 1)?;
        for (name, value) in numbers {
            fields.serialize_field(name, &value)?;
        }
        fields.serialize_field("classes", &self.classes[..])?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use crate::global::PyMalloc;

    #[test]
    fn every_field_is_there() {
        let stats = PyMalloc.stats();
        let value = serde_json::to_value(&stats).expect("JSON");
        let fields = value.as_object().expect("an object");
        // `{:?}` names every field once, and `classes` has four in each of its own.
        let shown = format!("{stats:?}");
        for name in fields.keys() {
            assert!(shown.contains(&format!("{name}: ")), "{name}");
        }
        let named = shown.split(" classes: ").next().expect("the numbers");
        assert_eq!(fields.len(), named.matches(": ").count() + 1);
        let classes = value["classes"].as_array().expect("classes");
        assert_eq!(classes.len(), stats.classes.len());
        assert_eq!(classes[1]["block_bytes"], 32);
    }
}
