//! Messages in protobuf's encoding: fields by number, each a varint or bytes with a length before them.

/// A message being written.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

/// Bytes follow, their number before them.
const LENGTH: u64 = 2;

impl Message {
    /// A number; protobuf leaves out 0.
    pub fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    /// A text.
    pub fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A message inside.
    pub fn message(&mut self, field: u64, inner: &Message) {
        self.bytes(field, &inner.0);
    }

    /// Numbers one after another.
    pub fn numbers(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut packed = Message::default();
        values.for_each(|value| packed.varint(value));
        self.message(field, &packed);
    }

    /// The message's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_protobufs_documentation() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.numbers(6, [3, 270, 86942].into_iter());
        let expected = [
            &[0x08, 0x96, 0x01][..],
            b"\x12\x07testing",
            &[0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05],
        ];
        assert_eq!(message.into_bytes(), expected.concat());
    }
}
