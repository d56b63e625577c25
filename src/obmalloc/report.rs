//! CPython's statistics report, byte for byte (`_PyObject_DebugMallocStats`, Objects/obmalloc.c 3.11;
//! spec/obmalloc.md section 11).

use super::engine::{Backing, Counters, Engine};
use super::geometry::Geometry;
use super::size_class::{ARENA_BYTES, POOL_BYTES, SMALL_MAX, SizeClass};
use core::fmt;

/// Pools and blocks of one class.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct ClassUse {
    /// Pools with a live block.
    pub pools: u64,
    /// Live blocks.
    pub in_use: u64,
    /// Blocks those pools could still give.
    pub available: u64,
}

/// Nodes of the address map and their sizes in bytes, as CPython's report names them.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct MapNodes {
    /// Bytes of the root.
    pub root_bytes: u64,
    /// Interior nodes made so far, and bytes of each.
    pub mid: u64,
    /// Bytes of an interior node.
    pub mid_bytes: u64,
    /// Leaf nodes made so far, and bytes of each.
    pub bot: u64,
    /// Bytes of a leaf node.
    pub bot_bytes: u64,
}

impl MapNodes {
    /// CPython 3.11–3.14's sizes on 64 bits, with the given numbers of nodes.
    pub const fn cpython(mid: u64, bot: u64) -> Self {
        Self {
            root_bytes: 262_144,
            mid,
            mid_bytes: 262_144,
            bot,
            bot_bytes: 131_072,
        }
    }
}

/// What the report is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Arenas and block bytes. Those of medium classes' arenas are included in production.
    pub counters: Counters,
    /// By class; the report shows the first 32.
    pub classes: [ClassUse; SizeClass::COUNT],
    /// Free pools of mapped arenas, carved or not.
    pub unused_pools: u64,
    /// Arenas whose base is not a multiple of a pool.
    pub misaligned_arenas: u64,
    /// Blocks served by the raw domain.
    pub raw_blocks: u64,
    /// Bytes of a pool's header inside the pool.
    pub header_bytes: u64,
    /// Nodes of the address map.
    pub map: MapNodes,
}

impl Statistics {
    /// Counts an engine's pools; `header_bytes` lie inside each.
    pub fn gather<G: Geometry, B: Backing>(engine: &Engine<G, B>, header_bytes: usize) -> Self {
        let mut this = Self {
            counters: engine.counters(),
            classes: [ClassUse::default(); SizeClass::COUNT],
            unused_pools: 0,
            misaligned_arenas: 0,
            raw_blocks: 0,
            header_bytes: header_bytes as u64,
            map: MapNodes::default(),
        };
        this.add_pools(engine);
        this
    }

    fn add_pools<G: Geometry, B: Backing>(&mut self, engine: &Engine<G, B>) {
        engine.for_each_arena(|arena| {
            self.unused_pools += u64::from(arena.available());
            let base = arena.base().addr().get();
            self.misaligned_arenas += u64::from(!base.is_multiple_of(POOL_BYTES));
        });
        engine.for_each_pool(|_, pool| {
            let Some(class) = pool.class() else { return };
            if pool.live() > 0 {
                let line = &mut self.classes[class.index()];
                line.pools += 1;
                line.in_use += u64::from(pool.live());
                line.available += u64::from(pool.capacity() - pool.live());
            }
        });
    }

    /// Adds another engine's figures: highs are added, too, and so are an upper bound.
    pub fn add(&mut self, other: &Self) {
        let (a, b) = (&mut self.counters, &other.counters);
        a.arenas_now += b.arenas_now;
        a.arenas_total += b.arenas_total;
        a.arenas_high += b.arenas_high;
        a.block_bytes += b.block_bytes;
        a.block_bytes_high += b.block_bytes_high;
        for (line, more) in self.classes.iter_mut().zip(&other.classes) {
            line.pools += more.pools;
            line.in_use += more.in_use;
            line.available += more.available;
        }
        self.unused_pools += other.unused_pools;
        self.misaligned_arenas += other.misaligned_arenas;
        self.raw_blocks += other.raw_blocks;
    }

    fn small(&self) -> impl Iterator<Item = (SizeClass, &ClassUse)> {
        let small = &self.classes[..SizeClass::SMALL];
        small
            .iter()
            .enumerate()
            .map(|(index, line)| (SizeClass::new(index), line))
    }

    fn sum(&self, f: impl Fn(SizeClass, &ClassUse) -> u64) -> u64 {
        self.small().map(|(class, line)| f(class, line)).sum()
    }

    /// Bytes in live blocks of obmalloc's classes, whole blocks.
    pub fn allocated_bytes(&self) -> u64 {
        self.sum(|class, line| line.in_use * class.block_bytes() as u64)
    }

    /// Bytes in blocks that used pools could still give.
    pub fn available_bytes(&self) -> u64 {
        self.sum(|class, line| line.available * class.block_bytes() as u64)
    }

    /// Bytes of the headers of used pools.
    pub fn pool_header_bytes(&self) -> u64 {
        self.sum(|_, line| line.pools * self.header_bytes)
    }

    /// Bytes behind the last block of used pools.
    pub fn quantization_bytes(&self) -> u64 {
        let room = POOL_BYTES as u64 - self.header_bytes;
        self.sum(|class, line| line.pools * (room % class.block_bytes() as u64))
    }

    /// Bytes before the first and behind the last pool of misaligned arenas.
    pub fn arena_alignment_bytes(&self) -> u64 {
        self.misaligned_arenas * POOL_BYTES as u64
    }

    /// Bytes in free pools.
    pub fn unused_pool_bytes(&self) -> u64 {
        self.unused_pools * POOL_BYTES as u64
    }

    /// Sum of the six lines above: in the CPython geometry, the bytes of all arenas.
    pub fn total_bytes(&self) -> u64 {
        self.allocated_bytes()
            + self.available_bytes()
            + self.unused_pool_bytes()
            + self.pool_header_bytes()
            + self.quantization_bytes()
            + self.arena_alignment_bytes()
    }

    /// `sys.getallocatedblocks()`.
    pub fn allocated_blocks(&self) -> u64 {
        self.raw_blocks + self.classes.iter().map(|line| line.in_use).sum::<u64>()
    }

    /// Writes the report.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "Small block threshold = {SMALL_MAX}, in {} size classes.\n",
            SizeClass::SMALL
        )?;
        writeln!(
            out,
            "class   size   num pools   blocks in use  avail blocks"
        )?;
        writeln!(
            out,
            "-----   ----   ---------   -------------  ------------"
        )?;
        for (class, line) in self.small().filter(|(_, line)| line.pools > 0) {
            let (index, size) = (class.index(), class.block_bytes());
            let ClassUse {
                pools,
                in_use,
                available,
            } = line;
            writeln!(
                out,
                "{index:>5} {size:>6} {pools:>11} {in_use:>15} {available:>13}"
            )?;
        }
        writeln!(out)?;
        let counters = &self.counters;
        let reclaimed = counters.arenas_total - counters.arenas_now;
        line(out, "# arenas allocated total", counters.arenas_total)?;
        line(out, "# arenas reclaimed", reclaimed)?;
        line(out, "# arenas highwater mark", counters.arenas_high)?;
        line(out, "# arenas allocated current", counters.arenas_now)?;
        let now = counters.arenas_now;
        line(
            out,
            format_args!("{now} arenas * {ARENA_BYTES} bytes/arena"),
            now * ARENA_BYTES as u64,
        )?;
        writeln!(out)?;
        line(out, "# bytes in allocated blocks", self.allocated_bytes())?;
        line(out, "# bytes in available blocks", self.available_bytes())?;
        let unused = self.unused_pools;
        line(
            out,
            format_args!("{unused} unused pools * {POOL_BYTES} bytes"),
            self.unused_pool_bytes(),
        )?;
        line(
            out,
            "# bytes lost to pool headers",
            self.pool_header_bytes(),
        )?;
        line(
            out,
            "# bytes lost to quantization",
            self.quantization_bytes(),
        )?;
        line(
            out,
            "# bytes lost to arena alignment",
            self.arena_alignment_bytes(),
        )?;
        line(out, "Total", self.total_bytes())?;
        self.write_map(out)
    }

    fn write_map(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let map = &self.map;
        let (mid, bot) = (map.mid * map.mid_bytes, map.bot * map.bot_bytes);
        writeln!(out, "\narena map counts")?;
        line(out, "# arena map mid nodes", map.mid)?;
        line(out, "# arena map bot nodes", map.bot)?;
        writeln!(out)?;
        line(out, "# bytes lost to arena map root", map.root_bytes)?;
        line(out, "# bytes lost to arena map mid", mid)?;
        line(out, "# bytes lost to arena map bot", bot)?;
        line(out, "Total", map.root_bytes + mid + bot)
    }
}

/// A number with a comma every three digits.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = crate::os::Text::<32>::new();
        group(self.0, &mut text)?;
        f.pad(core::str::from_utf8(text.as_bytes()).unwrap_or("?"))
    }
}

fn group(n: u64, out: &mut impl fmt::Write) -> fmt::Result {
    if n < 1000 {
        return write!(out, "{n}");
    }
    group(n / 1000, out)?;
    write!(out, ",{:03}", n % 1000)
}

/// One line: the label to 35 columns, `=`, the number right-aligned in 21.
fn line(out: &mut impl fmt::Write, label: impl fmt::Display, value: u64) -> fmt::Result {
    let mut text = crate::os::Text::<64>::new();
    fmt::Write::write_fmt(&mut text, format_args!("{label}"))?;
    let label = core::str::from_utf8(text.as_bytes()).unwrap_or("?");
    writeln!(out, "{label:<35}={:>21}", Grouped(value))
}
