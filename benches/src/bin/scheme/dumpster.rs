//! On dumpster 2, which collects by trial deletion.

#[macro_use]
mod memory {
    use dumpster::{Trace, TraceWith, Visitor};
    use std::ops::Deref;

    pub type Ref<T> = dumpster::unsync::Gc<T>;

    /// A shared reference that is not traced.
    pub struct Leaf<T>(std::rc::Rc<T>);

    impl<T> Leaf<T> {
        pub fn new(value: T) -> Self {
            Self(std::rc::Rc::new(value))
        }
    }

    impl<T> Clone for Leaf<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Deref for Leaf<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    // SAFETY: reports nothing: what it owns counts as used from outside.
    unsafe impl<V: Visitor, T> TraceWith<V> for Leaf<T> {
        fn accept(&self, _: &mut V) -> Result<(), ()> {
            Ok(())
        }
    }

    pub fn new<T: Trace + 'static>(value: T) -> Ref<T> {
        Ref::new(value)
    }

    pub fn same<T: Trace + 'static>(a: &Ref<T>, b: &Ref<T>) -> bool {
        Ref::ptr_eq(a, b)
    }

    // dumpster's derive cannot stand in a macro: its `self` would be the macro's.
    macro_rules! traced {
        ($item:item struct $name:ident { $($field:ident),* $(,)? }) => {
            $item
            // SAFETY: each field, once.
            unsafe impl<V: dumpster::Visitor> dumpster::TraceWith<V> for $name {
                fn accept(&self, visitor: &mut V) -> ::core::result::Result<(), ()> {
                    $(dumpster::TraceWith::accept(&self.$field, visitor)?;)*
                    Ok(())
                }
            }
        };
        ($item:item enum $name:ident { $($variant:ident $(($field:ident))?),* $(,)? }) => {
            $item
            // SAFETY: each field, once.
            unsafe impl<V: dumpster::Visitor> dumpster::TraceWith<V> for $name {
                fn accept(&self, visitor: &mut V) -> ::core::result::Result<(), ()> {
                    match self {
                        $(Self::$variant $(($field))? => {
                            $(dumpster::TraceWith::accept($field, visitor)?;)?
                        })*
                    }
                    Ok(())
                }
            }
        };
    }
}
#[path = "../../../../examples/scheme/interpreter/mod.rs"]
pub mod interpreter;
