//! `pymalloc why`: which live blocks keep which memory from going back.
//!
//! ```text
//! arena 1 MiB   │ slot 16 KiB │ slot │ slot │ …   a slot goes back when no block of its pool lives,
//!               └ pool of one size class          an arena when all its slots are free
//! ```
//!
//! A recording has every block's address, and an address names its slot and its arena. Medium blocks lie in
//! runs of several slots; a run counts as the slots that its blocks touch, so it is a lower bound. Huge blocks
//! keep only themselves and are counted apart.
//!
//! A block *pins* its slot. If all blocks of a slot come from one place in the source, that place pins it
//! alone: without those blocks the slot would go back.

use super::named::Named;
use super::table::percent;
use super::usage::{Blocks, Sum};
use crate::units::{bytes, count};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// Bytes of an arena and of a slot, as the allocator has them.
pub const ARENA_BYTES: u64 = 1 << 20;
/// See [`ARENA_BYTES`].
pub const SLOT_BYTES: u64 = 16 << 10;
/// Slots of an arena.
pub const SLOTS: usize = (ARENA_BYTES / SLOT_BYTES) as usize;
/// Blocks above this size have mappings of their own.
const MEDIUM_MAX: u64 = 256 << 10;
/// Blocks up to this size share pools with others of their class.
const SMALL_MAX: u64 = 512;

/// A slot with live blocks.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Its live blocks, and the bytes of them that lie in it.
    pub live: Sum,
    /// The place with the most bytes in it, and whether there is no other.
    pub site: u32,
    /// Whether all its blocks come from `site`.
    pub alone: bool,
}

/// What one size class keeps.
#[derive(Clone, Copy, Debug, Default)]
struct ClassUse {
    live: Sum,
    slots: u64,
}

/// What one place keeps.
#[derive(Clone, Copy, Debug, Default)]
struct SiteUse {
    live: Sum,
    slots: u64,
    slots_alone: u64,
    arenas_alone: u64,
}

/// The live blocks of a moment, by where they lie.
#[derive(Debug, Default)]
pub struct Pinned {
    /// Slots with live blocks, by arena (its address) and index in it.
    pub arenas: BTreeMap<u64, BTreeMap<usize, Slot>>,
    /// Blocks in arenas.
    pub live: Sum,
    huge: Sum,
    classes: BTreeMap<u64, ClassUse>,
    sites: HashMap<u32, SiteUse>,
    pages: u64,
    page_bytes: u64,
}

/// The greatest size that shares a class with `size`; for medium ones by eighths of a power of two.
fn class_of(size: u64) -> u64 {
    if size <= SMALL_MAX {
        return size.max(1).next_multiple_of(16);
    }
    let step = 1 << ((size - 1).ilog2() - 3);
    size.next_multiple_of(step)
}

impl Pinned {
    /// Sorts the blocks into slots.
    pub fn new(blocks: &Blocks, named: &Named, page_bytes: u64) -> Self {
        let sites: HashMap<u32, u32> = named
            .stacks
            .iter()
            .flat_map(|stack| {
                let site = named.site(stack);
                stack.numbers.iter().map(move |number| (*number, site))
            })
            .collect();
        let mut pinned = Self {
            page_bytes: page_bytes.max(1),
            ..Self::default()
        };
        // By slot: sums by place. By page: only whether there is a block.
        let mut slots: BTreeMap<u64, HashMap<u32, Sum>> = BTreeMap::new();
        let mut class_slots: HashMap<(u64, u64), ()> = HashMap::new();
        let mut pages = std::collections::HashSet::new();
        for (address, block) in blocks {
            if block.size > MEDIUM_MAX {
                pinned.huge.add_all(block.sum());
                continue;
            }
            let site = sites.get(&block.stack).copied().unwrap_or(0);
            let class = class_of(block.size);
            pinned.live.add_all(block.sum());
            pinned
                .classes
                .entry(class)
                .or_default()
                .live
                .add_all(block.sum());
            pinned
                .sites
                .entry(site)
                .or_default()
                .live
                .add_all(block.sum());
            let end = address + block.size.max(1);
            for slot in address / SLOT_BYTES..=(end - 1) / SLOT_BYTES {
                let inside = end.min((slot + 1) * SLOT_BYTES) - (*address).max(slot * SLOT_BYTES);
                slots
                    .entry(slot)
                    .or_default()
                    .entry(site)
                    .or_default()
                    .add_all(Sum {
                        blocks: 1,
                        bytes: inside,
                    });
                if class_slots.insert((class, slot), ()).is_none() {
                    pinned.classes.entry(class).or_default().slots += 1;
                }
            }
            pages.extend(address / pinned.page_bytes..=(end - 1) / pinned.page_bytes);
        }
        pinned.pages = pages.len() as u64;
        pinned.count(slots);
        pinned
    }

    fn count(&mut self, slots: BTreeMap<u64, HashMap<u32, Sum>>) {
        for (slot, sums) in slots {
            let mut live = Sum::default();
            sums.values().for_each(|sum| live.add_all(*sum));
            let greatest = sums
                .iter()
                .max_by_key(|(site, sum)| (sum.bytes, Reverse(**site)));
            let (site, alone) = (greatest.map_or(0, |(site, _)| *site), sums.len() == 1);
            for site in sums.keys() {
                let uses = self.sites.entry(*site).or_default();
                uses.slots += 1;
                uses.slots_alone += u64::from(alone);
            }
            let arena = slot * SLOT_BYTES / ARENA_BYTES * ARENA_BYTES;
            let index = slot as usize % SLOTS;
            let slot = Slot { live, site, alone };
            self.arenas.entry(arena).or_default().insert(index, slot);
        }
        for slots in self.arenas.values() {
            let mut each = slots.values();
            if let Some(first) = each.next()
                && first.alone
                && each.all(|slot| slot.alone && slot.site == first.site)
            {
                self.sites.entry(first.site).or_default().arenas_alone += 1;
            }
        }
    }

    /// Slots with live blocks.
    fn n_slots(&self) -> u64 {
        self.arenas.values().map(|slots| slots.len() as u64).sum()
    }

    /// The fewest slots that hold the live blocks, each class in pools of its own.
    fn least_slots(&self) -> u64 {
        let of = |(class, uses): (&u64, &ClassUse)| (class * uses.live.blocks).div_ceil(SLOT_BYTES);
        self.classes.iter().map(of).sum()
    }

    /// The answer as text; at most `limit` rows of each table.
    pub fn text(&self, named: &Named, limit: usize) -> String {
        let mut text = String::new();
        let arenas = self.arenas.len() as u64;
        let (slots, least) = (self.n_slots(), self.least_slots().min(self.n_slots()));
        let least_arenas = least.div_ceil(SLOTS as u64).min(arenas);
        let _ = writeln!(
            text,
            "{} in {} blocks live in arenas, and {} in {} huge blocks with mappings of their own\n",
            bytes(self.live.bytes),
            count(self.live.blocks),
            bytes(self.huge.bytes),
            count(self.huge.blocks)
        );
        let mut row = |what: &str, n: u64, each: u64, least: u64| {
            let _ = writeln!(
                text,
                "  {what:<16} {:>8} kept = {:>10}, {:>5.1}% of it live; moved together: {:>8}, {} would return",
                count(n),
                bytes(n * each),
                percent(self.live.bytes, n * each),
                count(least),
                bytes((n - least) * each)
            );
        };
        row("arenas of 1 MiB", arenas, ARENA_BYTES, least_arenas);
        row("slots of 16 KiB", slots, SLOT_BYTES, least);
        let least_pages = self.live.bytes.div_ceil(self.page_bytes).min(self.pages);
        row("pages", self.pages, self.page_bytes, least_pages);
        self.fills(&mut text);
        self.classes_text(&mut text, limit);
        self.sites_text(&mut text, named, limit);
        text
    }

    fn fills(&self, text: &mut String) {
        const STEPS: [(u64, &str); 5] = [
            (1, "under 1 %"),
            (10, "under 10 %"),
            (50, "under 50 %"),
            (90, "under 90 %"),
            (u64::MAX, "fuller"),
        ];
        let mut n = [0u64; STEPS.len()];
        for slots in self.arenas.values() {
            let live: u64 = slots.values().map(|slot| slot.live.bytes).sum();
            let fill = live * 100 / ARENA_BYTES;
            let step = STEPS.iter().position(|(below, _)| fill < *below);
            n[step.unwrap_or(STEPS.len() - 1)] += 1;
        }
        let parts: Vec<_> = STEPS
            .iter()
            .zip(n)
            .filter(|(_, n)| *n > 0)
            .map(|((_, name), n)| format!("{} {name}", count(n)))
            .collect();
        let _ = writeln!(text, "\narenas by what lives in them: {}", parts.join(", "));
    }

    fn classes_text(&self, text: &mut String, limit: usize) {
        let mut classes: Vec<_> = self.classes.iter().collect();
        let spare = |(class, uses): &(&u64, &ClassUse)| {
            (uses.slots * SLOT_BYTES).saturating_sub(*class * uses.live.blocks)
        };
        classes.sort_by_key(|row| Reverse(spare(row)));
        let _ = writeln!(
            text,
            "\nby size class\n{:>12} {:>11} {:>11} {:>9} {:>6} {:>11}",
            "block", "live", "blocks", "slots", "fill", "not used"
        );
        for row in classes.iter().take(limit) {
            let (class, uses) = row;
            let _ = writeln!(
                text,
                "{:>12} {:>11} {:>11} {:>9} {:>5.1}% {:>11}",
                bytes(**class),
                bytes(uses.live.bytes),
                count(uses.live.blocks),
                count(uses.slots),
                percent(**class * uses.live.blocks, uses.slots * SLOT_BYTES).min(100.0),
                bytes(spare(row))
            );
        }
    }

    fn sites_text(&self, text: &mut String, named: &Named, limit: usize) {
        let mut sites: Vec<_> = self.sites.iter().collect();
        sites.sort_by_key(|(number, uses)| (Reverse((uses.slots_alone, uses.slots)), **number));
        let _ = writeln!(
            text,
            "\nby place; slots it pins alone would go back without its blocks\n{:>11} {:>11} {:>9} {:>9} {:>11} {:>7}  place",
            "live", "blocks", "slots", "alone", "would return", "arenas"
        );
        for (number, uses) in sites.iter().take(limit) {
            let name = named.frames.get(**number as usize);
            let place = name.map_or_else(String::new, |frame| {
                format!("{}  {}", frame.function, frame.place())
            });
            let _ = writeln!(
                text,
                "{:>11} {:>11} {:>9} {:>9} {:>11}  {:>7}  {place}",
                bytes(uses.live.bytes),
                count(uses.live.blocks),
                count(uses.slots),
                count(uses.slots_alone),
                bytes(uses.slots_alone * SLOT_BYTES),
                count(uses.arenas_alone)
            );
        }
        if sites.len() > limit {
            let _ = writeln!(
                text,
                "… and {} more places (--limit N)",
                sites.len() - limit
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_at_most_an_eighth_wide() {
        assert_eq!([0, 1, 16, 17, 512].map(class_of), [16, 16, 16, 32, 512]);
        for size in 513..100_000 {
            let class = class_of(size);
            assert!(class >= size && class - size <= size / 8, "{size}: {class}");
            assert_eq!(class_of(class), class);
        }
    }
}
