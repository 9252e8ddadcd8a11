//! A typed property of a model or a version.
//!
//! In JSON a property is plain: `true`, `7`, `7.5`, `"text"`, `{"base64": "…"}` for bytes, and any other object, array
//! or `null` for JSON. A number with `.` or `e` is an [`f64`], one without is an [`i64`]; an integer outside `i64` and
//! a number outside `f64` are refused rather than rounded. What neither would spell as it was written (`7.50`, `-0`) is
//! kept as it was written, and compared by its value.
//!
//! Stored: the variant's number in the order below (never change it), then its value.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::base64;
use crate::error::{Error, Result};
use crate::json::Json;

/// The value of a property.
///
/// ```
/// use ml_persistence::{Json, registry::Property};
/// assert_eq!(Property::from_json(&Json::parse("7").unwrap()).unwrap(), Property::I64(7));
/// assert_eq!(Property::from_json(&Json::parse("7.0").unwrap()).unwrap(), Property::F64(7.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Property {
    /// True or false.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A finite number.
    F64(f64),
    /// Text.
    Text(String),
    /// Bytes; `{"base64": "…"}` in JSON.
    Bytes(Vec<u8>),
    /// Any other JSON, exactly as written.
    Json(Json),
    /// A finite number that is written otherwise than its `f64` would be: `7.50`, `1e3`; or the whole number `-0`. Made
    /// by [`Property::from_json`] alone; [`Property::as_f64`] and [`Property::as_i64`] are its value.
    Spelt(Json),
}

/// The one whole number that has two spellings.
const MINUS_ZERO: &str = "-0";

impl Property {
    /// The property that this JSON spells.
    ///
    /// # Errors
    /// `Invalid` for an integer outside `i64`, a number outside `f64`, and `{"base64"}` that is no base64.
    pub fn from_json(json: &Json) -> Result<Self> {
        let text = json.as_str();
        Ok(match text.as_bytes().first() {
            Some(b't') => Property::Bool(true),
            Some(b'f') => Property::Bool(false),
            Some(b'"') => Property::Text(parse(text)?),
            Some(b'-' | b'0'..=b'9') => Self::number(text)?,
            Some(b'{') => match sole_base64(text) {
                Some(digits) => Property::Bytes(base64::decode(&digits)?),
                None => Property::Json(json.clone()),
            },
            _ => Property::Json(json.clone()),
        })
    }

    fn number(text: &str) -> Result<Self> {
        if text.contains(['.', 'e', 'E']) {
            let value: f64 = text.parse().map_err(|_| Error::invalid(format!("number {text}: not a number")))?;
            let plain = Self::F64(value).checked()?;
            let spelt = serde_json::Number::from_f64(value).is_none_or(|number| number.to_string() != text);
            if spelt { Ok(Self::Spelt(Json::parse(text)?)) } else { Ok(plain) }
        } else {
            let value =
                text.parse().map_err(|_| Error::invalid(format!("number {text}: a whole number must fit i64")))?;
            // JSON has one way to write every other whole number.
            if text == MINUS_ZERO { Ok(Self::Spelt(Json::parse(text)?)) } else { Ok(Self::I64(value)) }
        }
    }

    /// The number, if this is a whole one without `.` and `e`, however it is written.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Property::I64(value) => Some(*value),
            Property::Spelt(json) if json.as_str() == MINUS_ZERO => Some(0),
            _ => None,
        }
    }

    /// The number, if this is a finite one with `.` or `e`, however it is written.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Property::F64(value) => Some(*value),
            Property::Spelt(json) if json.as_str() != MINUS_ZERO => json.as_str().parse().ok(),
            _ => None,
        }
    }

    /// Refuses what JSON can't spell: infinities and not-a-number.
    pub(crate) fn checked(self) -> Result<Self> {
        match self {
            Property::F64(value) if !value.is_finite() => {
                Err(Error::invalid(format!("number {value}: must be finite")))
            }
            Property::Spelt(_) if self.as_i64().is_none() && !self.as_f64().is_some_and(f64::is_finite) => {
                Err(Error::invalid("number: must be finite, with . or e"))
            }
            other => Ok(other),
        }
    }

    /// About the bytes that it takes stored.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Property::Bool(_) | Property::I64(_) | Property::F64(_) => 12,
            Property::Text(text) => 12 + text.len(),
            Property::Bytes(bytes) => 12 + bytes.len(),
            Property::Json(json) | Property::Spelt(json) => 12 + json.as_str().len(),
        }
    }
}

/// The digits of an object whose only field is `base64` with a text.
fn sole_base64(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sole {
        base64: String,
    }
    serde_json::from_str::<Sole>(text).ok().map(|sole| sole.base64)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::invalid(format!("property: {error}")))
}

macro_rules! from {
    ($($type:ty => $variant:ident;)*) => {$(
        impl From<$type> for Property {
            fn from(value: $type) -> Self {
                Property::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool;
    i64 => I64;
    i32 => I64;
    u32 => I64;
    f64 => F64;
    f32 => F64;
    &str => Text;
    String => Text;
    Vec<u8> => Bytes;
    Json => Json;
    serde_json::Value => Json;
}

impl Serialize for Property {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return match self {
                Property::Bool(value) => serializer.serialize_bool(*value),
                Property::I64(value) => serializer.serialize_i64(*value),
                Property::F64(value) => serializer.serialize_f64(*value),
                Property::Text(text) => serializer.serialize_str(text),
                Property::Bytes(bytes) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry("base64", &base64::encode(bytes))?;
                    map.end()
                }
                Property::Json(json) | Property::Spelt(json) => json.serialize(serializer),
            };
        }
        const NAME: &str = "Property";
        match self {
            Property::Bool(value) => serializer.serialize_newtype_variant(NAME, 0, "Bool", value),
            Property::I64(value) => serializer.serialize_newtype_variant(NAME, 1, "I64", value),
            Property::F64(value) => serializer.serialize_newtype_variant(NAME, 2, "F64", value),
            Property::Text(text) => serializer.serialize_newtype_variant(NAME, 3, "Text", text),
            Property::Bytes(bytes) => serializer.serialize_newtype_variant(NAME, 4, "Bytes", &Bytes(bytes.as_slice())),
            Property::Json(json) => serializer.serialize_newtype_variant(NAME, 5, "Json", json),
            Property::Spelt(json) => serializer.serialize_newtype_variant(NAME, 6, "Spelt", json),
        }
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The stored form, variant by variant in the order that `serialize` numbers them.
        #[derive(Deserialize)]
        enum Stored {
            Bool(bool),
            I64(i64),
            F64(f64),
            Text(String),
            Bytes(Bytes<Vec<u8>>),
            Json(Json),
            Spelt(Json),
        }
        if deserializer.is_human_readable() {
            return Property::from_json(&Json::deserialize(deserializer)?).map_err(de::Error::custom);
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Bool(value) => Property::Bool(value),
            Stored::I64(value) => Property::I64(value),
            Stored::F64(value) => Property::F64(value),
            Stored::Text(text) => Property::Text(text),
            Stored::Bytes(bytes) => Property::Bytes(bytes.0),
            Stored::Json(json) => Property::Json(json),
            Stored::Spelt(json) => Property::Spelt(json),
        })
    }
}

/// Bytes that serde moves as one block instead of one by one.
pub(crate) struct Bytes<B>(pub(crate) B);

impl<B: AsRef<[u8]>> Serialize for Bytes<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_ref())
    }
}

impl<'de> Deserialize<'de> for Bytes<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Block;
        impl Visitor<'_> for Block {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Block).map(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Property> {
        Property::from_json(&Json::parse(text)?)
    }

    #[test]
    fn json_is_typed_by_how_it_is_written_and_comes_back_the_same() {
        for (text, property) in [
            ("true", Property::Bool(true)),
            ("false", Property::Bool(false)),
            ("7", Property::I64(7)),
            ("-9223372036854775808", Property::I64(i64::MIN)),
            ("9223372036854775807", Property::I64(i64::MAX)),
            ("7.0", Property::F64(7.0)),
            ("\"a\\\"b\"", Property::from("a\"b")),
            ("{\"base64\":\"AQI=\"}", Property::from(vec![1u8, 2])),
            ("{\"base64\":7}", Property::Json(Json::parse("{\"base64\":7}").unwrap())),
            ("{\"base64\":\"AQI=\",\"x\":1}", Property::Json(Json::parse("{\"base64\":\"AQI=\",\"x\":1}").unwrap())),
            ("[1,1.50]", Property::Json(Json::parse("[1,1.50]").unwrap())),
            ("null", Property::Json(Json::null())),
        ] {
            assert_eq!(of(text).unwrap(), property, "{text}");
            assert_eq!(serde_json::to_string(&property).unwrap(), text);
        }
        for (text, value) in [("1e3", 1000.0), ("7.50", 7.5), ("0.1E1", 1.0), ("-0.00", -0.0), ("1e-400", 0.0)] {
            let property = of(text).unwrap();
            assert_eq!(property.as_f64().map(f64::to_bits), Some(f64::to_bits(value)), "{text}");
            assert_eq!(serde_json::to_string(&property).unwrap(), text);
        }
        assert_eq!((Property::F64(2.5).as_f64(), Property::I64(2).as_f64()), (Some(2.5), None));
        let minus = of("-0").unwrap();
        assert_eq!(
            (minus.as_i64(), minus.as_f64(), serde_json::to_string(&minus).unwrap().as_str()),
            (Some(0), None, "-0")
        );
        assert!(minus.checked().is_ok());
        let forged = Property::Spelt(Json::parse("\"text\"").unwrap());
        assert!(forged.checked().is_err());
    }

    #[test]
    fn numbers_that_would_have_to_be_rounded_away_are_refused() {
        for text in ["9223372036854775808", "-9223372036854775809", "1e400", "{\"base64\":\"A\"}"] {
            assert_eq!(of(text).unwrap_err().kind(), crate::ErrorKind::Invalid, "{text}");
        }
        assert!(Property::from(f64::NAN).checked().is_err());
    }
}
