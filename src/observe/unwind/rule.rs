//! How one function's caller is found: the DWARF call frame program, run up to one instruction.
//!
//! Only what a walk needs is kept: where the caller's stack pointer was (the *CFA*), where the return
//! address lies, and where the frame pointer register was saved. Programs that need another register or a
//! computation beyond one load end the walk.

use super::bytes::Cursor;

/// DWARF's numbers of x86-64's registers.
const FRAME: u64 = 6;
const STACK: u64 = 7;
const RETURN: u64 = 16;

/// What the CFA is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Base {
    /// The stack pointer.
    Stack = 1,
    /// The frame pointer.
    Frame = 2,
    /// The word that the frame pointer plus the distance points at: functions that align their stack.
    AtFrame = 3,
}

/// How to find the caller of a function that stands at one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What the CFA is counted from.
    pub base: Base,
    /// How far it lies from there, in bytes.
    pub distance: i32,
    /// Where the frame pointer was saved, in bytes from the CFA; `None` if it still holds the caller's.
    pub saved_frame: Option<i32>,
}

impl Rule {
    /// In one word, never 0: distance 28 bits, saved frame 28 bits, base 2 bits. `None` if it does not fit.
    pub fn pack(self) -> Option<u64> {
        let bits = |value: i32| {
            let fits = (-(1 << 27)..1 << 27).contains(&value);
            fits.then_some(u64::from(value.cast_unsigned() & 0xfff_ffff))
        };
        let saved = bits(self.saved_frame.unwrap_or(0))?;
        Some(bits(self.distance)? << 32 | saved << 4 | self.base as u64)
    }

    /// The inverse of [`Rule::pack`].
    pub fn unpack(word: u64) -> Option<Self> {
        let number = |bits: u64| ((bits as u32) << 4).cast_signed() >> 4;
        let base = match word & 3 {
            1 => Base::Stack,
            2 => Base::Frame,
            3 => Base::AtFrame,
            _ => return None,
        };
        let saved = number(word >> 4);
        Some(Self {
            base,
            distance: number(word >> 32),
            saved_frame: (saved != 0).then_some(saved),
        })
    }
}

/// Where a register of the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Still in the register.
    Same,
    /// Saved, so many bytes from the CFA.
    Saved(i64),
    /// Somewhere a walk does not look.
    Elsewhere,
    /// Nowhere: for the return address, there is no caller.
    Nowhere,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// Register and distance; `None` after an expression that is not understood.
    cfa: Option<(Base, i64)>,
    frame: Place,
    ret: Place,
}

/// What the programs of one compilation unit have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// Unit of advances.
    pub code_factor: u64,
    /// Unit of distances.
    pub data_factor: i64,
    /// How addresses are written.
    pub encoding: u8,
    /// What comes before every function's own program.
    pub first: Cursor<'a>,
}

/// Most rows remembered at once.
const DEPTH: usize = 8;

/// A machine that runs the programs.
struct Machine<'a> {
    common: Common<'a>,
    /// Address the rows so far are valid up to.
    at: u64,
    target: u64,
    row: Row,
    initial: Row,
    saved: [Row; DEPTH],
    n_saved: usize,
}

/// The rule at `target`, an address inside the function that starts at `start` and whose program is `own`.
/// `None` if there is no caller, or none that this module finds.
pub fn rule_at<'a>(common: Common<'a>, own: Cursor<'a>, start: u64, target: u64) -> Option<Rule> {
    let row = Row {
        cfa: None,
        frame: Place::Same,
        ret: Place::Elsewhere,
    };
    let mut machine = Machine {
        common,
        at: start,
        target,
        row,
        initial: row,
        saved: [row; DEPTH],
        n_saved: 0,
    };
    machine.run(common.first)?;
    machine.initial = machine.row;
    machine.run(own)?;
    machine.rule()
}

impl<'a> Machine<'a> {
    fn rule(&self) -> Option<Rule> {
        let (base, distance) = self.row.cfa?;
        let saved_frame = match self.row.frame {
            Place::Same => None,
            Place::Saved(distance) => Some(i32::try_from(distance).ok()?),
            // The walk may go on: most callers do not need it.
            Place::Elsewhere | Place::Nowhere => None,
        };
        (self.row.ret == Place::Saved(-8)).then_some(Rule {
            base,
            distance: i32::try_from(distance).ok()?,
            saved_frame,
        })
    }

    /// Runs until the target is passed or the program ends.
    fn run(&mut self, mut program: Cursor<'a>) -> Option<()> {
        while !program.is_at_end() {
            let op = program.u8()?;
            let low = u64::from(op & 0x3f);
            match op >> 6 {
                1 => {
                    if !self.advance(low) {
                        return Some(());
                    }
                }
                2 => {
                    let distance = program.uleb()?.cast_signed();
                    self.save(low, distance)?;
                }
                3 => self.restore(low),
                _ => {
                    if !self.extended(op, &mut program)? {
                        return Some(());
                    }
                }
            }
        }
        Some(())
    }

    /// False when the rows that follow are for later instructions.
    fn advance(&mut self, units: u64) -> bool {
        self.at = self
            .at
            .wrapping_add(units.wrapping_mul(self.common.code_factor));
        self.at <= self.target
    }

    fn extended(&mut self, op: u8, program: &mut Cursor<'a>) -> Option<bool> {
        match op {
            // Nothing; GNU's window save, which x86-64 does not have.
            0x00 | 0x2d => {}
            0x01 => {
                self.at = program.encoded(self.common.encoding, 0)?;
                return Some(self.at <= self.target);
            }
            0x02 => return Some(self.advance(u64::from(program.u8()?))),
            0x03 => return Some(self.advance(u64::from(program.u16()?))),
            0x04 => return Some(self.advance(u64::from(program.u32()?))),
            0x05 => {
                let register = program.uleb()?;
                let distance = program.uleb()?.cast_signed();
                self.save(register, distance)?;
            }
            0x06 => self.restore(program.uleb()?),
            0x07 => self.place(program.uleb()?, Place::Nowhere),
            0x08 => self.place(program.uleb()?, Place::Same),
            0x09 => {
                self.place(program.uleb()?, Place::Elsewhere);
                program.uleb()?;
            }
            0x0a => {
                *self.saved.get_mut(self.n_saved)? = self.row;
                self.n_saved += 1;
            }
            0x0b => {
                self.n_saved = self.n_saved.checked_sub(1)?;
                self.row = self.saved[self.n_saved];
            }
            0x10 | 0x16 => {
                self.place(program.uleb()?, Place::Elsewhere);
                skip_block(program)?;
            }
            0x11 => {
                let register = program.uleb()?;
                let distance = program.sleb()?;
                self.save(register, distance)?;
            }
            0x14 | 0x15 => {
                self.place(program.uleb()?, Place::Elsewhere);
                program.uleb()?;
            }
            // GNU's size of arguments.
            0x2e => {
                program.uleb()?;
            }
            _ => self.define_cfa(op, program)?,
        }
        Some(true)
    }

    fn define_cfa(&mut self, op: u8, program: &mut Cursor<'a>) -> Option<()> {
        let factor = self.common.data_factor;
        let old = self.row.cfa;
        let distance_of = |cfa: Option<(Base, i64)>| cfa.map_or(0, |(_, distance)| distance);
        let with = |cfa: Option<(Base, i64)>, distance| cfa.map(|(base, _)| (base, distance));
        self.row.cfa = match op {
            0x0c => cfa_of(program.uleb()?, program.uleb()?.cast_signed()),
            0x0d => cfa_of(program.uleb()?, distance_of(old)),
            0x0e => with(old, program.uleb()?.cast_signed()),
            0x0f => cfa_expression(program)?,
            0x12 => cfa_of(program.uleb()?, program.sleb()?.wrapping_mul(factor)),
            0x13 => with(old, program.sleb()?.wrapping_mul(factor)),
            _ => return None,
        };
        Some(())
    }

    fn save(&mut self, register: u64, units: i64) -> Option<()> {
        let distance = units.checked_mul(self.common.data_factor)?;
        self.place(register, Place::Saved(distance));
        Some(())
    }

    fn place(&mut self, register: u64, place: Place) {
        match register {
            FRAME => self.row.frame = place,
            RETURN => self.row.ret = place,
            _ => {}
        }
    }

    fn restore(&mut self, register: u64) {
        match register {
            FRAME => self.row.frame = self.initial.frame,
            RETURN => self.row.ret = self.initial.ret,
            _ => {}
        }
    }
}

fn cfa_of(register: u64, distance: i64) -> Option<(Base, i64)> {
    match register {
        STACK => Some((Base::Stack, distance)),
        FRAME => Some((Base::Frame, distance)),
        _ => None,
    }
}

fn skip_block(program: &mut Cursor<'_>) -> Option<()> {
    let len = usize::try_from(program.uleb()?).ok()?;
    program.take(len).map(|_| ())
}

/// The one expression that compilers make in number: the word at a distance from the frame pointer. The
/// inner option is empty for others.
#[allow(
    clippy::option_option,
    reason = "what is cut off and what is not understood differ"
)]
fn cfa_expression(program: &mut Cursor<'_>) -> Option<Option<(Base, i64)>> {
    const BREG_FRAME: u8 = 0x70 + FRAME as u8;
    const DEREF: u8 = 0x06;
    let len = usize::try_from(program.uleb()?).ok()?;
    let mut body = program.within(len)?;
    program.take(len)?;
    let found = body.u8() == Some(BREG_FRAME);
    let distance = body.sleb();
    let whole = found && body.u8() == Some(DEREF) && body.is_at_end();
    Some(
        distance
            .filter(|_| whole)
            .map(|distance| (Base::AtFrame, distance)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(program: &[u8], target: u64) -> Option<Rule> {
        // As gcc's: the CFA is rsp + 8 and the return address lies below it.
        let first = [0x0c, 7, 8, 0x90, 1];
        let common = Common {
            code_factor: 1,
            data_factor: -8,
            encoding: 0x1b,
            first: Cursor::new(&first, 0, 0).expect("at its start"),
        };
        rule_at(common, Cursor::new(program, 0, 0)?, 100, target)
    }

    #[test]
    fn a_function_that_pushes_its_frame_pointer() {
        // push rbp; mov rbp, rsp; …; leave
        let program = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x60, 0x0c, 7, 8];
        let at = |target| rule(&program, target).expect("a rule");
        let is = |rule: Rule, base, distance, saved| {
            assert_eq!(
                (rule.base, rule.distance, rule.saved_frame),
                (base, distance, saved)
            );
        };
        is(at(100), Base::Stack, 8, None);
        is(at(101), Base::Stack, 16, Some(-16));
        is(at(104), Base::Frame, 16, Some(-16));
        is(at(140), Base::Stack, 8, Some(-16));
    }

    #[test]
    fn remembered_rows_come_back() {
        let program = [0x41, 0x0e, 32, 0x0a, 0x41, 0x0e, 8, 0x41, 0x0b];
        assert_eq!(rule(&program, 101).map(|rule| rule.distance), Some(32));
        assert_eq!(rule(&program, 102).map(|rule| rule.distance), Some(8));
        assert_eq!(rule(&program, 103).map(|rule| rule.distance), Some(32));
    }

    #[test]
    fn a_realigned_stack_and_the_outermost_function() {
        let realigned = [0x0f, 3, 0x76, 0x78, 0x06];
        let found = rule(&realigned, 100).expect("a rule");
        assert_eq!((found.base, found.distance), (Base::AtFrame, -8));
        assert_eq!(rule(&[0x07, 16], 100), None, "no caller");
        assert_eq!(rule(&[0x0f, 2, 0x77, 8], 100), None, "not understood");
        assert_eq!(rule(&[0x0c, 3, 8], 100), None, "another register");
        assert_eq!(rule(&[0x0c, 7], 100), None, "cut off");
    }

    #[test]
    fn packing_is_undone() {
        for distance in [8, 16, -8, 4096, (1 << 27) - 1, -(1 << 27)] {
            for saved_frame in [None, Some(-16), Some(-(1 << 27))] {
                for base in [Base::Stack, Base::Frame, Base::AtFrame] {
                    let rule = Rule {
                        base,
                        distance,
                        saved_frame,
                    };
                    let word = rule.pack().expect("it fits");
                    assert_eq!(Rule::unpack(word), Some(rule));
                }
            }
        }
        assert_eq!(Rule::unpack(0), None);
    }
}
