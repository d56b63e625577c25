//! Runs programs and compares what an allocator does with what a dozen obvious lines say it must.

use crate::program::{Call, Op, THREADS};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// An allocator seen from outside, by one thread.
pub trait Subject {
    /// A block; null when memory is out.
    fn alloc(&mut self, layout: Layout) -> *mut u8;
    /// A block that must read as zero; `None` where the allocator has no such call.
    fn alloc_zeroed(&mut self, layout: Layout) -> Option<*mut u8>;
    /// Frees.
    ///
    /// # Safety
    /// `p` is a live block of `layout`.
    unsafe fn free(&mut self, p: *mut u8, layout: Layout);
    /// Resizes; `None` where the allocator has no such call.
    ///
    /// # Safety
    /// `p` is a live block of `layout`.
    unsafe fn realloc(&mut self, p: *mut u8, layout: Layout, size: usize) -> Option<*mut u8>;
    /// Bytes the block really has, and whether that is all right for its layout.
    fn usable(&self, p: *mut u8, layout: Layout) -> Result<usize, String>;
    /// Whether all blocks go when memory is given back.
    const COLLECT_FREES: bool;
    /// Gives memory back.
    fn collect(&mut self);
    /// What the statistics say is out, given what `held` says is.
    fn check(&self, held: &Held) -> Result<(), String>;
}

/// What the calling thread holds.
#[derive(Default)]
pub struct Held {
    /// Bytes of all its blocks, and of those up to 256 KiB.
    pub bytes: usize,
    pub pooled_bytes: usize,
    /// Whether other threads hold blocks, too.
    pub alone: bool,
}

/// A block and what is written in it.
#[derive(Clone, Copy)]
struct Live {
    addr: usize,
    layout: Layout,
    tag: u8,
}

// A block is an address with exposed provenance: it travels between threads.
impl Live {
    fn new(p: *mut u8, layout: Layout, tag: u8) -> Self {
        let addr = p.expose_provenance();
        Self { addr, layout, tag }
    }

    fn pointer(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.addr)
    }
}

/// Most bytes a thread holds at once.
const MOST_BYTES: usize = 48 << 20;
/// Blocks up to this size are written whole, larger ones at their ends and at each page.
const WHOLE: usize = 4096;

/// Offsets of a block of `size` bytes that carry its pattern.
fn written(size: usize) -> impl Iterator<Item = usize> {
    let whole = 0..if size <= WHOLE { size } else { 0 };
    let large = if size > WHOLE { size } else { 0 };
    let pages = (0..large)
        .step_by(4096)
        .flat_map(move |page| page..(page + 8).min(large));
    whole.chain(pages).chain(large.saturating_sub(64)..large)
}

/// The byte at `offset` of a block tagged `tag`; never 0, which is what forgotten memory reads as.
fn pattern(tag: u8, offset: usize) -> u8 {
    (tag ^ (offset as u8).wrapping_mul(31) ^ (offset >> 12) as u8) | 1
}

fn fill(p: *mut u8, size: usize, tag: u8) {
    for offset in written(size) {
        // SAFETY: inside the block.
        unsafe { p.add(offset).write(pattern(tag, offset)) };
    }
}

/// The first offset below `most` whose byte is not the pattern's. `size` is what was filled.
fn wrong_byte(p: *mut u8, size: usize, most: usize, tag: u8) -> Option<usize> {
    written(size)
        .filter(|&offset| offset < most)
        // SAFETY: inside the block.
        .find(|&offset| unsafe { p.add(offset).read() } != pattern(tag, offset))
}

fn nonzero_byte(p: *mut u8, size: usize) -> Option<usize> {
    // SAFETY: a live block of `size` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(p, size) };
    bytes.iter().position(|&byte| byte != 0)
}

/// The naive oracle: which address ranges are taken.
#[derive(Default)]
pub struct Taken(Mutex<BTreeMap<usize, usize>>);

impl Taken {
    fn insert(&self, start: usize, length: usize) -> Result<(), String> {
        let mut ranges = self.0.lock().unwrap();
        let end = start + length;
        if let Some((&other, &other_end)) = ranges.range(..end).next_back()
            && other_end > start
        {
            return Err(format!(
                "the block {start:#x}..{end:#x} overlaps {other:#x}..{other_end:#x}"
            ));
        }
        ranges.insert(start, end);
        Ok(())
    }

    fn remove(&self, start: usize) {
        self.0.lock().unwrap().remove(&start);
    }
}

/// What threads of one program share.
#[derive(Default)]
pub struct Shared {
    taken: Taken,
    mail: [Mutex<Vec<Live>>; THREADS],
}

/// One thread's part of a run.
struct Run<'a, S> {
    subject: S,
    shared: &'a Shared,
    thread: usize,
    alone: bool,
    live: Vec<Live>,
    bytes: usize,
    next_tag: u8,
}

/// Runs the calls of `thread`, then checks and frees what it holds.
///
/// # Errors
/// The first call that did not do what it must, and how.
pub fn run<S: Subject>(
    subject: S,
    shared: &Shared,
    thread: usize,
    program: &[Op],
) -> Result<(), String> {
    let mut run = Run {
        subject,
        shared,
        thread,
        alone: program.iter().all(|op| op.thread == thread),
        live: Vec::new(),
        bytes: 0,
        next_tag: thread as u8,
    };
    for (at, op) in program.iter().enumerate() {
        if op.thread != thread {
            continue;
        }
        run.step(op.call)
            .map_err(|problem| format!("call {at} ({op}): {problem}"))?;
    }
    run.finish()
        .map_err(|problem| format!("at the end: {problem}"))
}

impl<S: Subject> Run<'_, S> {
    fn step(&mut self, call: Call) -> Result<(), String> {
        self.take_mail();
        match call {
            Call::Alloc { size, align } => self.alloc(size, align, false),
            Call::AllocZeroed { size, align } => self.alloc(size, align, true),
            Call::Free { which } => self.choose(which).map_or(Ok(()), |block| self.free(block)),
            Call::Realloc { which, size } => self
                .choose(which)
                .map_or(Ok(()), |block| self.realloc(block, size)),
            Call::Pass { which, to } => {
                if let Some(block) = self.choose(which) {
                    self.bytes -= block.layout.size();
                    self.shared.mail[to].lock().unwrap().push(block);
                }
                Ok(())
            }
            Call::Collect => {
                if S::COLLECT_FREES {
                    // Before the call: another thread may get the addresses at once.
                    for block in std::mem::take(&mut self.live) {
                        self.give_up(block, usize::MAX)?;
                    }
                }
                self.subject.collect();
                Ok(())
            }
            Call::Check => {
                let pooled =
                    |block: &&Live| block.layout.size() <= 100_000 && block.layout.align() <= 4096;
                let sizes = self
                    .live
                    .iter()
                    .filter(pooled)
                    .map(|block| block.layout.size());
                self.subject.check(&Held {
                    bytes: self.bytes,
                    pooled_bytes: sizes.sum(),
                    alone: self.alone,
                })
            }
        }
    }

    fn take_mail(&mut self) {
        let mut mail = self.shared.mail[self.thread].lock().unwrap();
        for block in mail.drain(..) {
            self.bytes += block.layout.size();
            self.live.push(block);
        }
    }

    fn choose(&mut self, which: usize) -> Option<Live> {
        let n = self.live.len();
        (n > 0).then(|| self.live.swap_remove(which % n))
    }

    fn alloc(&mut self, size: usize, align: usize, zeroed: bool) -> Result<(), String> {
        if self.bytes + size > MOST_BYTES {
            return self.choose(size).map_or(Ok(()), |block| self.free(block));
        }
        let layout = Layout::from_size_align(size, align).unwrap();
        let (p, zeroed) = match zeroed.then(|| self.subject.alloc_zeroed(layout)).flatten() {
            Some(p) => (p, true),
            None => (self.subject.alloc(layout), false),
        };
        self.enter(p, layout)?;
        if zeroed && let Some(offset) = nonzero_byte(p, size) {
            return Err(format!("byte {offset} is not zero"));
        }
        self.keep(p, layout);
        Ok(())
    }

    /// Checks where a new block lies.
    fn enter(&mut self, p: *mut u8, layout: Layout) -> Result<(), String> {
        if p.is_null() {
            return Err("null".to_owned());
        }
        if !p.addr().is_multiple_of(layout.align()) {
            return Err(format!("{p:p} is not aligned to {}", layout.align()));
        }
        let usable = self.subject.usable(p, layout)?;
        if usable < layout.size() {
            return Err(format!("{usable} bytes usable of {}", layout.size()));
        }
        self.shared.taken.insert(p.addr(), usable)
    }

    fn keep(&mut self, p: *mut u8, layout: Layout) {
        self.next_tag = self.next_tag.wrapping_add(59);
        fill(p, layout.size(), self.next_tag);
        self.bytes += layout.size();
        self.live.push(Live::new(p, layout, self.next_tag));
    }

    /// Checks the first `most` bytes of a block, which is then no longer counted as held.
    fn give_up(&mut self, block: Live, most: usize) -> Result<(), String> {
        self.bytes -= block.layout.size();
        self.shared.taken.remove(block.addr);
        intact(block.pointer(), block, most)
    }

    fn free(&mut self, block: Live) -> Result<(), String> {
        self.give_up(block, usize::MAX)?;
        // SAFETY: live, and taken off the list.
        unsafe { self.subject.free(block.pointer(), block.layout) };
        Ok(())
    }

    fn realloc(&mut self, block: Live, size: usize) -> Result<(), String> {
        self.give_up(block, usize::MAX)?;
        let (old, layout) = (block.pointer(), block.layout);
        let new_layout = Layout::from_size_align(size, layout.align()).unwrap();
        // SAFETY: live, and taken off the list.
        let p = match unsafe { self.subject.realloc(old, layout, size) } {
            Some(p) => p,
            None => {
                let p = self.subject.alloc(new_layout);
                // SAFETY: both blocks are live and hold the copied bytes.
                unsafe {
                    if !p.is_null() {
                        p.copy_from_nonoverlapping(old, size.min(layout.size()));
                    }
                    self.subject.free(old, layout);
                }
                p
            }
        };
        self.enter(p, new_layout)?;
        intact(p, block, size)?;
        self.keep(p, new_layout);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        self.step(Call::Check)?;
        while let Some(block) = self.live.pop() {
            self.free(block)?;
        }
        self.take_mail();
        while let Some(block) = self.live.pop() {
            self.free(block)?;
        }
        Ok(())
    }
}

/// Checks that the bytes of `block`, which are at `p` now, are as written, up to `most`.
fn intact(p: *mut u8, block: Live, most: usize) -> Result<(), String> {
    match wrong_byte(p, block.layout.size(), most, block.tag) {
        None => Ok(()),
        Some(offset) => Err(format!(
            "byte {offset} of the block of {:?} at {:#x} changed",
            block.layout, block.addr
        )),
    }
}

/// Frees what was passed to threads that had ended.
///
/// # Errors
/// A block that is not intact.
pub fn clear_mail<S: Subject>(subject: &mut S, shared: &Shared) -> Result<(), String> {
    for mail in &shared.mail {
        for block in mail.lock().unwrap().drain(..) {
            intact(block.pointer(), block, usize::MAX)?;
            shared.taken.remove(block.addr);
            // SAFETY: live, and nobody else's.
            unsafe { subject.free(block.pointer(), block.layout) };
        }
    }
    Ok(())
}
