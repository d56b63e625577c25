//! Numbers of stacks of one frame, by the return address, of those that a log met lately: a load and a comparison.

use super::super::recording::encode::simple::Ready;

/// Calls remembered; a power of two.
const NEAR: usize = 1024;

/// See the module. Valid when all zero: then none is known, since 0 is no address.
pub struct Near([(usize, Ready); NEAR]);

impl Near {
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
