//! Quantities: `100m`, `1.5Gi`, `2e3`, with exact arithmetic and Kubernetes' canonical text.
//!
//! An amount is a whole number of nano units in 128 bits: nothing finer is kept upstream either (it rounds up),
//! and the range is wider than what 64-bit consumers can read. Beyond it the first 38 digits are kept, and the rest is
//! rounded up.

use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
/// The largest amount of a quantity with a binary suffix.
const BINARY_MAX: i128 = i64::MAX as i128 * NANO;

/// Which suffixes the text form uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `n u m k M G T P E`
    Decimal,
    /// `Ki Mi Gi Ti Pi Ei`
    Binary,
    /// `e3`
    Exponent,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// More zeros than these are not kept: nothing is so much, and somebody has to print it.
const MOST_ZEROS: u32 = 1000;

/// Exponents beyond it are taken for it. What is printed stays well below.
const FAR: i32 = 2000;

/// An amount of something.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Quantity {
    nanos: i128,
    /// So many zeros follow `nanos`. Where there are any, one digit more would not fit before them: amounts that are the
    /// same look the same.
    zeros: u32,
    format: Format,
}

impl Quantity {
    pub const ZERO: Quantity = Quantity { nanos: 0, zeros: 0, format: Format::Decimal };

    pub const fn from_units(units: i64, format: Format) -> Quantity {
        Quantity { nanos: units as i128 * NANO, zeros: 0, format }
    }

    pub const fn from_millis(millis: i64) -> Quantity {
        Quantity { nanos: millis as i128 * 1_000_000, zeros: 0, format: Format::Decimal }
    }

    pub const fn from_nanos(nanos: i128) -> Quantity {
        Quantity { nanos, zeros: 0, format: Format::Decimal }
    }

    /// `nanos` with zeros behind it, as few of them as there must be.
    fn wide(mut nanos: i128, mut zeros: u32, format: Format) -> Quantity {
        while zeros > 0
            && let Some(next) = nanos.checked_mul(10)
        {
            nanos = next;
            zeros = if next == 0 { 0 } else { zeros - 1 };
        }
        Quantity { nanos, zeros: zeros.min(MOST_ZEROS), format }
    }

    pub fn parse(text: &str) -> Result<Quantity, ParseError> {
        let (number, suffix) = split(text)?;
        let (negative, digits) = match number.as_bytes().first() {
            Some(b'-') => (true, &number[1..]),
            Some(b'+') => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::Numeric);
        }
        let (base, exponent, format) = suffix_meaning(suffix).ok_or(ParseError::Suffix)?;
        let factor = if base == 2 { 1i128 << exponent } else { 1 };
        let (nanos, zeros) = scaled(whole, fraction, if base == 2 { 9 } else { 9 + exponent }, factor);
        let mut amount = Quantity::wide(nanos, zeros, format);
        if format == Format::Binary && (amount.zeros > 0 || amount.nanos > BINARY_MAX) {
            (amount.nanos, amount.zeros) = (BINARY_MAX, 0);
        }
        if format == Format::Binary && amount.nanos > 0 && amount.nanos < NANO {
            amount.format = Format::Decimal;
        }
        Ok(if negative { -amount } else { amount })
    }

    /// Reads a JSON text or number.
    pub fn from_json(value: &serde_json::Value) -> Result<Quantity, ParseError> {
        match value {
            serde_json::Value::String(text) => Quantity::parse(text.trim()),
            serde_json::Value::Number(number) => Quantity::parse(&number.to_string()),
            serde_json::Value::Null => Ok(Quantity::ZERO),
            _ => Err(ParseError::Format),
        }
    }

    pub fn format(self) -> Format {
        self.format
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whole units, rounded up (away from zero), at most what 64 bits hold.
    pub fn value(self) -> i64 {
        self.scaled_value(NANO)
    }

    /// Thousandths, rounded up.
    pub fn millis(self) -> i64 {
        self.scaled_value(1_000_000)
    }

    fn scaled_value(self, unit: i128) -> i64 {
        let rounded = divide_away(self.nanos(), unit);
        rounded.clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }

    /// Billionths, at most what 128 bits hold.
    pub fn nanos(self) -> i128 {
        match (self.zeros, self.nanos < 0) {
            (0, _) => self.nanos,
            (_, false) => i128::MAX,
            (_, true) => i128::MIN,
        }
    }

    /// Whether it is a whole number of units.
    pub fn is_integer(self) -> bool {
        match self.zeros {
            0 => self.nanos % NANO == 0,
            zeros => zeros >= 9 || self.nanos % 10i128.pow(9 - zeros) == 0,
        }
    }

    pub fn as_f64(self) -> f64 {
        let zeros = i32::try_from(self.zeros).unwrap_or(i32::MAX);
        self.nanos as f64 / NANO as f64 * 10f64.powi(zeros)
    }

    /// With more zeros behind it, and what stood there rounded away from nothing.
    fn with_zeros(self, zeros: u32) -> i128 {
        let divisor = 10i128.checked_pow(zeros.saturating_sub(self.zeros));
        divisor.map_or(self.nanos.signum(), |divisor| divide_away(self.nanos, divisor))
    }

    fn add_wide(self, other: Quantity, format: Format) -> Quantity {
        let mut zeros = self.zeros.max(other.zeros);
        loop {
            match self.with_zeros(zeros).checked_add(other.with_zeros(zeros)) {
                Some(sum) => return Quantity::wide(sum, zeros, format),
                None => zeros += 1,
            }
        }
    }
}

impl std::ops::Neg for Quantity {
    type Output = Quantity;
    fn neg(self) -> Quantity {
        Quantity { nanos: self.nanos.saturating_neg(), ..self }
    }
}

impl std::ops::Add for Quantity {
    type Output = Quantity;
    fn add(self, other: Quantity) -> Quantity {
        let format = if self.nanos == 0 { other.format } else { self.format };
        match self.nanos.checked_add(other.nanos) {
            Some(nanos) if self.zeros | other.zeros == 0 => Quantity { nanos, zeros: 0, format },
            _ => self.add_wide(other, format),
        }
    }
}

impl std::ops::AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl std::ops::Sub for Quantity {
    type Output = Quantity;
    fn sub(self, other: Quantity) -> Quantity {
        self + -other
    }
}

impl std::ops::Mul<i64> for Quantity {
    type Output = Quantity;
    fn mul(self, factor: i64) -> Quantity {
        let mut zeros = self.zeros;
        loop {
            match self.with_zeros(zeros).checked_mul(i128::from(factor)) {
                Some(nanos) => return Quantity::wide(nanos, zeros, self.format),
                None => zeros = zeros.saturating_add(1),
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos && self.zeros == other.zeros
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        match (self.zeros.cmp(&other.zeros), self.nanos.signum().cmp(&other.nanos.signum())) {
            (Ordering::Equal, _) => self.nanos.cmp(&other.nanos),
            (longer, Ordering::Equal) => {
                if self.nanos > 0 {
                    longer
                } else {
                    longer.reverse()
                }
            }
            (_, sign) => sign,
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Quantity, ParseError> {
        Quantity::parse(text)
    }
}

/// The canonical text: no fraction, the largest suffix that needs none.
impl Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let binary = self.format == Format::Binary && self.zeros == 0 && self.is_integer();
        if binary && self.nanos.abs() >= 1024 * NANO {
            let mut mantissa = self.nanos / NANO;
            let mut step = 0;
            while step < 6 && mantissa % 1024 == 0 {
                mantissa /= 1024;
                step += 1;
            }
            return write!(f, "{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]);
        }
        let (mut mantissa, mut zeros) = (self.nanos, self.zeros);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            zeros += 1;
        }
        let most = if self.format == Format::Exponent { u32::MAX } else { 27 };
        let in_suffix = (zeros - zeros % 3).min(most);
        let exponent = i64::from(in_suffix) - 9;
        write!(f, "{mantissa}{:0<1$}", "", (zeros - in_suffix) as usize)?;
        if self.format == Format::Exponent {
            if exponent != 0 {
                write!(f, "e{exponent}")?;
            }
            return Ok(());
        }
        f.write_str(match exponent {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            0 => "",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            _ => "E",
        })
    }
}

/// `|a / b|` rounded up, with the sign of `a`.
fn divide_away(a: i128, b: i128) -> i128 {
    let quotient = a / b;
    if a % b == 0 { quotient } else { quotient + a.signum() }
}

/// `whole.fraction * 10^exponent * factor`, rounded up to a whole number, and the zeros behind it.
fn scaled(whole: &str, fraction: &str, exponent: i32, factor: i128) -> (i128, u32) {
    let mut mantissa: i128 = 0;
    let mut exponent = exponent;
    let mut inexact = false;
    for (in_fraction, digits) in [(false, whole), (true, fraction)] {
        for digit in digits.bytes().map(|byte| i128::from(byte - b'0')) {
            match mantissa.checked_mul(10).and_then(|m| m.checked_add(digit)) {
                Some(next) => {
                    mantissa = next;
                    exponent -= i32::from(in_fraction);
                }
                // Past 38 digits one of the whole part shifts, and what it says is lost.
                None => {
                    inexact |= digit != 0;
                    exponent += i32::from(!in_fraction);
                }
            }
        }
    }
    if mantissa == 0 {
        return (0, 0);
    }
    let Some(mut value) = mantissa.checked_mul(factor) else { return (i128::MAX, 1) };
    for _ in 0..exponent.min(0).unsigned_abs().min(60) {
        inexact |= value % 10 != 0;
        value /= 10;
    }
    (if inexact { value.saturating_add(1) } else { value }, exponent.max(0).unsigned_abs())
}

fn split(text: &str) -> Result<(&str, &str), ParseError> {
    let bytes = text.as_bytes();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let start = end;
    let mut dots = 0;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'0'..=b'9' => {}
            b'.' if dots == 0 => dots = 1,
            _ => break,
        }
        end += 1;
    }
    if text.is_empty() || end == start {
        return Err(ParseError::Format);
    }
    let suffix = &text[end..];
    let letters = suffix.bytes().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
    let mut tail = suffix[letters..].bytes().peekable();
    if matches!(tail.peek(), Some(b'+' | b'-')) {
        tail.next();
    }
    if tail.all(|byte| byte.is_ascii_digit()) { Ok((&text[..end], suffix)) } else { Err(ParseError::Format) }
}

fn suffix_meaning(suffix: &str) -> Option<(u32, i32, Format)> {
    Some(match suffix {
        "" => (10, 0, Format::Decimal),
        "n" => (10, -9, Format::Decimal),
        "u" => (10, -6, Format::Decimal),
        "m" => (10, -3, Format::Decimal),
        "k" => (10, 3, Format::Decimal),
        "M" => (10, 6, Format::Decimal),
        "G" => (10, 9, Format::Decimal),
        "T" => (10, 12, Format::Decimal),
        "P" => (10, 15, Format::Decimal),
        "E" => (10, 18, Format::Decimal),
        "Ki" => (2, 10, Format::Binary),
        "Mi" => (2, 20, Format::Binary),
        "Gi" => (2, 30, Format::Binary),
        "Ti" => (2, 40, Format::Binary),
        "Pi" => (2, 50, Format::Binary),
        "Ei" => (2, 60, Format::Binary),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty())?;
            (10, exponent.parse::<i32>().ok()?.clamp(-FAR, FAR), Format::Exponent)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0", "0"),
            ("0.0", "0"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1023", "1023"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("1025Ki", "1025Ki"),
            ("1000000", "1M"),
            ("1k", "1k"),
            ("123456789", "123456789"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("1E", "1E"),
            ("0.0000000001", "1n"),
            ("-1.5Gi", "-1536Mi"),
            (".5", "500m"),
            ("5.", "5"),
            ("+5", "5"),
            ("100Ei", "9223372036854775807"),
            ("0.001Ki", "1024m"),
            ("1e21", "1e21"),
            ("12e999999999", "1200e1026"),
            ("1e40", "10e39"),
            ("-1e40", "-10e39"),
            ("12345e100", "123450e99"),
            ("1000000E", "1000000E"),
            ("1e-9", "1e-9"),
            ("100000000000000000000000000000000000000000", "100000000000000000000000E"),
            ("123456789012345678901234567890123456789", "123456789012345678901234567890123456789"),
            ("12345678901234567890123456789012345678901", "12345678901234567890123456789012345679k"),
            ("99999999999999999999Ei", "9223372036854775807"),
        ];
        for (text, expected) in cases {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()), Ok(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn bad_texts() {
        let cases = [
            ("", ParseError::Format),
            ("x", ParseError::Format),
            ("-", ParseError::Format),
            ("1 Gi", ParseError::Format),
            ("1.2.3", ParseError::Format),
            ("1Gb", ParseError::Format),
            ("1KiK", ParseError::Suffix),
            ("1K", ParseError::Suffix),
            ("1e", ParseError::Suffix),
            (".", ParseError::Numeric),
        ];
        for (text, expected) in cases {
            assert_eq!(Quantity::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn arithmetic_and_order() {
        let q = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!((q("1Gi") + q("512Mi")).to_string(), "1536Mi");
        assert_eq!((q("2") - q("500m")).to_string(), "1500m");
        assert_eq!((q("250m") * 4).to_string(), "1");
        assert!(q("1Gi") > q("1G") && q("1000m") == q("1"));
        assert_eq!((q("1500m").value(), q("1500m").millis(), q("100n").millis()), (2, 1500, 1));
    }

    #[test]
    fn what_exceeds_all_bits_is_kept() {
        let q = |text: &str| Quantity::parse(text).unwrap();
        let ordered =
            ["-1e90", "-1e40", "-9e39", "-1", "0", "1n", "1e29", "2e29", "1e30", "9e39", "1e40", "1e90"].map(q);
        for (n, one) in ordered.iter().enumerate() {
            for (m, other) in ordered.iter().enumerate() {
                assert_eq!(one.cmp(other), n.cmp(&m), "{one} and {other}");
                assert_eq!(one == other, n == m, "{one} and {other}");
            }
        }
        assert_eq!((q("1e40") + q("1e40")).to_string(), "20e39");
        assert_eq!((q("1e40") - q("1e40")).to_string(), "0");
        assert_eq!(q("1e40") + q("1e40") - q("1e40"), q("1e40"));
        assert_eq!((q("1e29") * 1000, q("1e40") * -3), (q("1e32"), q("-3e40")));
        assert!(q("1e40") + q("1m") > q("1e40"), "what does not fit is not lost");
        assert_eq!((q("1e40").value(), q("-1e40").millis(), q("1e40").nanos()), (i64::MAX, i64::MIN, i128::MAX));
        assert!(q("1e40").is_integer() && (q("1e40").as_f64() / 1e40 - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn sums_know_their_order(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000, e in 0_u32..60, f in 0_u32..60) {
            let [a, b] = [(a, e), (b, f)].map(|(n, e)| Quantity::parse(&format!("{n}e{e}")).unwrap());
            prop_assert_eq!(a + b, b + a);
            prop_assert_eq!(a + b > b, a > Quantity::ZERO);
            prop_assert!(f > 20 || a + b - b == a);
        }

        #[test]
        fn any_text_is_answered(text in "[-+0-9.eEinumkKMGTP]{0,60}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                let canonical = quantity.to_string();
                let again = Quantity::parse(&canonical);
                prop_assert_eq!(again.map(|q| q.to_string()), Ok(canonical));
            }
        }
    }
}
