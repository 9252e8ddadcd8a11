//! Types whose values can be keys and can be indexed: the order of their bytes is their own order.
//!
//! ```text
//! u8…u128 i8…i128      numeric                          String, str        by bytes: a prefix comes first
//! f32 f64              total_cmp: -NaN … -0.0 0.0 … NaN Vec<u8>, [u8]      by bytes
//! bool                 false, true                      Option<V>          None first
//! Timestamp            earlier first                    (A, B, …)          part by part
//! a type with Rank     by rank                          ()                 one value
//! ```
//!
//! Every value says where it ends, so `1` never matches `10`. Each type has a shape, its name in stored definitions:
//! a collection whose shapes changed is noticed when it is opened. Shapes are persisted: never change one.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys::{KeyReader, KeyWriter};

/// A type whose values have a place in the order of keys.
pub trait Ordered {
    /// The name of the type in stored definitions.
    fn shape() -> String;

    /// Adds the value to a key.
    fn write(&self, key: KeyWriter) -> KeyWriter;

    /// The value for comparing it with a field of another integer type, `None` for what is no integer.
    fn integer(&self) -> Option<Integer> {
        None
    }

    /// What a query or a group is asked with: the parts of a tuple one by one, anything else as one.
    fn operands(&self) -> Vec<Operand> {
        vec![Operand::of(self)]
    }
}

/// An [`Ordered`] type that can be read back from a key.
pub trait FromKey: Ordered + Sized {
    /// Takes the next value from a key.
    ///
    /// # Errors
    /// `Corrupt` for bytes that no value of this type has.
    fn read(key: &mut KeyReader<'_>) -> Result<Self>;
}

/// Ranks for the values of an enum, which are its order and its stored form: never change one.
///
/// ```
/// # use ml_persistence::Rank;
/// #[derive(Clone, Copy, PartialEq, Debug)]
/// enum Stage {
///     Draft,
///     Live,
/// }
/// impl Rank for Stage {
///     const RANKS: &'static [(Self, u32)] = &[(Stage::Draft, 10), (Stage::Live, 20)];
/// }
/// ```
pub trait Rank: Copy + PartialEq + 'static {
    /// Every value with its rank. A value that is missing here counts as behind all others.
    const RANKS: &'static [(Self, u32)];
}

/// Milliseconds since the Unix epoch, as a type of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// An integer of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    negative: bool,
    magnitude: u128,
}

/// A value that a query compares with.
#[derive(Debug, Clone)]
pub struct Operand {
    shape: String,
    bytes: Vec<u8>,
    integer: Option<Integer>,
}

const OPTION: &str = "option ";

impl Operand {
    pub(super) fn of<V: Ordered + ?Sized>(value: &V) -> Self {
        Operand { shape: V::shape(), bytes: value.write(KeyWriter::new()).finish(), integer: value.integer() }
    }

    /// The key bytes of this value as one of a field of `shape`: the same type, what an optional field holds, or an
    /// integer that fits.
    pub(super) fn fit(&self, field: &str, shape: &str) -> Result<Vec<u8>> {
        let misfit = || Error::invalid(format!("{field}: holds {shape}, asked with {}", self.shape));
        if self.shape == shape {
            return Ok(self.bytes.clone());
        }
        if let Some(held) = shape.strip_prefix(OPTION) {
            return Ok([vec![1], self.fit(field, held)?].concat());
        }
        let integer = self.integer.ok_or_else(misfit)?;
        integer.write(shape).ok_or_else(misfit)
    }

    /// What the keys of all values that start with this one have in common.
    pub(super) fn fit_start(&self, field: &str, shape: &str) -> Result<Vec<u8>> {
        let mut bytes = self.fit(field, shape)?;
        if !matches!(shape.trim_start_matches(OPTION), "str" | "bytes") || shape.starts_with("option option") {
            return Err(Error::invalid(format!("{field}: holds {shape}, only texts and bytes start with something")));
        }
        // Without the two bytes that end a text; what is left ends in no half of an escaped byte.
        bytes.truncate(bytes.len().saturating_sub(2));
        Ok(bytes)
    }
}

impl Integer {
    fn write(self, shape: &str) -> Option<Vec<u8>> {
        let positive = || (!self.negative || self.magnitude == 0).then_some(self.magnitude);
        let signed = || match self.negative {
            false => i128::try_from(self.magnitude).ok(),
            true => 0i128.checked_sub_unsigned(self.magnitude),
        };
        let key = KeyWriter::new();
        let key = match shape {
            "u8" => key.u8(positive()?.try_into().ok()?),
            "u16" => key.u16(positive()?.try_into().ok()?),
            "u32" => key.u32(positive()?.try_into().ok()?),
            "u64" => key.u64(positive()?.try_into().ok()?),
            "u128" => key.u128(positive()?),
            "i8" => key.i8(signed()?.try_into().ok()?),
            "i16" => key.i16(signed()?.try_into().ok()?),
            "i32" => key.i32(signed()?.try_into().ok()?),
            "i64" => key.i64(signed()?.try_into().ok()?),
            "i128" => key.i128(signed()?),
            _ => return None,
        };
        Some(key.finish())
    }
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        impl Ordered for $name {
            fn shape() -> String {
                stringify!($name).to_owned()
            }

            fn write(&self, key: KeyWriter) -> KeyWriter {
                key.$name(*self)
            }

            // Zero is compared with where there are negative numbers only.
            #[allow(unused_comparisons, clippy::absurd_extreme_comparisons)]
            fn integer(&self) -> Option<Integer> {
                let magnitude = match u128::try_from(*self) {
                    Ok(magnitude) => magnitude,
                    Err(_) => (*self as i128).unsigned_abs(),
                };
                Some(Integer { negative: *self < 0, magnitude })
            }
        }

        impl FromKey for $name {
            fn read(key: &mut KeyReader<'_>) -> Result<Self> {
                key.$name()
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }

macro_rules! plain {
    ($($name:ident)*) => {$(
        impl Ordered for $name {
            fn shape() -> String {
                stringify!($name).to_owned()
            }

            fn write(&self, key: KeyWriter) -> KeyWriter {
                key.$name(*self)
            }
        }

        impl FromKey for $name {
            fn read(key: &mut KeyReader<'_>) -> Result<Self> {
                key.$name()
            }
        }
    )*};
}

plain! { f32 f64 bool }

impl Ordered for str {
    fn shape() -> String {
        "str".to_owned()
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        key.str(self)
    }
}

impl Ordered for String {
    fn shape() -> String {
        str::shape()
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        key.str(self)
    }
}

impl FromKey for String {
    fn read(key: &mut KeyReader<'_>) -> Result<Self> {
        key.str()
    }
}

impl Ordered for [u8] {
    fn shape() -> String {
        "bytes".to_owned()
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        key.bytes(self)
    }
}

impl Ordered for Vec<u8> {
    fn shape() -> String {
        <[u8]>::shape()
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        key.bytes(self)
    }
}

impl FromKey for Vec<u8> {
    fn read(key: &mut KeyReader<'_>) -> Result<Self> {
        key.bytes()
    }
}

macro_rules! borrowed {
    ($($name:ty)*) => {$(
        impl Ordered for &$name {
            fn shape() -> String {
                <$name>::shape()
            }

            fn write(&self, key: KeyWriter) -> KeyWriter {
                <$name>::write(self, key)
            }
        }
    )*};
}

borrowed! { str String [u8] Vec<u8> }

impl<V: Ordered> Ordered for Option<V> {
    fn shape() -> String {
        format!("{OPTION}{}", V::shape())
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        match self {
            None => key.bool(false),
            Some(value) => value.write(key.bool(true)),
        }
    }
}

impl<V: FromKey> FromKey for Option<V> {
    fn read(key: &mut KeyReader<'_>) -> Result<Self> {
        Ok(if key.bool()? { Some(V::read(key)?) } else { None })
    }
}

impl Ordered for Timestamp {
    fn shape() -> String {
        "timestamp".to_owned()
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        key.u64(self.0)
    }
}

impl FromKey for Timestamp {
    fn read(key: &mut KeyReader<'_>) -> Result<Self> {
        key.u64().map(Timestamp)
    }
}

impl<R: Rank> Ordered for R {
    fn shape() -> String {
        "rank".to_owned()
    }

    fn write(&self, key: KeyWriter) -> KeyWriter {
        let rank = R::RANKS.iter().find(|(value, _)| value == self).map_or(u32::MAX, |(_, rank)| *rank);
        key.u32(rank)
    }
}

impl<R: Rank> FromKey for R {
    fn read(key: &mut KeyReader<'_>) -> Result<Self> {
        let rank = key.u32()?;
        let found = R::RANKS.iter().find(|(_, known)| *known == rank);
        found.map(|(value, _)| *value).ok_or_else(|| Error::corrupt(format!("rank {rank}: no value has it")))
    }
}

macro_rules! tuples {
    ($(($($name:ident $place:tt),*))*) => {$(
        impl<$($name: Ordered),*> Ordered for ($($name,)*) {
            fn shape() -> String {
                let shapes: Vec<String> = vec![$($name::shape()),*];
                format!("({})", shapes.join(", "))
            }

            fn write(&self, key: KeyWriter) -> KeyWriter {
                $(let key = self.$place.write(key);)*
                key
            }

            fn operands(&self) -> Vec<Operand> {
                vec![$(Operand::of(&self.$place)),*]
            }
        }

        impl<$($name: FromKey),*> FromKey for ($($name,)*) {
            fn read(_key: &mut KeyReader<'_>) -> Result<Self> {
                Ok(($($name::read(_key)?,)*))
            }
        }
    )*};
}

tuples! { () (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) (A 0, B 1, C 2, D 3, E 4, F 5) }
