//! The text of `sys._debugmallocstats()`, obmalloc part, written plainly from section 11 of the
//! specification. The shipped formatter is compared with it and with the interpreter's own text.

use std::fmt::Write as _;

use super::pymt::{ARENA_BYTES, POOL_BYTES};
use super::subject::Statistics;

/// Bytes of the address map's root and of one middle node (CPython 3.11: 2^15 pointers).
const MAP_INNER_BYTES: u64 = 262_144;
/// Bytes of one bottom node (CPython 3.11: 2^14 pairs of 32-bit numbers).
const MAP_BOT_BYTES: u64 = 131_072;

/// `number` in decimal with a comma every three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The report, each line ended.
pub fn report(statistics: &Statistics, mid_nodes: u64, bot_nodes: u64) -> String {
    let s = statistics;
    let mut text = String::from(
        "Small block threshold = 512, in 32 size classes.\n\n\
         class   size   num pools   blocks in use  avail blocks\n\
         -----   ----   ---------   -------------  ------------\n",
    );
    for (class, c) in s.classes.iter().enumerate().filter(|(_, c)| c.pools > 0) {
        let (pools, in_use, available) = (c.pools, c.blocks_in_use, c.available_blocks);
        let size = 16 * (class + 1);
        writeln!(
            text,
            "{class:5} {size:6} {pools:11} {in_use:15} {available:13}"
        )
        .expect(INFALLIBLE);
    }
    text.push('\n');
    line(&mut text, "# arenas allocated total", s.arenas_total);
    line(&mut text, "# arenas reclaimed", s.arenas_reclaimed);
    line(&mut text, "# arenas highwater mark", s.arenas_highwater);
    line(&mut text, "# arenas allocated current", s.arenas_current);
    let arenas = format!("{} arenas * {ARENA_BYTES} bytes/arena", s.arenas_current);
    line(&mut text, &arenas, s.arenas_current * ARENA_BYTES);
    text.push('\n');
    line(&mut text, "# bytes in allocated blocks", s.allocated_bytes);
    line(&mut text, "# bytes in available blocks", s.available_bytes);
    let pools = format!("{} unused pools * {POOL_BYTES} bytes", s.unused_pools);
    line(&mut text, &pools, s.unused_pools * POOL_BYTES);
    line(
        &mut text,
        "# bytes lost to pool headers",
        s.pool_header_bytes,
    );
    line(
        &mut text,
        "# bytes lost to quantization",
        s.quantization_bytes,
    );
    line(
        &mut text,
        "# bytes lost to arena alignment",
        s.arena_alignment_bytes,
    );
    line(&mut text, "Total", s.total_bytes);
    text.push_str("\narena map counts\n");
    line(&mut text, "# arena map mid nodes", mid_nodes);
    line(&mut text, "# arena map bot nodes", bot_nodes);
    text.push('\n');
    let (mid, bot) = (mid_nodes * MAP_INNER_BYTES, bot_nodes * MAP_BOT_BYTES);
    line(&mut text, "# bytes lost to arena map root", MAP_INNER_BYTES);
    line(&mut text, "# bytes lost to arena map mid", mid);
    line(&mut text, "# bytes lost to arena map bot", bot);
    line(&mut text, "Total", MAP_INNER_BYTES + mid + bot);
    text
}

const INFALLIBLE: &str = "writing to a String cannot fail";

fn line(text: &mut String, label: &str, number: u64) {
    writeln!(text, "{label:<35}={:>21}", grouped(number)).expect(INFALLIBLE);
}
