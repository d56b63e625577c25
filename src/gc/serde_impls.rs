//! serde for handles, by the feature `serde`: a handle is written as its value, and read as a new object.
//!
//! An object that two handles lead to is written twice, as with `Rc`. One that leads back to itself cannot be
//! written: that is an error, not an endless text.

use super::current::current;
use crate::object::{Gc, Slot, Trace};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error, Serialize, Serializer};

/// Writes what `write` writes of the object with `id`, unless that is being written already.
///
/// # Errors
/// The writer's, or that the object leads to itself.
pub(crate) fn write_once<R, E: Error>(
    id: usize,
    write: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    let written = &current().written;
    if !written.borrow_mut().insert(id) {
        return Err(E::custom(
            "an object that leads to itself cannot be written",
        ));
    }
    /// Takes the object out again, whatever happens.
    struct Done(usize);
    impl Drop for Done {
        fn drop(&mut self) {
            current().written.borrow_mut().remove(&self.0);
        }
    }
    let _done = Done(id);
    write()
}

impl<T: ?Sized + Serialize> Serialize for Gc<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_once(Gc::id(self), || T::serialize(self, serializer))
    }
}

impl<'de, T: Trace + Deserialize<'de>> Deserialize<'de> for Gc<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Gc::new)
    }
}

impl<'de, T: Trace + Deserialize<'de>> Deserialize<'de> for Gc<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Gc::from)
    }
}

impl<T: ?Sized + Serialize> Serialize for Slot<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de, T: ?Sized> Deserialize<'de> for Slot<T>
where
    Gc<T>: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Slot::from)
    }
}
