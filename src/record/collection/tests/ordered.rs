//! For every key type: encoded values compare as they do themselves, are read back, and never run into a neighbour.

use std::cmp::Ordering;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::keys::{KeyReader, KeyWriter};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Live,
    Draft,
}

impl Rank for Stage {
    const RANKS: &'static [(Self, u32)] = &[(Stage::Draft, 7), (Stage::Live, 9)];
}

/// Two values of one type, with a value behind each, in both directions.
fn check<V: FromKey + Debug>(
    a: &V,
    b: &V,
    order: impl Fn(&V, &V) -> Ordering,
) -> std::result::Result<(), TestCaseError> {
    let encode = |value: &V, down: bool, behind: u8| {
        let key = KeyWriter::new();
        let key = if down { key.against(|key| value.write(key)) } else { value.write(key) };
        key.u8(behind).finish()
    };
    let expected = order(a, b);
    for down in [false, true] {
        // What stands behind decides between equal values only.
        let (key_a, key_b) = (encode(a, down, 9), encode(b, down, 0));
        let turned = if down { expected.reverse() } else { expected };
        prop_assert_eq!(key_a.cmp(&key_b), turned.then(Ordering::Greater), "{:?} {:?}", a, b);
        let (bare_a, bare_b) = (&key_a[..key_a.len() - 1], &key_b[..key_b.len() - 1]);
        prop_assert!(expected == Ordering::Equal || !bare_b.starts_with(bare_a), "{:?} runs into {:?}", a, b);
        let mut reader = KeyReader::new(&key_a);
        let read = if down { reader.against(V::read) } else { V::read(&mut reader) };
        prop_assert_eq!(order(&read.unwrap(), a), Ordering::Equal);
        prop_assert_eq!(reader.u8().unwrap(), 9);
        reader.end().unwrap();
    }
    Ok(())
}

fn texts() -> impl Strategy<Value = String> {
    let few = ["", "1", "10", "a", "ab", "a\0", "a\0b", "\0", "\0\0", "a:b", "a@v1", "\u{10ffff}"].map(str::to_owned);
    prop_oneof![8 => prop::sample::select(few.to_vec()), 4 => any::<String>(), 1 => Just("x".repeat(10_000))]
}

fn floats() -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN, f64::MAX, f64::NAN, -f64::NAN];
    prop_oneof![prop::sample::select(special.to_vec()), any::<u64>().prop_map(f64::from_bits)]
}

fn edges<V: Clone + Debug + 'static>(edges: &[V], all: impl Strategy<Value = V> + 'static) -> BoxedStrategy<V> {
    prop_oneof![prop::sample::select(edges.to_vec()), all].boxed()
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(1_000))]

            #[test]
            fn $name(
                a in edges(&[$name::MIN, $name::MAX, 0, 1], any::<$name>()),
                b in edges(&[$name::MIN, $name::MAX, 0, 1], any::<$name>()),
            ) {
                check(&a, &b, Ord::cmp)?;
                // Asked with any other integer type: the value counts.
                let bytes = |value: &dyn Fn(KeyWriter) -> KeyWriter| value(KeyWriter::new()).finish();
                match a.to_string().parse::<i128>() {
                    Ok(wide) => {
                        let own = Operand::of(&wide).fit("f", stringify!($name)).unwrap();
                        prop_assert_eq!(own, bytes(&|key| a.write(key)));
                        prop_assert_eq!(Operand::of(&a).fit("f", "i128").unwrap(), bytes(&|key| wide.write(key)));
                    }
                    Err(_) => prop_assert!(Operand::of(&a).fit("f", "i128").is_err()),
                }
            }
        }
    )*};
}

mod an_integer_of_type {
    use super::*;

    integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn floats_follow_the_total_order(a in floats(), b in floats()) {
        check(&a, &b, f64::total_cmp)?;
        check(&(a as f32), &(b as f32), f32::total_cmp)?;
    }

    #[test]
    fn texts_and_bytes_follow_their_bytes(a in texts(), b in texts()) {
        check(&a, &b, Ord::cmp)?;
        check(&a.clone().into_bytes(), &b.clone().into_bytes(), Ord::cmp)?;
        check(&Some(a.clone()), &Some(b.clone()), Ord::cmp)?;
        check(&Some(a.clone()), &None, Ord::cmp)?;
        check(&Some(Some(a)), &Some(None), Ord::cmp)?;
    }

    #[test]
    fn booleans_timestamps_and_ranks_follow_their_own_order(a: bool, b: bool, early: u64, late: u64) {
        check(&a, &b, Ord::cmp)?;
        check(&Timestamp(early), &Timestamp(late), Ord::cmp)?;
        let stage = |live| if live { Stage::Live } else { Stage::Draft };
        check(&stage(a), &stage(b), |one, two| (*one == Stage::Live).cmp(&(*two == Stage::Live)))?;
    }

    #[test]
    fn tuples_follow_their_parts(
        a in (texts(), any::<i16>(), prop::option::of(any::<u8>())),
        b in (texts(), any::<i16>(), prop::option::of(any::<u8>())),
    ) {
        check(&a, &b, Ord::cmp)?;
        check(&(a.0.clone(),), &(b.0.clone(),), Ord::cmp)?;
        check(&(Some((a.1, a.0)), a.2), &(Some((b.1, b.0)), b.2), Ord::cmp)?;
    }

    #[test]
    fn starts_of_texts_are_starts_of_their_keys(a in texts(), b in texts()) {
        let start = Operand::of(&b).fit_start("f", "str").unwrap();
        prop_assert_eq!(a.write(KeyWriter::new()).finish().starts_with(&start), a.starts_with(&b));
        let held = Operand::of(&b).fit_start("f", "option str").unwrap();
        prop_assert_eq!(Some(a.clone()).write(KeyWriter::new()).finish().starts_with(&held), a.starts_with(&b));
    }
}

#[test]
fn a_value_that_does_not_fit_the_field_is_refused_by_its_name() {
    let fit = |operand: Operand, shape: &str| message_of(operand.fit("uses", shape));
    assert_eq!(fit(Operand::of("x"), "u64"), "uses: holds u64, asked with str");
    assert_eq!(fit(Operand::of(&-1i64), "u64"), "uses: holds u64, asked with i64");
    assert_eq!(fit(Operand::of(&256u16), "u8"), "uses: holds u8, asked with u16");
    assert_eq!(fit(Operand::of(&1.0f32), "f64"), "uses: holds f64, asked with f32");
    assert_eq!(fit(Operand::of(&1u64), "timestamp"), "uses: holds timestamp, asked with u64");
    assert_eq!(kind_of(Operand::of(&1u8).fit_start("uses", "u8")), ErrorKind::Invalid);
    assert_eq!(kind_of(Operand::of(&None::<String>).fit_start("uses", "option str")), ErrorKind::Invalid);
}
