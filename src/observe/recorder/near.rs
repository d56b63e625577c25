//! Numbers of stacks of one frame, by the return address, of those that a log met lately: a load and a comparison.
//!
//! A return address is read from the program's stack, so it may be any number, 0 included: the last frame of a context
//! that a program makes by hand often returns there.

use super::super::recording::encode::simple::Ready;

/// Calls remembered; a power of two.
const NEAR: usize = 1024;

/// An address that is not looked for where 0 is, so that what stands there first is no call's.
const ELSEWHERE: usize = 1;

const _: () = assert!(!ELSEWHERE.is_multiple_of(NEAR), "0 would be known");

/// See the module. Valid when all zero; before it is asked, it is to [begin](Self::begin).
pub struct Near([(usize, Ready); NEAR]);

impl Near {
    /// None is known, from memory that is zero.
    pub fn begin(&mut self) {
        self.0[0].0 = ELSEWHERE;
    }

    /// The number at a return address.
    #[inline(always)]
    pub fn get(&self, program: usize) -> Option<Ready> {
        let (known, number) = self.0[program % NEAR];
        (known == program).then_some(number)
    }

    /// Remembers a number.
    pub fn put(&mut self, program: usize, number: u32) {
        self.0[program % NEAR] = (program, Ready::new(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_return_address_is_known_before_it_was_put() {
        // SAFETY: all zero is one, as its declaration says.
        let mut near: Near = unsafe { core::mem::zeroed() };
        near.begin();
        for program in (0..4 * NEAR).chain([usize::MAX, usize::MAX - NEAR + 1]) {
            assert_eq!(near.get(program), None, "{program:#x}");
        }
        for program in [0, NEAR, 1, 0, 7 * NEAR] {
            near.put(program, 300 + program as u32);
            assert_eq!(near.get(program), Some(Ready::new(300 + program as u32)));
            assert_eq!(near.get(program + NEAR), None, "of another address");
        }
    }
}
