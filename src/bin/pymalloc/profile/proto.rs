//! Messages in protobuf's encoding, in the launcher's memory.

use crate::profile_proto::{self as proto, Sink};

/// A message being written.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

impl Sink for Message {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Message {
    /// A number; protobuf leaves out 0.
    pub fn number(&mut self, field: u64, value: u64) {
        proto::number(self, field, value);
    }

    /// A text.
    pub fn text(&mut self, field: u64, text: &str) {
        proto::bytes(self, field, text.as_bytes());
    }

    /// A message inside.
    pub fn message(&mut self, field: u64, inner: &Message) {
        proto::bytes(self, field, &inner.0);
    }

    /// Numbers one after another.
    pub fn numbers(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut packed = Message::default();
        values.for_each(|value| proto::varint(&mut packed, value));
        self.message(field, &packed);
    }

    /// The message's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
