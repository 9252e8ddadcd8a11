//! Numbers that compare by their exact value.
//!
//! A number is written as an integer or with `.` or `e`. An integer of any size is kept whole; the other is the
//! nearest `f64`, which is itself one exact value. So `9007199254740993` and `9007199254740992.0` differ, although the
//! nearest `f64` of the first is the second.

use std::cmp::Ordering;

/// One number.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    /// An integer within 128 bits.
    Whole(i128),
    /// An integer beyond: its digits without leading zeros.
    Huge {
        /// Below zero.
        negative: bool,
        /// At least 39 of them.
        digits: Box<str>,
    },
    /// A finite number written with `.` or `e`.
    Float(f64),
}

/// Where `f64` leaves the range of `i128`.
const WHOLE_END: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

impl Number {
    /// The number that JSON, or a filter, spells so; `None` for what is no number or lies beyond `f64`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.contains(['.', 'e', 'E']) {
            return text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Number::Float);
        }
        if let Ok(value) = text.parse() {
            return Some(Number::Whole(value));
        }
        let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
        let whole = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        whole.then(|| Number::Huge { negative: text.starts_with('-'), digits: digits.into() })
    }

    /// How the two compare; `None` only for a stored value that is not a number.
    pub(crate) fn compare(&self, other: &Number) -> Option<Ordering> {
        use Number::{Float, Huge, Whole};
        Some(match (self, other) {
            (Whole(a), Whole(b)) => a.cmp(b),
            (Float(a), Float(b)) => a.partial_cmp(b)?,
            (Whole(a), Float(b)) => whole_to_float(*a, *b)?,
            (Float(a), Whole(b)) => whole_to_float(*b, *a)?.reverse(),
            (Huge { negative, .. }, Whole(_)) => away_from_zero(*negative),
            (Whole(_), Huge { negative, .. }) => away_from_zero(*negative).reverse(),
            (Huge { negative: a, digits: left }, Huge { negative: b, digits: right }) => {
                huge_to_huge((*a, left), (*b, right))
            }
            (Huge { negative, digits }, Float(b)) => huge_to_float(*negative, digits, *b)?,
            (Float(a), Huge { negative, digits }) => huge_to_float(*negative, digits, *a)?.reverse(),
        })
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }
}

/// How a number beyond every other one compares with it.
fn away_from_zero(negative: bool) -> Ordering {
    if negative { Ordering::Less } else { Ordering::Greater }
}

fn whole_to_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= WHOLE_END {
        return Some(Ordering::Less);
    }
    if float < -WHOLE_END {
        return Some(Ordering::Greater);
    }
    // In range, so what lies before the point is taken over exactly.
    let before_the_point = float.trunc() as i128;
    Some(whole.cmp(&before_the_point).then(0.0.partial_cmp(&float.fract())?))
}

fn huge_to_huge((a, left): (bool, &str), (b, right): (bool, &str)) -> Ordering {
    if a != b {
        return away_from_zero(a);
    }
    let size = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
    if a { size.reverse() } else { size }
}

fn huge_to_float(negative: bool, digits: &str, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if !(-WHOLE_END..WHOLE_END).contains(&float) {
        // A float of this size has nothing behind the point, and is written out to its last digit.
        let written = format!("{:.0}", float.abs());
        return Some(huge_to_huge((negative, digits), (float < 0.0, &written)));
    }
    Some(away_from_zero(negative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare(a: &str, b: &str) -> Ordering {
        Number::parse(a).unwrap().compare(&Number::parse(b).unwrap()).unwrap()
    }

    #[test]
    fn numbers_written_differently_compare_by_their_exact_value() {
        let ascending = [
            "-1e300",
            "-340282366920938463463374607431768211456",
            "-9223372036854775809",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "0",
            "0.5",
            "1",
            "9007199254740992.0",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808.0",
            "9223372036854775809",
            "99999999999999991611391",
            "1e23",
            "99999999999999991611393",
            "340282366920938463463374607431768211456",
            "340282366920938463463374607431768211457",
            "9.9e38",
            "1000000000000000000000000000000000000000000",
            "1e300",
        ];
        for (place, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), place.cmp(&other), "{a} and {b}");
            }
        }
    }

    #[test]
    fn zero_is_zero_however_it_is_written() {
        for a in ["0", "-0", "+0", "0.0", "-0.0", "0e7", "000", "00000000000000000000000000000000000000000000"] {
            assert_eq!(compare(a, "0"), Ordering::Equal, "{a}");
        }
        assert!(Number::parse("1e999").is_none());
        assert!(Number::parse("x").is_none());
    }

    proptest! {
        #[test]
        fn an_integer_and_a_float_compare_as_their_decimal_digits_do(whole: i64, near in -3i64..3, float: f64) {
            for float in [float, (whole.wrapping_add(near)) as f64, whole as f64 + 0.5] {
                prop_assume!(float.is_finite());
                let exact = format!("{float:.1100}");
                let (digits, fraction) = exact.split_once('.').unwrap();
                let expected = match digits.parse::<i128>() {
                    Err(_) => if float > 0.0 { Ordering::Less } else { Ordering::Greater },
                    Ok(digits) => i128::from(whole).cmp(&digits).then_with(|| match fraction.bytes().any(|b| b != b'0') {
                        false => Ordering::Equal,
                        true if float > 0.0 => Ordering::Less,
                        true => Ordering::Greater,
                    }),
                };
                let compared = Number::Whole(whole.into()).compare(&Number::Float(float)).unwrap();
                prop_assert_eq!(compared, expected);
                prop_assert_eq!(Number::Float(float).compare(&Number::Whole(whole.into())).unwrap(), expected.reverse());
            }
        }
    }
}
