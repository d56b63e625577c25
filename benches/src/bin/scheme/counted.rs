//! On `std::rc::Rc`: cycles leak.

#[macro_use]
mod memory {
    pub type Ref<T> = std::rc::Rc<T>;
    pub type Leaf<T> = std::rc::Rc<T>;

    pub fn new<T>(value: T) -> Ref<T> {
        Ref::new(value)
    }

    pub fn same<T>(a: &Ref<T>, b: &Ref<T>) -> bool {
        Ref::ptr_eq(a, b)
    }

    macro_rules! traced {
        ($item:item $($list:tt)*) => {
            $item
        };
    }
}
#[path = "../../../../examples/scheme/interpreter/mod.rs"]
pub mod interpreter;
