//! What a field of a record holds, as a filter sees it.

use std::borrow::Cow;

use super::number::Number;
use crate::json::Json;
use crate::registry::property::Property;

/// The value of a field.
#[derive(Debug)]
pub(crate) enum Held<'r> {
    /// The record does not have it.
    Absent,
    /// A text.
    Text(Cow<'r, str>),
    /// A number.
    Number(Number),
    /// True or false.
    Bool(bool),
    /// There, but neither equal to nor ordered against anything: bytes, a JSON object, array or `null`.
    Incomparable,
}

impl<'r> Held<'r> {
    pub(crate) fn text(text: Option<&'r str>) -> Self {
        text.map_or(Held::Absent, |text| Held::Text(Cow::Borrowed(text)))
    }

    pub(crate) fn whole(number: impl Into<i128>) -> Self {
        Held::Number(Number::Whole(number.into()))
    }

    pub(crate) fn property(property: Option<&'r Property>) -> Self {
        match property {
            None => Held::Absent,
            Some(Property::Bool(value)) => Held::Bool(*value),
            Some(Property::I64(value)) => Held::whole(*value),
            Some(Property::F64(value)) => Held::Number(Number::Float(*value)),
            Some(Property::Text(text)) => Held::text(Some(text)),
            Some(Property::Bytes(_)) => Held::Incomparable,
            Some(Property::Json(json) | Property::Spelt(json)) => Held::json(Some(json)),
        }
    }

    pub(crate) fn json(json: Option<&'r Json>) -> Self {
        let Some(text) = json.map(Json::as_str) else { return Held::Absent };
        match text.as_bytes().first() {
            Some(b't') => Held::Bool(true),
            Some(b'f') => Held::Bool(false),
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(text) => Held::Text(Cow::Owned(text)),
                // Json has checked it, so this is out of reach.
                Err(_) => Held::Incomparable,
            },
            Some(b'-' | b'0'..=b'9') => Number::parse(text).map_or(Held::Incomparable, Held::Number),
            _ => Held::Incomparable,
        }
    }
}
