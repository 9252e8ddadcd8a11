//! Order-preserving composite keys: the bytes of two keys compare as their parts do, part by part.
//!
//! ```text
//! u8 u16 u32 u64 u128   big-endian
//! i8 i16 i32 i64 i128   big-endian with the sign bit flipped
//! f32, f64              its bits; negative ones inverted, others with the sign bit flipped (IEEE total order:
//!                       -NaN < -inf < … < -0.0 < 0.0 < … < inf < NaN)
//! bool                  00 or 01
//! str, bytes            each 00 becomes 00 FF; then 00 00 ends the part
//! raw                   as it is: only as the last part, since nothing says where it ends
//! descending            the same bytes inverted
//! ```
//!
//! Every part but `raw` says where it ends, so no part runs into its neighbour and no key is the beginning of another
//! key of the same shape. An optional part is a `bool` and, when it is true, the part. Several parts together run
//! against their order when all of their bytes are inverted ([`KeyWriter::against`]).

use crate::error::{Error, Result};

const SIGN_32: u32 = 1 << 31;
const SIGN: u64 = 1 << 63;
/// Bytes that a key has room for from the start.
const ROOM: usize = 96;

/// Builds a key, part by part.
#[derive(Debug, Clone, Default)]
pub struct KeyWriter {
    bytes: Vec<u8>,
    descending: bool,
}

macro_rules! write_unsigned {
    ($($name:ident)*) => {$(
        /// An unsigned number.
        #[must_use]
        pub fn $name(mut self, value: $name) -> Self {
            if !self.descending {
                self.bytes.extend_from_slice(&value.to_be_bytes());
                return self;
            }
            self.part(value.to_be_bytes())
        }
    )*};
}

macro_rules! write_signed {
    ($($name:ident as $unsigned:ident)*) => {$(
        /// A signed number.
        #[must_use]
        pub fn $name(self, value: $name) -> Self {
            self.$unsigned(value as $unsigned ^ 1 << ($unsigned::BITS - 1))
        }
    )*};
}

impl KeyWriter {
    /// A key without parts.
    #[must_use]
    pub fn new() -> Self {
        // Room for nearly every key: growing part by part costs more than the parts do.
        KeyWriter { bytes: Vec::with_capacity(ROOM), descending: false }
    }

    write_unsigned! { u8 u16 u32 u64 u128 }
    write_signed! { i8 as u8 i16 as u16 i32 as u32 i64 as u64 i128 as u128 }

    /// A floating-point number, in the order of [`f32::total_cmp`].
    #[must_use]
    pub fn f32(self, value: f32) -> Self {
        let bits = value.to_bits();
        self.u32(if bits & SIGN_32 == 0 { bits | SIGN_32 } else { !bits })
    }

    /// A floating-point number, in the order of [`f64::total_cmp`].
    #[must_use]
    pub fn f64(self, value: f64) -> Self {
        let bits = value.to_bits();
        self.u64(if bits & SIGN == 0 { bits | SIGN } else { !bits })
    }

    /// `false` before `true`.
    #[must_use]
    pub fn bool(self, value: bool) -> Self {
        self.u8(u8::from(value))
    }

    /// A text, in the order of its bytes.
    #[must_use]
    pub fn str(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// A string of bytes.
    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        if !self.descending && !value.contains(&0) {
            // As below, without looking at each byte.
            self.bytes.extend_from_slice(value);
            self.bytes.extend_from_slice(&[0, 0]);
            return self;
        }
        self.part(escape(value).chain([0, 0]))
    }

    /// The beginning of a text or string of bytes: what all those that start with `value` have in common. Only as
    /// the last part of a prefix, never of a stored key.
    #[must_use]
    pub fn starts_with(self, value: &[u8]) -> Self {
        self.part(escape(value))
    }

    /// Bytes as they are. Only as the last part, and never descending: the order of raw bytes can't be inverted.
    #[must_use]
    pub fn raw(mut self, value: &[u8]) -> Self {
        debug_assert!(!self.descending, "raw bytes have no descending form");
        self.descending = false;
        self.bytes.extend_from_slice(value);
        self
    }

    /// The next part runs against its order.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = !self.descending;
        self
    }

    /// All the parts that `write` adds run against their order, together.
    #[must_use]
    pub fn against(self, write: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        let mut key = write(self);
        key.bytes.iter_mut().skip(start).for_each(|byte| *byte ^= 0xff);
        key
    }

    /// The key's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn part(mut self, bytes: impl IntoIterator<Item = u8>) -> Self {
        let mask = if self.descending { 0xff } else { 0 };
        self.descending = false;
        self.bytes.extend(bytes.into_iter().map(|byte| byte ^ mask));
        self
    }
}

fn escape(value: &[u8]) -> impl Iterator<Item = u8> {
    value.iter().flat_map(|&byte| std::iter::once(byte).chain((byte == 0).then_some(0xff)))
}

/// Takes a key apart again: the same parts, in the same order, descending where it was written so.
#[derive(Debug, Clone)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
    descending: bool,
    /// Inside of [`KeyReader::against`].
    against: bool,
}

macro_rules! read_unsigned {
    ($($name:ident)*) => {$(
        /// An unsigned number.
        ///
        /// # Errors
        /// `Corrupt` when the key ends before it.
        pub fn $name(&mut self) -> Result<$name> {
            self.take().map($name::from_be_bytes)
        }
    )*};
}

macro_rules! read_signed {
    ($($name:ident as $unsigned:ident)*) => {$(
        /// A signed number.
        ///
        /// # Errors
        /// `Corrupt` when the key ends before it.
        pub fn $name(&mut self) -> Result<$name> {
            Ok((self.$unsigned()? ^ 1 << ($unsigned::BITS - 1)) as $name)
        }
    )*};
}

impl<'a> KeyReader<'a> {
    /// A reader at the start of `key`.
    #[must_use]
    pub fn new(key: &'a [u8]) -> Self {
        KeyReader { rest: key, descending: false, against: false }
    }

    read_unsigned! { u8 u16 u32 u64 u128 }

    read_signed! { i8 as u8 i16 as u16 i32 as u32 i64 as u64 i128 as u128 }

    /// A floating-point number, to the bit as it was written.
    ///
    /// # Errors
    /// `Corrupt` when the key ends before it.
    pub fn f32(&mut self) -> Result<f32> {
        let bits = self.u32()?;
        Ok(f32::from_bits(if bits & SIGN_32 == 0 { !bits } else { bits ^ SIGN_32 }))
    }

    /// A floating-point number, to the bit as it was written.
    ///
    /// # Errors
    /// `Corrupt` when the key ends before it.
    pub fn f64(&mut self) -> Result<f64> {
        let bits = self.u64()?;
        Ok(f64::from_bits(if bits & SIGN == 0 { !bits } else { bits ^ SIGN }))
    }

    /// A truth value.
    ///
    /// # Errors
    /// `Corrupt` for any byte but 0 and 1.
    pub fn bool(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(misfit(format!("0 or 1, found {other}"))),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// `Corrupt` when it does not end or is not UTF-8.
    pub fn str(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| misfit("UTF-8"))
    }

    /// A string of bytes.
    ///
    /// # Errors
    /// `Corrupt` when it does not end or is escaped wrongly.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        let descending = std::mem::take(&mut self.descending);
        loop {
            self.descending = descending;
            let byte = self.u8()?;
            if byte == 0 {
                self.descending = descending;
                match self.u8()? {
                    0 => return Ok(value),
                    0xff => {}
                    other => return Err(misfit(format!("0 or 255 behind a zero byte, found {other}"))),
                }
            }
            value.push(byte);
        }
    }

    /// The next part was written against its order.
    pub fn descending(&mut self) -> &mut Self {
        self.descending = !self.descending;
        self
    }

    /// All the parts that `read` takes were written by [`KeyWriter::against`].
    ///
    /// # Errors
    /// Those of `read`.
    pub fn against<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.against = !self.against;
        let outcome = read(self);
        self.against = !self.against;
        outcome
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// `Corrupt` when something is.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(misfit("the end of the key")) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mask = if self.descending == self.against { 0 } else { 0xff };
        self.descending = false;
        let (part, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| misfit(format!("{N} more bytes")))?;
        self.rest = rest;
        Ok(part.map(|byte| byte ^ mask))
    }
}

fn misfit(expected: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("key: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// One part of a key, for comparing keys with what they were made of.
    #[derive(Debug, Clone)]
    enum Part {
        U8(u8),
        U16(u16),
        U32(u32),
        U64(u64),
        U128(u128),
        I8(i8),
        I16(i16),
        I32(i32),
        I64(i64),
        I128(i128),
        F32(f32),
        F64(f64),
        Bool(bool),
        Str(String),
        Bytes(Vec<u8>),
    }
    use Part::*;

    impl Part {
        fn write(&self, key: KeyWriter) -> KeyWriter {
            match self {
                U8(v) => key.u8(*v),
                U16(v) => key.u16(*v),
                U32(v) => key.u32(*v),
                U64(v) => key.u64(*v),
                U128(v) => key.u128(*v),
                I8(v) => key.i8(*v),
                I16(v) => key.i16(*v),
                I32(v) => key.i32(*v),
                I64(v) => key.i64(*v),
                I128(v) => key.i128(*v),
                F32(v) => key.f32(*v),
                F64(v) => key.f64(*v),
                Bool(v) => key.bool(*v),
                Str(v) => key.str(v),
                Bytes(v) => key.bytes(v),
            }
        }

        /// Reads a part of the same type.
        fn read(&self, key: &mut KeyReader<'_>) -> Result<Part> {
            Ok(match self {
                U8(_) => U8(key.u8()?),
                U16(_) => U16(key.u16()?),
                U32(_) => U32(key.u32()?),
                U64(_) => U64(key.u64()?),
                U128(_) => U128(key.u128()?),
                I8(_) => I8(key.i8()?),
                I16(_) => I16(key.i16()?),
                I32(_) => I32(key.i32()?),
                I64(_) => I64(key.i64()?),
                I128(_) => I128(key.i128()?),
                F32(_) => F32(key.f32()?),
                F64(_) => F64(key.f64()?),
                Bool(_) => Bool(key.bool()?),
                Str(_) => Str(key.str()?),
                Bytes(_) => Bytes(key.bytes()?),
            })
        }

        fn order(&self, other: &Part) -> Ordering {
            match (self, other) {
                (U8(a), U8(b)) => a.cmp(b),
                (U16(a), U16(b)) => a.cmp(b),
                (U32(a), U32(b)) => a.cmp(b),
                (U64(a), U64(b)) => a.cmp(b),
                (U128(a), U128(b)) => a.cmp(b),
                (I8(a), I8(b)) => a.cmp(b),
                (I16(a), I16(b)) => a.cmp(b),
                (I32(a), I32(b)) => a.cmp(b),
                (I64(a), I64(b)) => a.cmp(b),
                (I128(a), I128(b)) => a.cmp(b),
                (F32(a), F32(b)) => a.total_cmp(b),
                (F64(a), F64(b)) => a.total_cmp(b),
                (Bool(a), Bool(b)) => a.cmp(b),
                (Str(a), Str(b)) => a.cmp(b),
                (Bytes(a), Bytes(b)) => a.cmp(b),
                _ => panic!("parts of two shapes"),
            }
        }
    }

    /// Strings made of the bytes that escaping and inverting could get wrong.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff), any::<u8>()], 0..6)
    }

    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('é'), any::<char>()], 0..5)
            .prop_map(String::from_iter)
    }

    fn floats() -> impl Strategy<Value = f64> {
        let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN, f64::MAX, f64::NAN, -f64::NAN];
        prop_oneof![prop::sample::select(special.to_vec()), any::<u64>().prop_map(f64::from_bits)]
    }

    /// Two values of one type.
    fn pair<T: Clone + std::fmt::Debug>(
        one: impl Strategy<Value = T>,
        two: impl Strategy<Value = T>,
        wrap: impl Fn(T) -> Part,
    ) -> impl Strategy<Value = (Part, Part)> {
        (one, two).prop_map(move |(a, b)| (wrap(a), wrap(b)))
    }

    fn edges<T: Clone + std::fmt::Debug + 'static>(
        all: impl Strategy<Value = T> + 'static,
        edges: &[T],
    ) -> BoxedStrategy<T> {
        prop_oneof![prop::sample::select(edges.to_vec()), all].boxed()
    }

    fn pairs() -> impl Strategy<Value = (Part, Part, bool)> {
        let u8s = || edges(any::<u8>(), &[0, 1, 255]);
        let u16s = || edges(any::<u16>(), &[0, 255, 256, u16::MAX]);
        let u32s = || edges(any::<u32>(), &[0, 255, 256, u32::MAX]);
        let u64s = || edges(any::<u64>(), &[0, 255, 256, u64::MAX]);
        let u128s = || edges(any::<u128>(), &[0, 255, 256, u128::MAX]);
        let i64s = || edges(any::<i64>(), &[i64::MIN, -1, 0, 1, i64::MAX]);
        let i128s = || edges(any::<i128>(), &[i128::MIN, -1, 0, 1, i128::MAX]);
        let two = prop_oneof![
            pair(u8s(), u8s(), U8),
            pair(u16s(), u16s(), U16),
            pair(u32s(), u32s(), U32),
            pair(u64s(), u64s(), U64),
            pair(u128s(), u128s(), U128),
            pair(any::<i8>(), any::<i8>(), I8),
            pair(any::<i16>(), any::<i16>(), I16),
            pair(edges(any::<i32>(), &[i32::MIN, -1, 0, i32::MAX]), any::<i32>(), I32),
            pair(i64s(), i64s(), I64),
            pair(i128s(), i128s(), I128),
            pair(any::<u32>().prop_map(f32::from_bits), floats().prop_map(|wide| wide as f32), F32),
            pair(floats(), floats(), F64),
            pair(any::<bool>(), any::<bool>(), Bool),
            pair(text(), text(), Str),
            pair(bytes(), bytes(), Bytes),
        ];
        (two, any::<bool>()).prop_map(|((a, b), descending)| (a, b, descending))
    }

    fn write(parts: &[(&Part, bool)]) -> Vec<u8> {
        let key = parts.iter().fold(KeyWriter::new(), |key, (part, descending)| {
            part.write(if *descending { key.descending() } else { key })
        });
        key.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn keys_compare_as_their_parts_do(first in pairs(), second in pairs()) {
            let (a1, b1, down1) = &first;
            let (a2, b2, down2) = &second;
            let (a, b) = (write(&[(a1, *down1), (a2, *down2)]), write(&[(b1, *down1), (b2, *down2)]));
            let turn = |order: Ordering, down: bool| if down { order.reverse() } else { order };
            let expected = turn(a1.order(b1), *down1).then(turn(a2.order(b2), *down2));
            prop_assert_eq!(a.cmp(&b), expected);
            prop_assert!(expected == Ordering::Equal || !b.starts_with(&a), "one key is the beginning of another");
        }

        #[test]
        fn what_was_written_is_read_back_to_the_bit(parts in prop::collection::vec(pairs(), 0..5)) {
            let parts: Vec<(&Part, bool)> = parts.iter().map(|(a, _, down)| (a, *down)).collect();
            let key = write(&parts);
            let mut reader = KeyReader::new(&key);
            for (part, down) in parts {
                if down {
                    reader.descending();
                }
                prop_assert_eq!(part.read(&mut reader).unwrap().order(part), Ordering::Equal);
            }
            reader.end().unwrap();
        }

        #[test]
        fn texts_that_start_with_a_prefix_are_the_keys_that_start_with_its_bytes(a in bytes(), b in bytes()) {
            let prefix = KeyWriter::new().u8(1).starts_with(&a).finish();
            let key = KeyWriter::new().u8(1).bytes(&b).u8(9).finish();
            // An escaped prefix that ends in a zero byte ends in 00 FF, so the end mark 00 00 never looks like it.
            prop_assert_eq!(key.starts_with(&prefix), b.starts_with(&a));
        }

        #[test]
        fn foreign_bytes_are_read_or_refused_without_a_panic(key in bytes(), shape in pairs()) {
            if let Err(error) = shape.0.read(&mut KeyReader::new(&key)) {
                prop_assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
            }
        }
    }
}
