//! JSON text kept as it was written: checked once, white space outside strings removed, numbers untouched.
//!
//! `7` stays `7`, `7.0` stays `7.0`, and an integer beyond 64 bits keeps every digit, because the text is never turned
//! into numbers and back. Two texts are equal when their bytes are equal: the order of an object's keys and repeated
//! keys are kept too.
//!
//! It refuses what could not be taken apart again later: text that is not JSON, numbers beyond the range of `f64`,
//! lone surrogates, and nesting deeper than 127.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};

/// A JSON document as text.
///
/// ```
/// use ml_persistence::Json;
/// let json = Json::parse(r#" { "depth": 7.0 } "#)?;
/// assert_eq!(json.as_str(), r#"{"depth":7.0}"#);
/// # Ok::<(), ml_persistence::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Checks `text` and keeps it without the white space outside strings.
    ///
    /// # Errors
    /// `Invalid` for anything but one JSON document; see the module for what else is refused.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str::<Plain>(text)
            .map_err(|source| Error::with_source(ErrorKind::Invalid, format!("not JSON: {source}"), source))?;
        Ok(Json(compact(text).into()))
    }

    /// The document `null`.
    #[must_use]
    pub fn null() -> Self {
        Json("null".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The document as a tree of values. Here integers beyond 64 bits become `f64`, and the last of repeated keys
    /// wins. A document nested deeper than 127, which only `From<Value>` can make, comes back as a string that holds
    /// its text.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match serde_json::from_str::<Plain>(&self.0) {
            Ok(Plain(value)) => value,
            Err(_) => Value::String(self.0.to_string()),
        }
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({})", self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Json {
    fn default() -> Self {
        Json::null()
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Json(value.to_string().into())
    }
}

/// In human-readable formats the document itself (through `RawValue`, which `serde_json` alone understands); in
/// binary ones a string.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
            raw.serialize(serializer)
        } else {
            serializer.serialize_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let raw = Box::<RawValue>::deserialize(deserializer)?;
            Json::parse(raw.get()).map_err(D::Error::custom)
        } else {
            // Only the syntax is looked at: depth was the writer's choice, and refusing it here would make a stored
            // record unreadable.
            let text = String::deserialize(deserializer)?;
            serde_json::from_str::<&RawValue>(&text).map_err(D::Error::custom)?;
            Ok(Json(text.into()))
        }
    }
}

/// A value built without `serde_json`'s private keys: `Value`'s own reader gives the key
/// `$serde_json::private::RawValue` a meaning, and a host's document may hold any key.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Plain)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> std::result::Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((name, Plain(value))) = fields.next_entry::<String, Plain>()? {
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Valid JSON without the white space outside its strings.
fn compact(text: &str) -> Cow<'_, str> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    if !text.contains(blank) {
        return Cow::Borrowed(text);
    }
    let (mut quoted, mut escaped) = (false, false);
    let kept = text.chars().filter(|&c| {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
            return true;
        }
        quoted = c == '"';
        !blank(c)
    });
    Cow::Owned(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for text in ["7", "7.0", "-0", "1e5", "1E+05", "123456789012345678901234567890", "0.1000"] {
            assert_eq!(Json::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn white_space_goes_outside_strings_and_stays_inside() {
        let json = Json::parse(" { \"a b\\\" c\" :\t[ 1 ,\r\n \" \\\\\" ] } ").unwrap();
        assert_eq!(json.as_str(), "{\"a b\\\" c\":[1,\" \\\\\"]}");
    }

    #[test]
    fn what_is_not_one_document_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let bad =
            ["", " ", "{", "1 2", "{\"a\":}", "nul", "01", "+1", "1.", "1e999", "\"\\ud800\"", "\"\n\"", "NaN", &deep];
        for text in bad {
            assert_eq!(Json::parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn a_key_that_serde_json_keeps_for_itself_is_a_key_like_any_other() {
        for text in [r#"{"$serde_json::private::RawValue":5}"#, r#"{"$serde_json::private::RawValue":"[1]"}"#] {
            let json = Json::parse(text).unwrap();
            assert!(json.to_value().get("$serde_json::private::RawValue").is_some());
            assert_eq!(serde_json::to_string(&json).unwrap(), text);
        }
    }

    #[test]
    fn it_stands_in_a_larger_document_as_itself() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Outer {
            a: Json,
        }
        let outer: Outer = serde_json::from_str("{\"a\": {\"n\": 7.0 } }").unwrap();
        assert_eq!(outer.a.as_str(), "{\"n\":7.0}");
        assert_eq!(serde_json::to_string(&outer).unwrap(), "{\"a\":{\"n\":7.0}}");
    }

    #[test]
    fn a_tree_of_values_deeper_than_the_parser_goes_is_kept() {
        let mut value = Value::Null;
        for _ in 0..300 {
            value = Value::Array(vec![value]);
        }
        let json = Json::from(value);
        assert_eq!(json.to_value(), Value::String(json.as_str().to_owned()));
        assert_eq!(serde_json::to_string(&json).unwrap(), json.as_str());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has none", |f| f.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn spread_out_or_compact_a_document_parses_to_the_same_text(value in values()) {
            let spread = Json::parse(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
            prop_assert_eq!(&spread, &Json::from(value.clone()));
            prop_assert_eq!(Json::parse(spread.as_str()).unwrap(), spread);
        }
    }
}
