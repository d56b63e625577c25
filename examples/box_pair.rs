//! The two functions whose instructions the README counts.
//!
//! ```text
//! cargo build --profile fat --example box_pair
//! objdump -d --no-show-raw-insn target/fat/examples/box_pair | less +/make_box
//! ```

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// One allocation of constant size.
#[inline(never)]
#[unsafe(no_mangle)]
pub fn make_box(value: [u64; 8]) -> Box<[u64; 8]> {
    Box::new(value)
}

/// Its deallocation.
#[inline(never)]
#[unsafe(no_mangle)]
pub fn drop_box(boxed: Box<[u64; 8]>) {
    drop(boxed);
}

fn main() {
    let boxes: Vec<_> = (0..1000).map(|n| make_box([n; 8])).collect();
    let sum: u64 = boxes.iter().map(|boxed| boxed[0]).sum();
    boxes.into_iter().for_each(drop_box);
    println!("{sum}");
}
