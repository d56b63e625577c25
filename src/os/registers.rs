//! Registers, and the stack of the calling thread, as words.

/// What a walk up the stack starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// An instruction of the function that asked.
    pub program: usize,
    /// The stack pointer there.
    pub stack: usize,
    /// The frame pointer register there, whatever it is used for.
    pub frame: usize,
}

/// The same number, of which the compiler does not know that it is.
#[inline(always)]
pub fn forget_origin(number: usize) -> usize {
    #[cfg(not(miri))]
    {
        let mut number = number;
        // SAFETY: nothing is done.
        unsafe {
            core::arch::asm!(
                "/* {0} */",
                inout(reg) number,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        number
    }
    #[cfg(miri)]
    number
}

/// Where the program called a function of ours, told by that function's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Call {
    /// The stack pointer: where the return address stands.
    pub stack: usize,
    /// The frame pointer register.
    pub frame: usize,
}

impl Call {
    /// The registers of the function that called, once the one it called has returned.
    ///
    /// # Safety
    /// The function that was called has not returned yet.
    #[inline(always)]
    pub unsafe fn caller(self) -> Registers {
        Registers {
            // SAFETY: the word above which that function's frame begins.
            program: unsafe { stack_word(self.stack) },
            stack: self.stack + 8,
            frame: self.frame,
        }
    }
}

/// The registers of the calling function.
#[inline(always)]
pub fn registers() -> Registers {
    let (program, stack, frame): (usize, usize, usize);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads registers.
    unsafe {
        core::arch::asm!(
            "lea {0}, [rip]",
            "mov {1}, rsp",
            "mov {2}, rbp",
            out(reg) program,
            out(reg) stack,
            out(reg) frame,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads registers.
    unsafe {
        core::arch::asm!(
            "adr {0}, .",
            "mov {1}, sp",
            "mov {2}, x29",
            out(reg) program,
            out(reg) stack,
            out(reg) frame,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let (program, stack, frame) = (0, 0, 0);
    Registers {
        program,
        stack,
        frame,
    }
}

/// The word at `address`.
///
/// # Safety
/// 1. `address` is a multiple of the word's size.
/// 2. It lies in the calling thread's stack, between its stack pointer and the end of the mapping.
#[inline(always)]
pub unsafe fn stack_word(address: usize) -> usize {
    let word = core::ptr::with_exposed_provenance::<usize>(address);
    // SAFETY: mapped and aligned by duties 1 and 2. Volatile: the words belong to other functions.
    unsafe { word.read_volatile() }
}
