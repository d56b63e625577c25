//! What a replay needs to know of an allocator: its calls, where it put a block, what it did to its
//! arenas, and its counters.

use super::pymt::Checkpoint;
use super::report::grouped;

/// Size classes of obmalloc.
pub const CLASSES: usize = 32;

/// One allocator with CPython's front: MEM and OBJ over obmalloc, with a RAW fallback.
///
/// Addresses are numbers here; nothing dereferences them.
pub trait Subject {
    /// Address of a new block of `size` bytes, 0 if there is none.
    fn malloc(&mut self, size: usize) -> usize;
    /// As `malloc`, zeroed.
    fn calloc(&mut self, total: usize) -> usize;
    /// `old` is a live address or 0.
    fn realloc(&mut self, old: usize, size: usize) -> usize;
    /// `addr` is a live address.
    fn free(&mut self, addr: usize);
    /// Ordinal of the block's arena, and its offset from the arena's mapping in units of 16 bytes;
    /// `None` for a RAW block.
    fn locate(&self, addr: usize) -> Option<(u32, u32)>;
    /// What happened to arenas since the last call of this function, in order.
    fn take_events(&mut self) -> Vec<ArenaEvent>;
    /// From now on the system refuses (or again grants) new arenas. No recording needs it; random
    /// programs do.
    fn refuse_arenas(&mut self, refuse: bool);
    /// The counters of CPython's statistics report.
    fn statistics(&self) -> Statistics;
    /// The obmalloc part of `sys._debugmallocstats()`. The address map's node counts are given
    /// because they depend on addresses.
    fn report(&self, mid_nodes: u64, bot_nodes: u64) -> String;
}

/// Something an allocator did to its arenas. Ordinals count arenas obtained and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArenaEvent {
    /// `excess` is the base of the mapping modulo 2 MiB, in bytes.
    Obtained {
        ordinal: u32,
        excess: u32,
    },
    Released {
        ordinal: u32,
    },
}

/// Counters of one size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStatistics {
    /// Pools with at least one block out.
    pub pools: u64,
    pub blocks_in_use: u64,
    /// Blocks of those pools that are not out, never-used ones included.
    pub available_blocks: u64,
}

/// The fields of CPython's report, and `sys.getallocatedblocks()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub classes: [ClassStatistics; CLASSES],
    /// Arenas ever obtained.
    pub arenas_total: u64,
    pub arenas_reclaimed: u64,
    pub arenas_highwater: u64,
    pub arenas_current: u64,
    pub allocated_bytes: u64,
    pub available_bytes: u64,
    /// Pools, not bytes.
    pub unused_pools: u64,
    pub pool_header_bytes: u64,
    pub quantization_bytes: u64,
    pub arena_alignment_bytes: u64,
    /// Sum of the six above, unused pools in bytes.
    pub total_bytes: u64,
    /// Blocks out, RAW ones that obmalloc asked for included.
    pub allocated_blocks: u64,
}

impl Statistics {
    /// What the interpreter reported, without the three map fields that depend on addresses.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Self {
        let v = &checkpoint.values;
        Self {
            classes: checkpoint
                .classes
                .map(|[pools, blocks_in_use, available_blocks]| ClassStatistics {
                    pools: pools.into(),
                    blocks_in_use: blocks_in_use.into(),
                    available_blocks: available_blocks.into(),
                }),
            arenas_total: v[0],
            arenas_reclaimed: v[1],
            arenas_highwater: v[2],
            arenas_current: v[3],
            allocated_bytes: v[4],
            available_bytes: v[5],
            unused_pools: v[6],
            pool_header_bytes: v[7],
            quantization_bytes: v[8],
            arena_alignment_bytes: v[9],
            total_bytes: v[10],
            allocated_blocks: v[14],
        }
    }

    /// One phrase per field that differs: `arenas current: 3, expected 4`.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        self.named()
            .into_iter()
            .zip(expected.named())
            .filter(|(found, expected)| found != expected)
            .map(|((name, found), (_, expected))| {
                format!("{name}: {}, expected {}", grouped(found), grouped(expected))
            })
            .collect()
    }

    /// Every field with its name.
    fn named(&self) -> Vec<(String, u64)> {
        let mut fields = vec![
            ("arenas total".to_owned(), self.arenas_total),
            ("arenas reclaimed".to_owned(), self.arenas_reclaimed),
            ("arenas highwater".to_owned(), self.arenas_highwater),
            ("arenas current".to_owned(), self.arenas_current),
            ("bytes in allocated blocks".to_owned(), self.allocated_bytes),
            ("bytes in available blocks".to_owned(), self.available_bytes),
            ("unused pools".to_owned(), self.unused_pools),
            ("pool header bytes".to_owned(), self.pool_header_bytes),
            ("quantization bytes".to_owned(), self.quantization_bytes),
            (
                "arena alignment bytes".to_owned(),
                self.arena_alignment_bytes,
            ),
            ("total bytes".to_owned(), self.total_bytes),
            ("allocated blocks".to_owned(), self.allocated_blocks),
        ];
        for (class, counters) in self.classes.iter().enumerate() {
            fields.push((format!("pools of class {class}"), counters.pools));
            fields.push((
                format!("blocks in use of class {class}"),
                counters.blocks_in_use,
            ));
            fields.push((
                format!("available blocks of class {class}"),
                counters.available_blocks,
            ));
        }
        fields
    }
}
