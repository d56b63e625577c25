//! [`Integer`]: whole numbers of any size, with Python's arithmetic. Pure values; no object, no state.
//!
//! ```text
//! fits in an i64       Small(i64)
//! otherwise            Large { negative, digits }     value = ± Σ digits[i] · 2^(30·i)
//! ```
//!
//! I1  A number that fits in an `i64` is never `Large`, so equal numbers have equal representations.
//! I2  The last digit of a `Large` is not 0, and each is below 2^30 (CPython: `PyLong_SHIFT`).

use core::cmp::Ordering;
use core::fmt;
use core::ops::{Add, Mul, Neg, Sub};
use core::str::FromStr;

/// Bits of a digit (CPython, Include/cpython/longintrepr.h 3.11: `PyLong_SHIFT`).
const DIGIT_BITS: u32 = 30;
const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;
/// Decimal digits are read and written nine at a time: 10^9 is below 2^30.
const DECIMAL_DIGITS: usize = 9;
const DECIMAL_BASE: u32 = 1_000_000_000;
/// The prime that numbers are hashed by (CPython, Include/pyhash.h: `_PyHASH_MODULUS`).
pub const HASH_MODULUS: u64 = (1 << 61) - 1;

/// A whole number of any size.
///
/// ```
/// use pymalloc::python::Integer;
/// let big: Integer = "1000000000000000000000".parse().unwrap();
/// assert_eq!((&big * &Integer::from(-7)).to_string(), "-7000000000000000000000");
/// let (quotient, remainder) = Integer::from(-7).divide_floor(&Integer::from(2)).unwrap();
/// assert_eq!((quotient, remainder), (Integer::from(-4), Integer::from(1)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Integer(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Small(i64),
    Large { negative: bool, digits: Box<[u32]> },
}

/// A text that is no decimal number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotDecimal;

impl fmt::Display for NotDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid literal for int() with base 10")
    }
}

impl core::error::Error for NotDecimal {}

impl From<i64> for Integer {
    fn from(value: i64) -> Self {
        Self(Form::Small(value))
    }
}

impl From<i32> for Integer {
    fn from(value: i32) -> Self {
        Self::from(i64::from(value))
    }
}

impl Integer {
    /// The number, if it fits.
    pub fn to_i64(&self) -> Option<i64> {
        match self.0 {
            Form::Small(value) => Some(value),
            Form::Large { .. } => None,
        }
    }

    /// The number nearest to it that a float has; infinite when it is beyond them.
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Form::Small(value) => *value as f64,
            // The decimal text is exact and reading it rounds once, to nearest.
            Form::Large { .. } => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// A float that is a whole number, exactly; `None` for others.
    pub fn from_whole(value: f64) -> Option<Self> {
        if !value.is_finite() || value.trunc() != value {
            return None;
        }
        if value.abs() < 9.0e18 {
            return Some(Self::from(value as i64));
        }
        // value = ± mantissa · 2^shift with a mantissa of 53 bits; shift is positive, for |value| > 2^62.
        let bits = value.to_bits();
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let shift = ((bits >> 52) & 0x7ff) as u32 - 1075;
        let mut digits = vec![0; (shift / DIGIT_BITS) as usize];
        let mut rest = u128::from(mantissa) << (shift % DIGIT_BITS);
        while rest > 0 {
            digits.push((rest as u64 & DIGIT_MASK) as u32);
            rest >>= DIGIT_BITS;
        }
        Some(Self::from_digits(value < 0.0, digits))
    }

    /// Digits of 30 bits it has; 1 for 0.
    pub fn n_digits(&self) -> usize {
        match &self.0 {
            Form::Small(value) => {
                let bits = u64::BITS - value.unsigned_abs().leading_zeros();
                bits.div_ceil(DIGIT_BITS).max(1) as usize
            }
            Form::Large { digits, .. } => digits.len(),
        }
    }

    /// CPython's hash: the number modulo 2^61 − 1 with its sign, and -2 in place of -1.
    pub fn hash(&self) -> i64 {
        let (negative, digits) = self.digits();
        let fold = |hash: u64, digit: &u32| {
            let wide = (u128::from(hash) << DIGIT_BITS) + u128::from(*digit);
            (wide % u128::from(HASH_MODULUS)) as u64
        };
        let hash = digits.iter().rev().fold(0, fold) as i64;
        match (negative, hash) {
            (true, 1) => -2,
            (true, hash) => -hash,
            (false, hash) => hash,
        }
    }

    /// Quotient rounded down, and the remainder, which has the divisor's sign (Python's `//` and `%`).
    /// `None` when the divisor is 0.
    pub fn divide_floor(&self, divisor: &Self) -> Option<(Self, Self)> {
        if divisor.to_i64() == Some(0) {
            return None;
        }
        if let (Some(a), Some(b)) = (self.to_i64(), divisor.to_i64())
            && let (Some(quotient), Some(remainder)) = (a.checked_div(b), a.checked_rem(b))
        {
            let adjust = remainder != 0 && (remainder < 0) != (b < 0);
            let quotient = quotient - i64::from(adjust);
            let remainder = remainder + if adjust { b } else { 0 };
            return Some((quotient.into(), remainder.into()));
        }
        let ((a_negative, a), (b_negative, b)) = (self.digits(), divisor.digits());
        let (quotient, remainder) = divide_digits(&a, &b);
        let quotient = Self::from_digits(a_negative != b_negative, quotient);
        let remainder = Self::from_digits(a_negative, remainder);
        if remainder.to_i64() != Some(0) && a_negative != b_negative {
            return Some((&quotient - &Self::from(1), &remainder + divisor));
        }
        Some((quotient, remainder))
    }

    /// Sign and digits, the last not 0; none for 0.
    fn digits(&self) -> (bool, Vec<u32>) {
        match &self.0 {
            Form::Small(value) => {
                let mut rest = value.unsigned_abs();
                let mut digits = Vec::with_capacity(3);
                while rest > 0 {
                    digits.push((rest & DIGIT_MASK) as u32);
                    rest >>= DIGIT_BITS;
                }
                (*value < 0, digits)
            }
            Form::Large { negative, digits } => (*negative, digits.to_vec()),
        }
    }

    /// The number of sign and digits, which may end in zeros.
    fn from_digits(negative: bool, mut digits: Vec<u32>) -> Self {
        trim(&mut digits);
        if digits.len() <= 3 {
            let join = |sum: i128, digit: &u32| (sum << DIGIT_BITS) | i128::from(*digit);
            let size = digits.iter().rev().fold(0, join);
            let value = if negative { -size } else { size };
            if let Ok(value) = i64::try_from(value) {
                return Self::from(value);
            }
        }
        let digits = digits.into_boxed_slice();
        Self(Form::Large { negative, digits })
    }

    /// The sum, of `other` taken with a sign of its own.
    fn add_signed(&self, other: &Self, negate: bool) -> Self {
        let ((a_negative, a), (b_negative, b)) = (self.digits(), other.digits());
        let b_negative = b_negative != negate;
        if a_negative == b_negative {
            return Self::from_digits(a_negative, add_digits(&a, &b));
        }
        match compare_digits(&a, &b) {
            Ordering::Less => Self::from_digits(b_negative, subtract_digits(&b, &a)),
            _ => Self::from_digits(a_negative, subtract_digits(&a, &b)),
        }
    }
}

fn trim(digits: &mut Vec<u32>) {
    while digits.last() == Some(&0) {
        digits.pop();
    }
}

/// Compares sizes; neither ends in zeros.
fn compare_digits(a: &[u32], b: &[u32]) -> Ordering {
    let by_length = a.len().cmp(&b.len());
    by_length.then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

fn add_digits(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut carry = 0;
    let mut sum = Vec::with_capacity(a.len().max(b.len()) + 1);
    for at in 0..a.len().max(b.len()) {
        let digit = |digits: &[u32]| u64::from(digits.get(at).copied().unwrap_or(0));
        carry += digit(a) + digit(b);
        sum.push((carry & DIGIT_MASK) as u32);
        carry >>= DIGIT_BITS;
    }
    sum.push(carry as u32);
    sum
}

/// a − b, where a is not the smaller one.
fn subtract_digits(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut borrow = 0;
    let mut difference = Vec::with_capacity(a.len());
    for (at, digit) in a.iter().enumerate() {
        let rest = i64::from(*digit) - i64::from(b.get(at).copied().unwrap_or(0)) - borrow;
        borrow = i64::from(rest < 0);
        difference.push((rest + (borrow << DIGIT_BITS)) as u32);
    }
    debug_assert_eq!(borrow, 0, "the smaller number is subtracted");
    difference
}

fn multiply_digits(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut product = vec![0; a.len() + b.len()];
    for (at, digit) in a.iter().enumerate() {
        let mut carry = 0;
        for (place, other) in product[at..].iter_mut().zip(b) {
            carry += u64::from(*place) + u64::from(*digit) * u64::from(*other);
            *place = (carry & DIGIT_MASK) as u32;
            carry >>= DIGIT_BITS;
        }
        product[at + b.len()] = carry as u32;
    }
    product
}

/// `digits` becomes its quotient by a number below 2^32; returns the remainder.
fn divide_small(digits: &mut Vec<u32>, divisor: u32) -> u32 {
    let mut rest = 0;
    for digit in digits.iter_mut().rev() {
        let part = (rest << DIGIT_BITS) | u64::from(*digit);
        *digit = (part / u64::from(divisor)) as u32;
        rest = part % u64::from(divisor);
    }
    trim(digits);
    rest as u32
}

/// Quotient and remainder of sizes; `b` is not 0. Knuth's algorithm D.
fn divide_digits(a: &[u32], b: &[u32]) -> (Vec<u32>, Vec<u32>) {
    if compare_digits(a, b) == Ordering::Less {
        return (Vec::new(), a.to_vec());
    }
    if let [divisor] = *b {
        let mut quotient = a.to_vec();
        let remainder = divide_small(&mut quotient, divisor);
        return (quotient, vec![remainder]);
    }
    // Shifted so that the divisor's first digit has its highest bit: a guess is then at most 2 too large.
    let shift = b[b.len() - 1].leading_zeros() - (u32::BITS - DIGIT_BITS);
    let (mut rest, b) = (shift_left(a, shift), shift_left(b, shift));
    let n = b.len() - 1; // The shifted divisor ends in a zero digit.
    let (first, second) = (u64::from(b[n - 1]), u64::from(b[n - 2]));
    let mut quotient = vec![0; rest.len() - n];
    for at in (0..quotient.len()).rev() {
        let top = (u64::from(rest[at + n]) << DIGIT_BITS) | u64::from(rest[at + n - 1]);
        let (mut guess, mut over) = (top / first, top % first);
        while guess > DIGIT_MASK
            || guess * second > ((over << DIGIT_BITS) | u64::from(rest[at + n - 2]))
        {
            guess -= 1;
            over += first;
            if over > DIGIT_MASK {
                break;
            }
        }
        quotient[at] = subtract_product(&mut rest[at..=at + n], &b[..n], guess);
    }
    divide_small_power(&mut rest, shift);
    (quotient, rest)
}

/// Subtracts `guess` times `b` from `rest`, which has one digit more; returns `guess`, or one less when that
/// was too much.
fn subtract_product(rest: &mut [u32], b: &[u32], guess: u64) -> u32 {
    let mut borrow = 0i64;
    for (at, place) in rest.iter_mut().enumerate() {
        let product = guess * u64::from(b.get(at).copied().unwrap_or(0));
        let part = i64::from(*place) - product as i64 + borrow;
        *place = (part as u64 & DIGIT_MASK) as u32;
        borrow = part >> DIGIT_BITS;
    }
    if borrow == 0 {
        return guess as u32;
    }
    let mut carry = 0;
    for (at, place) in rest.iter_mut().enumerate() {
        carry += u64::from(*place) + u64::from(b.get(at).copied().unwrap_or(0));
        *place = (carry & DIGIT_MASK) as u32;
        carry >>= DIGIT_BITS;
    }
    guess as u32 - 1
}

/// The digits times 2^shift, one digit longer.
fn shift_left(digits: &[u32], shift: u32) -> Vec<u32> {
    let mut carry = 0;
    let mut shifted = Vec::with_capacity(digits.len() + 1);
    for digit in digits {
        carry |= u64::from(*digit) << shift;
        shifted.push((carry & DIGIT_MASK) as u32);
        carry >>= DIGIT_BITS;
    }
    shifted.push(carry as u32);
    shifted
}

/// The digits divided by 2^shift, which leaves no remainder.
fn divide_small_power(digits: &mut Vec<u32>, shift: u32) {
    let remainder = divide_small(digits, 1 << shift);
    debug_assert_eq!(remainder, 0, "a remainder was shifted with its number");
}

impl Add for &Integer {
    type Output = Integer;

    fn add(self, other: Self) -> Integer {
        match (self.to_i64(), other.to_i64()) {
            (Some(a), Some(b)) if a.checked_add(b).is_some() => Integer::from(a + b),
            _ => self.add_signed(other, false),
        }
    }
}

impl Sub for &Integer {
    type Output = Integer;

    fn sub(self, other: Self) -> Integer {
        match (self.to_i64(), other.to_i64()) {
            (Some(a), Some(b)) if a.checked_sub(b).is_some() => Integer::from(a - b),
            _ => self.add_signed(other, true),
        }
    }
}

impl Mul for &Integer {
    type Output = Integer;

    fn mul(self, other: Self) -> Integer {
        if let (Some(a), Some(b)) = (self.to_i64(), other.to_i64())
            && let Some(product) = a.checked_mul(b)
        {
            return Integer::from(product);
        }
        let ((a_negative, a), (b_negative, b)) = (self.digits(), other.digits());
        Integer::from_digits(a_negative != b_negative, multiply_digits(&a, &b))
    }
}

impl Neg for &Integer {
    type Output = Integer;

    fn neg(self) -> Integer {
        &Integer::from(0) - self
    }
}

impl PartialOrd for Integer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Integer {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Some(a), Some(b)) = (self.to_i64(), other.to_i64()) {
            return a.cmp(&b);
        }
        let ((a_negative, a), (b_negative, b)) = (self.digits(), other.digits());
        match (a_negative, b_negative) {
            (false, false) => compare_digits(&a, &b),
            (true, true) => compare_digits(&b, &a),
            _ => b_negative.cmp(&a_negative),
        }
    }
}

impl FromStr for Integer {
    type Err = NotDecimal;

    fn from_str(text: &str) -> Result<Self, NotDecimal> {
        let (negative, decimals) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        if decimals.is_empty() || !decimals.iter().all(u8::is_ascii_digit) {
            return Err(NotDecimal);
        }
        let mut digits = Vec::new();
        // The first group is the short one.
        let (head, groups) = decimals.split_at(decimals.len() % DECIMAL_DIGITS);
        for group in [head].into_iter().chain(groups.chunks(DECIMAL_DIGITS)) {
            let number = group.iter().fold(0, |n, c| n * 10 + u32::from(c - b'0'));
            digits = add_digits(&multiply_digits(&digits, &[DECIMAL_BASE]), &[number]);
            trim(&mut digits);
        }
        Ok(Self::from_digits(negative, digits))
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, mut digits) = match &self.0 {
            Form::Small(value) => return fmt::Display::fmt(value, f),
            Form::Large { negative, digits } => (*negative, digits.to_vec()),
        };
        let mut groups = Vec::new();
        while !digits.is_empty() {
            groups.push(divide_small(&mut digits, DECIMAL_BASE));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:0DECIMAL_DIGITS$}"));
        }
        f.pad_integral(!negative, "", &text)
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
