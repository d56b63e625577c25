//! What a contender offers.

/// Nodes of 40 bytes (three references and two numbers), their handles, and a collector.
pub trait Graph: 'static {
    /// A counted or copied handle.
    type Handle: Clone + 'static;

    /// A node without references.
    fn make(key: u64) -> Self::Handle;

    /// Lets reference `slot` (0 to 2) of `from` be `to`.
    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>);

    /// Reads the number.
    fn key(node: &Self::Handle) -> u64;

    /// Collects everything.
    fn collect();

    /// Whether a collection runs by itself when garbage is made.
    const AUTOMATIC: bool;

    /// Lets collections run by themselves, or not, where there is a choice.
    fn automatic(_on: bool) {}

    /// Whether cycles are freed at all.
    const COLLECTS: bool = true;
}
