//! The allocator's figures for programs and for Prometheus.

use crate::global::{self, ArenaStats, Greatest, HeapStats, PyMalloc, Stats, ThreadStats};
use crate::os;
use core::fmt::{self, Write};

/// The figures of the whole process, now.
pub fn stats() -> Stats {
    PyMalloc.stats()
}

/// Every arena, of one moment.
pub fn arenas() -> Vec<ArenaStats> {
    global::arenas()
}

/// Every heap, of one moment. While there are at most four threads for each processor, a heap is one thread's, or
/// waits for the next one.
pub fn heaps() -> Vec<HeapStats> {
    global::heaps()
}

/// What the calling thread holds; `None` before its first allocation and near its end. For what threads allocate, see
/// [`Region::threads`](super::Region::threads).
pub fn thread() -> Option<ThreadStats> {
    global::own_thread()
}

/// Refuses memory for blocks once `bytes` are held (`mapped_bytes` of [`stats`]), at no cost to other calls: Rust's
/// allocation fails, C's `malloc` returns null with `ENOMEM`, nothing is lost. Arenas are taken whole, 1 MiB each; what is
/// held already stays. `usize::MAX` refuses nothing. For the bytes that were asked for, see
/// [`Region::set_limit`](super::Region::set_limit).
pub fn set_memory_limit(bytes: usize) {
    global::set_memory_limit(bytes);
}

/// Bytes of this process that are resident, by `/proc`; `None` where that cannot be read.
pub fn resident_bytes() -> Option<u64> {
    let file = os::File::open(c"/proc/self/statm")?;
    let mut text = [0; 128];
    let len = file.read(&mut text);
    let mut words = core::str::from_utf8(text.get(..len)?).ok()?.split(' ');
    let pages: u64 = words.nth(1)?.parse().ok()?;
    Some(pages * os::page_size() as u64)
}

/// A figure: its name, kind, meaning and value.
type Row = (&'static str, &'static str, &'static str, u64);

fn gauge(name: &'static str, help: &'static str, value: u64) -> Row {
    (name, "gauge", help, value)
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Row {
    (name, "counter", help, value)
}

/// The figures that are one number each.
fn rows(of: &Stats) -> [Row; 19] {
    [
        gauge("mapped_bytes", "Memory held.", of.mapped_bytes),
        gauge("mapped_peak_bytes", "The most held.", of.mapped_bytes_high),
        gauge("active_bytes", "With a block out.", of.active_bytes),
        gauge("metadata_bytes", "Own books.", of.metadata_bytes),
        gauge("retained_bytes", "Free, kept.", of.retained_bytes),
        gauge("block_bytes", "In blocks that are out.", of.block_bytes),
        gauge("block_peak_bytes", "At most.", of.block_bytes_high),
        gauge("arenas", "Arenas of 1 MiB.", of.arenas),
        gauge("arenas_peak", "The most of each heap.", of.arenas_high),
        counter("arenas_obtained", "Arenas obtained.", of.arenas_total),
        gauge("huge_blocks", "Live huge blocks.", of.huge_blocks),
        gauge("huge_bytes", "Bytes in huge blocks.", of.huge_bytes),
        gauge("huge_peak_bytes", "The most in them.", of.huge_bytes_high),
        counter("huge_blocks_made", "Huge blocks made.", of.huge_total),
        gauge("threads", "Threads with lists.", of.threads),
        counter("threads_started", "Threads ever.", of.threads_total),
        gauge("heaps", "Heaps.", of.heaps),
        counter("purged_bytes", "Given back.", of.purged_bytes),
        counter("foreign_frees", "Of others' blocks.", of.foreign_frees),
    ]
}

/// Writes the figures as OpenMetrics text, of one moment: for the `/metrics` of a program that has one. It allocates
/// nothing. See [`serve`](super::serve()) for programs that have none.
///
/// Of heaps and arenas the 16 greatest stand alone; the others are one row, `other`. Which thread uses a heap is in
/// `pymalloc_heap_info`; arenas are numbered by what is in them, the fullest first, so that a program that runs for
/// long makes no more series than one that does not.
///
/// # Errors
/// What `out` says.
///
/// ```
/// let mut text = String::new();
/// pymalloc::observe::write_open_metrics(&mut text)?;
/// assert!(text.contains("# TYPE pymalloc_mapped_bytes gauge\n") && text.ends_with("# EOF\n"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
pub fn write_open_metrics(out: &mut impl Write) -> fmt::Result {
    let figures = global::figures();
    for (name, kind, help, value) in rows(&figures.stats) {
        head(out, name, kind, help)?;
        let total = if kind == "counter" { "_total" } else { "" };
        writeln!(out, "pymalloc_{name}{total} {value}")?;
    }
    if let Some(resident) = resident_bytes() {
        head(
            out,
            "resident_bytes",
            "gauge",
            "Resident of the whole process.",
        )?;
        writeln!(out, "pymalloc_resident_bytes {resident}")?;
    }
    class_rows(out, &figures.stats)?;
    heap_rows(out, &figures.heaps)?;
    arena_rows(out, &figures.arenas)?;
    out.write_str("# EOF\n")
}

fn class_rows(out: &mut impl Write, stats: &Stats) -> fmt::Result {
    let help = "Blocks out of their pools, by the bytes of a block.";
    head(out, "class_blocks", "gauge", help)?;
    for class in stats.classes.iter().filter(|class| class.pools > 0) {
        let (bytes, n) = (class.block_bytes, class.in_use);
        writeln!(out, "pymalloc_class_blocks{{block_bytes=\"{bytes}\"}} {n}")?;
    }
    Ok(())
}

/// A figure of a row: its name, meaning, and where it stands.
type Column<T> = (&'static str, &'static str, fn(&T) -> u64);

/// The figures that each heap has.
fn heap_rows(out: &mut impl Write, heaps: &Greatest<HeapStats>) -> fmt::Result {
    let columns: [Column<HeapStats>; 5] = [
        ("heap_block_bytes", "In blocks that are out.", |of| {
            of.block_bytes
        }),
        ("heap_block_peak_bytes", "At most.", |of| {
            of.block_bytes_high
        }),
        ("heap_arenas", "Arenas of 1 MiB.", |of| of.arenas),
        ("heap_arenas_peak", "At most.", |of| of.arenas_high),
        ("heap_threads", "Threads that use it.", |of| {
            of.threads.into()
        }),
    ];
    let names = heaps.rows().iter().map(|heap| heap.heap);
    for column in &columns {
        column_of(out, "heap", column, heaps, names.clone())?;
    }
    // A gauge rather than an info, which the older text format does not know.
    head(out, "heap_info", "gauge", "Who began to use it last.")?;
    for heap in heaps.rows().iter().filter(|heap| heap.thread != 0) {
        let (number, thread) = (heap.heap, heap.thread);
        write!(
            out,
            "pymalloc_heap_info{{heap=\"{number}\",thread=\"{thread}\",name=\""
        )?;
        write_thread_name(out, thread)?;
        out.write_str("\"} 1\n")?;
    }
    Ok(())
}

/// The figures that each arena has.
fn arena_rows(out: &mut impl Write, arenas: &Greatest<ArenaStats>) -> fmt::Result {
    const POOL_BYTES: u64 = 16 * 1024;
    let columns: [Column<ArenaStats>; 2] = [
        ("arena_used_bytes", "Pools with a block out.", |of| {
            u64::from(of.pools_in_use) * POOL_BYTES
        }),
        ("arena_idle_bytes", "Free pools with memory.", |of| {
            u64::from(of.pools_dirty) * POOL_BYTES
        }),
    ];
    for column in &columns {
        column_of(out, "rank", column, arenas, 1..)?;
    }
    Ok(())
}

/// One figure of all rows.
fn column_of<T: global::Row>(
    out: &mut impl Write,
    label: &str,
    (name, help, value): &Column<T>,
    of: &Greatest<T>,
    names: impl Iterator<Item = usize>,
) -> fmt::Result {
    head(out, name, "gauge", help)?;
    for (number, row) in names.zip(of.rows()) {
        let value = value(row);
        writeln!(out, "pymalloc_{name}{{{label}=\"{number}\"}} {value}")?;
    }
    match of.rest() {
        Some(rest) => {
            let value = value(rest);
            writeln!(out, "pymalloc_{name}{{{label}=\"other\"}} {value}")
        }
        None => Ok(()),
    }
}

/// Writes a thread's name as the value of a label; nothing when it has ended.
fn write_thread_name(out: &mut impl Write, thread: u32) -> fmt::Result {
    let mut path = os::Text::<64>::new();
    write!(path, "/proc/self/task/{thread}/comm")?;
    let mut bytes = [0; 32];
    let len = path
        .as_c_str()
        .and_then(os::File::open)
        .map_or(0, |file| file.read(&mut bytes));
    let name = bytes[..len].strip_suffix(b"\n").unwrap_or(&bytes[..len]);
    for byte in name {
        match byte {
            b'"' | b'\\' => write!(out, "\\{}", char::from(*byte))?,
            b' '..=b'~' => out.write_char(char::from(*byte))?,
            _ => out.write_char('?')?,
        }
    }
    Ok(())
}

fn head(out: &mut impl Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# TYPE pymalloc_{name} {kind}")?;
    if name.ends_with("_bytes") {
        writeln!(out, "# UNIT pymalloc_{name} bytes")?;
    }
    writeln!(out, "# HELP pymalloc_{name} {help}")
}
