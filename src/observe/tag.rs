//! Tags: parts of a program, each with counts, a budget and a limit of its own.

use super::region::{Region, Scope};
use std::marker::PhantomData;

/// A name for what several threads allocate together: a request's handler, a cache, a plug-in.
///
/// What a thread allocates between [`Tag::enter`] and the end of its result is counted for the tag it entered last,
/// and stays counted until it is freed, by whichever thread. A tag has the counts, the budget and the limit of a
/// [`Region`].
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
/// use pymalloc::observe::Tag;
///
/// let cache = Tag::new("cache");
/// let kept = {
///     let _in_it = cache.enter();
///     vec![0u8; 1000]
/// };
/// let _other = vec![0u8; 500];
/// assert_eq!(cache.region().counts().live.bytes, 1000);
/// drop(kept);
/// assert_eq!(cache.region().counts().live.bytes, 0);
/// ```
#[derive(Debug)]
pub struct Tag {
    name: &'static str,
    region: Region,
}

impl Tag {
    /// A tag that no thread is in.
    pub fn new(name: &'static str) -> Self {
        let region = Region::of(Scope::Tag);
        Self { name, region }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its counts, budget and limit.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Counts what the calling thread allocates while the result lives.
    pub fn enter(&self) -> Entered<'_> {
        self.region.enter();
        Entered {
            tag: self,
            not_send: PhantomData,
        }
    }
}

/// While it lives, its thread is in a [`Tag`].
#[derive(Debug)]
pub struct Entered<'a> {
    tag: &'a Tag,
    /// The thread that entered leaves.
    not_send: PhantomData<*const ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.tag.region.leave();
    }
}
