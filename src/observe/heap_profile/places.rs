//! Where blocks were made: stacks by number, and what was made there.

use super::super::mapped::Mapped;
use super::table::Table;

/// Most stacks that are told apart; what others make belongs to number 0, which has no frames.
const MOST: usize = 1 << 16;

/// One stack.
#[derive(Clone, Copy, Default)]
pub struct Place {
    /// Where its frames stand among all.
    first: usize,
    n: usize,
    /// Blocks that live, and their bytes.
    pub live_count: u64,
    /// See there.
    pub live_bytes: u64,
    /// Blocks ever made, and their bytes.
    pub made_count: u64,
    /// See there.
    pub made_bytes: u64,
}

/// All stacks.
#[derive(Default)]
pub struct Places {
    all: Mapped<Place>,
    frames: Mapped<usize>,
    /// By a hash of the frames.
    numbers: Table<u32>,
}

fn hash(frames: &[usize]) -> u64 {
    let mix = |sum: u64, frame: &usize| {
        let mixed = (sum ^ *frame as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    };
    frames.iter().fold(frames.len() as u64, mix) | 1
}

impl Places {
    /// The number of a stack, innermost frame first.
    pub fn find(&mut self, frames: &[usize]) -> u32 {
        if self.all.as_slice().is_empty() && !self.all.push(Place::default()) {
            return 0;
        }
        let hash = hash(frames);
        if let Some(number) = self.numbers.get(hash) {
            return number;
        }
        let number = self.all.as_slice().len();
        let place = Place {
            first: self.frames.as_slice().len(),
            n: frames.len(),
            ..Place::default()
        };
        if frames.is_empty()
            || number == MOST
            || !self.frames.extend(frames)
            || !self.all.push(place)
        {
            return 0;
        }
        // Without an entry it is another place next time.
        self.numbers.insert(hash, number as u32);
        number as u32
    }

    /// Notes blocks that were made.
    pub fn made(&mut self, number: u32, count: u64, bytes: u64) {
        if let Some(place) = self.all.as_mut_slice().get_mut(number as usize) {
            place.live_count += count;
            place.live_bytes += bytes;
            place.made_count += count;
            place.made_bytes += bytes;
        }
    }

    /// Notes that they ended.
    pub fn ended(&mut self, number: u32, count: u64, bytes: u64) {
        if let Some(place) = self.all.as_mut_slice().get_mut(number as usize) {
            place.live_count -= count;
            place.live_bytes -= bytes;
        }
    }

    /// Every stack at which something was made, and its frames, innermost first.
    pub fn all(&self) -> impl Iterator<Item = (&Place, &[usize])> {
        let made = self.all.as_slice().iter();
        made.filter(|place| place.made_count > 0)
            .map(|place| (place, &self.frames.as_slice()[place.first..][..place.n]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_where_they_were_made() {
        let mut places = Places::default();
        let (a, b) = (places.find(&[1, 2, 3]), places.find(&[2, 3]));
        assert_ne!(a, b);
        assert_eq!(places.find(&[1, 2, 3]), a);
        assert_eq!(places.find(&[]), 0);
        places.made(a, 2, 100);
        places.made(a, 1, 50);
        places.ended(a, 2, 100);
        places.made(b, 1, 8);
        let all: Vec<_> = places
            .all()
            .map(|(place, frames)| {
                (
                    frames.to_vec(),
                    place.live_bytes,
                    place.made_bytes,
                    place.live_count,
                )
            })
            .collect();
        assert_eq!(all, [(vec![1, 2, 3], 50, 150, 1), (vec![2, 3], 8, 8, 1)]);
    }
}
