//! obmalloc, written as plainly as it can be: the naive oracle.
//!
//! It follows the "equivalent simpler model" of section 3 of the specification. A pool is a stack of
//! returned block numbers and a counter of blocks never handed out; rings, the free pools of an arena
//! and the usable list are plain sequences; nothing is kept that can be counted. It owns no memory:
//! addresses are made up, arena k at `(k + 1)` times 2 MiB plus its excess, RAW blocks above them all.
//!
//! Each [`Mutation`] is one wrong variant of the specification's table. A replay that cannot tell a
//! mutant from the model would prove nothing about the engine.

use std::collections::VecDeque;

use super::pymt::{BASE_MODULUS, ExcessRule, POOL_BYTES};
use super::report::report;
use super::subject::{ArenaEvent, CLASSES, Statistics, Subject};

/// Bytes of a pool's header.
const HEADER_BYTES: u64 = 48;
/// Largest request served from a pool, in bytes.
const SMALL_BYTES: usize = 512;
/// RAW addresses start here, far above any arena.
const RAW_BASE: usize = 1 << 60;

/// One deliberate mistake, in the order of the specification's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// full -> used pool inserted at the back of the ring.
    RingBack,
    /// Returned blocks reused oldest first.
    OldestBlockFirst,
    /// Never-used blocks preferred to returned ones.
    NeverUsedFirst,
    /// Reused pool of the same class reformatted.
    AlwaysReformat,
    /// Arena's free-pool stack used oldest first.
    OldestPoolFirst,
    /// Carving preferred to reusing free pools.
    CarveFirst,
    /// Wholly free arena always unmapped.
    AlwaysUnmap,
    /// Unmapped only if another wholly free arena exists.
    UnmapOnlyIfAnother,
    /// Rule B inserts behind the other nfree = 1 arenas.
    RuleBBehind,
    /// Rule C inserts at the end of group k+1.
    RuleCAtEnd,
    /// realloc in place only within the same class.
    InPlaceSameClassOnly,
    /// realloc frees before it allocates.
    FreeBeforeAlloc,
    /// realloc boundary `4n >= 3S`.
    InPlaceAtThreeQuarters,
    /// malloc(0) served from class 0.
    ZeroFromClass0,
}

/// A pool that was carved at least once.
#[derive(Default)]
struct Pool {
    /// `None` until first used.
    class: Option<usize>,
    /// Returned blocks, newest last.
    stack: VecDeque<u64>,
    /// Blocks ever handed out since formatting; blocks from here on are untouched.
    bump: u64,
    /// Blocks out.
    live: u64,
}

/// A mapped arena.
struct Arena {
    /// Address of the mapping.
    base: u64,
    /// Pools it has room for: 63 or 64.
    total: usize,
    /// Carved pools, lowest address first.
    pools: Vec<Pool>,
    /// Numbers of empty pools, newest last.
    free_pools: VecDeque<usize>,
}

impl Arena {
    /// Available pools: stacked ones and never carved ones.
    fn nfree(&self) -> usize {
        self.free_pools.len() + self.total - self.pools.len()
    }

    fn is_wholly_free(&self) -> bool {
        self.nfree() == self.total
    }

    /// Address of pool 0.
    fn first_pool(&self) -> u64 {
        self.base.next_multiple_of(POOL_BYTES)
    }
}

/// Arena ordinal and number of the pool in it.
type PoolId = (usize, usize);

/// A complete obmalloc without memory.
pub struct Model {
    excess_rule: ExcessRule,
    mutation: Option<Mutation>,
    /// By ordinal; `None` once unmapped.
    arenas: Vec<Option<Arena>>,
    /// U: ordinals of arenas with an available pool, fewest available first.
    usable: Vec<usize>,
    /// Per class: pools with some blocks out but not all, first one first.
    rings: [VecDeque<PoolId>; CLASSES],
    highwater: usize,
    raw_blocks: u64,
    /// RAW blocks ever made.
    raw_serial: usize,
    refuses_arenas: bool,
    events: Vec<ArenaEvent>,
}

fn block_bytes(class: usize) -> u64 {
    16 * (class as u64 + 1)
}

fn capacity(class: usize) -> u64 {
    (POOL_BYTES - HEADER_BYTES) / block_bytes(class)
}

impl Model {
    /// An empty heap whose arenas lie as `excess_rule` says, with at most one deliberate mistake.
    pub fn new(excess_rule: ExcessRule, mutation: Option<Mutation>) -> Self {
        Self {
            excess_rule,
            mutation,
            arenas: Vec::new(),
            usable: Vec::new(),
            rings: Default::default(),
            highwater: 0,
            raw_blocks: 0,
            raw_serial: 0,
            refuses_arenas: false,
            events: Vec::new(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn arena(&mut self, ordinal: usize) -> &mut Arena {
        self.arenas[ordinal].as_mut().expect("the arena is mapped")
    }

    fn nfree(&self, ordinal: usize) -> usize {
        self.arenas[ordinal]
            .as_ref()
            .expect("the arena is mapped")
            .nfree()
    }

    /// The class that serves a request, or `None` for RAW.
    fn class_of(&self, size: usize) -> Option<usize> {
        match size {
            0 => self.is(Mutation::ZeroFromClass0).then_some(0),
            1..=SMALL_BYTES => Some((size - 1) / 16),
            _ => None,
        }
    }

    fn raw_alloc(&mut self) -> usize {
        self.raw_blocks += 1;
        self.raw_serial += 1;
        RAW_BASE + 16 * self.raw_serial
    }

    /// Section 3, steps 2 and 3.
    fn small_alloc(&mut self, class: usize) -> Option<usize> {
        if self.rings[class].is_empty() {
            let (ordinal, number) = self.take_pool()?;
            let reformat = self.is(Mutation::AlwaysReformat);
            let pool = &mut self.arena(ordinal).pools[number];
            if pool.class != Some(class) || reformat {
                *pool = Pool {
                    class: Some(class),
                    ..Pool::default()
                };
            }
            self.rings[class].push_front((ordinal, number));
        }
        let (ordinal, number) = self.rings[class][0];
        let (oldest_first, never_used_first) = (
            self.is(Mutation::OldestBlockFirst),
            self.is(Mutation::NeverUsedFirst),
        );
        let arena = self.arena(ordinal);
        let pool_at = arena.first_pool() + number as u64 * POOL_BYTES;
        let pool = &mut arena.pools[number];
        pool.live += 1;
        let returned = match (
            never_used_first && pool.bump < capacity(class),
            oldest_first,
        ) {
            (true, _) => None,
            (false, true) => pool.stack.pop_front(),
            (false, false) => pool.stack.pop_back(),
        };
        let block = returned.unwrap_or_else(|| {
            pool.bump += 1;
            pool.bump - 1
        });
        if pool.live == capacity(class) {
            self.rings[class].pop_front();
        }
        Some((pool_at + HEADER_BYTES + block * block_bytes(class)) as usize)
    }

    /// Sections 5.1 and 5.2.
    fn take_pool(&mut self) -> Option<PoolId> {
        if self.usable.is_empty() {
            self.map_arena()?;
        }
        let ordinal = self.usable[0];
        let (oldest_first, carve_first) = (
            self.is(Mutation::OldestPoolFirst),
            self.is(Mutation::CarveFirst),
        );
        let arena = self.arena(ordinal);
        let stacked = match (carve_first && arena.pools.len() < arena.total, oldest_first) {
            (true, _) => None,
            (false, true) => arena.free_pools.pop_front(),
            (false, false) => arena.free_pools.pop_back(),
        };
        let number = stacked.unwrap_or_else(|| {
            arena.pools.push(Pool::default());
            arena.pools.len() - 1
        });
        if arena.nfree() == 0 {
            self.usable.remove(0);
        }
        Some((ordinal, number))
    }

    fn map_arena(&mut self) -> Option<()> {
        if self.refuses_arenas {
            return None;
        }
        let ordinal = self.arenas.len();
        let excess = self.excess_rule.excess(ordinal as u32);
        let base = (ordinal as u64 + 1) * BASE_MODULUS + u64::from(excess);
        let total = if base.is_multiple_of(POOL_BYTES) {
            64
        } else {
            63
        };
        self.arenas.push(Some(Arena {
            base,
            total,
            pools: Vec::new(),
            free_pools: VecDeque::new(),
        }));
        self.usable.push(ordinal);
        self.highwater = self.highwater.max(self.arenas.iter().flatten().count());
        self.events.push(ArenaEvent::Obtained {
            ordinal: ordinal as u32,
            excess,
        });
        Some(())
    }

    /// Pool, its class and the block's number in it; `None` for a RAW address.
    fn find(&self, addr: usize) -> Option<(PoolId, usize, u64)> {
        if addr >= RAW_BASE {
            return None;
        }
        let ordinal = (addr as u64 / BASE_MODULUS - 1) as usize;
        let arena = self.arenas[ordinal]
            .as_ref()
            .expect("the block's arena is mapped");
        let offset = addr as u64 - arena.first_pool();
        let number = (offset / POOL_BYTES) as usize;
        let class = arena.pools[number]
            .class
            .expect("the block's pool is in use");
        Some((
            (ordinal, number),
            class,
            (offset % POOL_BYTES - HEADER_BYTES) / block_bytes(class),
        ))
    }

    /// Section 4.
    fn small_free(&mut self, (ordinal, number): PoolId, class: usize, block: u64) {
        let pool = &mut self.arena(ordinal).pools[number];
        let was_full = pool.live == capacity(class);
        pool.stack.push_back(block);
        pool.live -= 1;
        let is_empty = pool.live == 0;
        if was_full && self.is(Mutation::RingBack) {
            self.rings[class].push_back((ordinal, number));
        } else if was_full {
            self.rings[class].push_front((ordinal, number));
        } else if is_empty {
            self.rings[class].retain(|&member| member != (ordinal, number));
            self.return_pool((ordinal, number));
        }
    }

    /// Section 5.3: rules A, B and C.
    fn return_pool(&mut self, (ordinal, number): PoolId) {
        let arena = self.arena(ordinal);
        let k = arena.nfree();
        arena.free_pools.push_back(number);
        let is_wholly_free = arena.is_wholly_free();
        let Some(at) = self.usable.iter().position(|&member| member == ordinal) else {
            // B: it had no available pool and was on no list.
            let behind = self.is(Mutation::RuleBBehind);
            let ones = self
                .usable
                .iter()
                .filter(|&&member| self.nfree(member) == 1)
                .count();
            self.usable.insert(if behind { ones } else { 0 }, ordinal);
            return;
        };
        if is_wholly_free && self.may_unmap(at) {
            // A.
            self.usable.remove(at);
            self.arenas[ordinal] = None;
            self.events.push(ArenaEvent::Released {
                ordinal: ordinal as u32,
            });
            return;
        }
        // C: step over the right neighbours that still have k, to the front of the group with k + 1. The
        // mutant steps over that group too, but like the original leaves the last one of k in place.
        let right = &self.usable[at + 1..];
        let mut steps = right
            .iter()
            .take_while(|&&member| self.nfree(member) == k)
            .count();
        if steps > 0 && self.is(Mutation::RuleCAtEnd) {
            steps = right
                .iter()
                .take_while(|&&member| self.nfree(member) <= k + 1)
                .count();
        }
        self.usable[at..=at + steps].rotate_left(1);
    }

    /// Rule A's second condition, for a wholly free arena at index `at` of the usable list.
    fn may_unmap(&self, at: usize) -> bool {
        match self.mutation {
            Some(Mutation::AlwaysUnmap) => true,
            Some(Mutation::UnmapOnlyIfAnother) => {
                self.arenas
                    .iter()
                    .flatten()
                    .filter(|arena| arena.is_wholly_free())
                    .count()
                    > 1
            }
            _ => at + 1 < self.usable.len(),
        }
    }

    /// Section 7: does a block of class `class` stay where it is for `size` bytes?
    fn stays_in_place(&self, class: usize, size: usize) -> bool {
        let block = block_bytes(class) as usize;
        match self.mutation {
            Some(Mutation::InPlaceSameClassOnly) => self.class_of(size) == Some(class),
            Some(Mutation::InPlaceAtThreeQuarters) => size <= block && 4 * size >= 3 * block,
            _ => size <= block && 4 * size > 3 * block,
        }
    }
}

impl Subject for Model {
    fn malloc(&mut self, size: usize) -> usize {
        match self
            .class_of(size)
            .and_then(|class| self.small_alloc(class))
        {
            Some(addr) => addr,
            None => self.raw_alloc(),
        }
    }

    fn calloc(&mut self, total: usize) -> usize {
        self.malloc(total)
    }

    fn realloc(&mut self, old: usize, size: usize) -> usize {
        if old == 0 {
            return self.malloc(size);
        }
        match self.find(old) {
            // RAW to RAW, never into a pool.
            None => old,
            Some((_, class, _)) if self.stays_in_place(class, size) => old,
            Some(_) if self.is(Mutation::FreeBeforeAlloc) => {
                self.free(old);
                self.malloc(size)
            }
            Some(_) => {
                let new = self.malloc(size);
                self.free(old);
                new
            }
        }
    }

    fn free(&mut self, addr: usize) {
        match self.find(addr) {
            Some((pool, class, block)) => self.small_free(pool, class, block),
            None => self.raw_blocks -= 1,
        }
    }

    fn locate(&self, addr: usize) -> Option<(u32, u32)> {
        let ((ordinal, _), ..) = self.find(addr)?;
        let base = self.arenas[ordinal]
            .as_ref()
            .expect("the block's arena is mapped")
            .base;
        Some((ordinal as u32, ((addr as u64 - base) / 16) as u32))
    }

    fn take_events(&mut self) -> Vec<ArenaEvent> {
        std::mem::take(&mut self.events)
    }

    fn refuse_arenas(&mut self, refuse: bool) {
        self.refuses_arenas = refuse;
    }

    fn statistics(&self) -> Statistics {
        let mut s = Statistics {
            allocated_blocks: self.raw_blocks,
            ..Statistics::default()
        };
        for arena in self.arenas.iter().flatten() {
            s.arenas_current += 1;
            s.unused_pools += arena.nfree() as u64;
            if !arena.base.is_multiple_of(POOL_BYTES) {
                s.arena_alignment_bytes += POOL_BYTES;
            }
            for pool in arena.pools.iter().filter(|pool| pool.live > 0) {
                let class = pool.class.expect("a pool with blocks out has a class");
                let available = capacity(class) - pool.live;
                s.classes[class].pools += 1;
                s.classes[class].blocks_in_use += pool.live;
                s.classes[class].available_blocks += available;
                s.allocated_blocks += pool.live;
                s.allocated_bytes += pool.live * block_bytes(class);
                s.available_bytes += available * block_bytes(class);
                s.pool_header_bytes += HEADER_BYTES;
                s.quantization_bytes += (POOL_BYTES - HEADER_BYTES) % block_bytes(class);
            }
        }
        s.arenas_total = self.arenas.len() as u64;
        s.arenas_reclaimed = s.arenas_total - s.arenas_current;
        s.arenas_highwater = self.highwater as u64;
        s.total_bytes = s.allocated_bytes
            + s.available_bytes
            + s.unused_pools * POOL_BYTES
            + s.pool_header_bytes
            + s.quantization_bytes
            + s.arena_alignment_bytes;
        s
    }

    fn report(&self, mid_nodes: u64, bot_nodes: u64) -> String {
        report(&self.statistics(), mid_nodes, bot_nodes)
    }
}
