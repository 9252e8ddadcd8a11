//! The fields of one JSON object, asked for by name and type.
//!
//! Every refusal names the field and says what was expected and what came. An optional field given as `null` counts as
//! left out; where `null` is a value of its own, [`Fields::json_opt`] keeps it. What a field holds stays the text that
//! was sent until somebody asks for a type, so numbers are never rounded on the way.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::RangeInclusive;

use ml_persistence::{Error, Json, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of an object, each as it was written.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    given: BTreeMap<String, &'a RawValue>,
    /// The first name that occurred twice: which of the two was meant, nobody can say.
    doubled: Option<String>,
    /// Where the object stands, for messages: empty for a request, `ops[3].` inside a list.
    place: String,
}

impl<'a> Fields<'a> {
    /// The fields of the object that `text` is.
    pub fn parse(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::invalid(format!("request: one JSON object a line: {error}")))
    }

    /// The field as it was written, `null` included.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.given.get(name).copied()
    }

    /// Refuses a name that occurs twice and, where `known` lists the possible ones, any other name.
    pub fn check(&self, known: Option<&[&[&str]]>) -> Result<()> {
        if let Some(name) = &self.doubled {
            return Err(self.wrong(name, "given twice"));
        }
        let Some(known) = known else { return Ok(()) };
        match self.given.keys().find(|name| !known.iter().any(|names| names.contains(&name.as_str()))) {
            None => Ok(()),
            Some(name) => {
                let names: Vec<&str> = known.iter().flat_map(|names| names.iter().copied()).collect();
                Err(self.wrong(name, format!("unknown field; known: {}", names.join(", "))))
            }
        }
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<String> {
        self.need(name, self.text_opt(name)?, "a string")
    }

    /// A string, if given.
    pub fn text_opt(&self, name: &str) -> Result<Option<String>> {
        self.typed(name, "a string")
    }

    /// An integer within `range`.
    pub fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<u64> {
        let expected = format!("integer {}..={}", range.start(), range.end());
        self.need(name, self.integer_opt(name, range)?, &expected)
    }

    /// An integer within `range`, if given.
    pub fn integer_opt(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let expected = format!("integer {}..={}", range.start(), range.end());
        match self.typed::<u64>(name, &expected)? {
            Some(number) if !range.contains(&number) => Err(self.wrong(name, format!("{expected}, got {number}"))),
            number => Ok(number),
        }
    }

    /// `true` or `false`, if given.
    pub fn flag_opt(&self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false")
    }

    /// Any JSON, `null` included.
    pub fn json(&self, name: &str) -> Result<Json> {
        self.need(name, self.json_opt(name)?, "any JSON")
    }

    /// Any JSON, if given; a given `null` is a value.
    pub fn json_opt(&self, name: &str) -> Result<Option<Json>> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        Json::parse(raw.get()).map(Some).map_err(|error| self.wrong(name, error))
    }

    /// The refusal of field `name`: its place, its name, and what is wrong.
    pub fn wrong(&self, name: &str, problem: impl fmt::Display) -> Error {
        Error::invalid(format!("{}{name}: {problem}", self.place))
    }

    /// A list of strings.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.need(name, self.typed(name, "a list of strings")?, "a list of strings")
    }

    /// A list of strings, if given.
    pub fn texts_opt(&self, name: &str) -> Result<Option<Vec<String>>> {
        self.typed(name, "a list of strings")
    }

    /// An object, if given.
    pub fn object_opt(&self, name: &str) -> Result<Option<Fields<'a>>> {
        let Some(mut object) = self.typed::<Fields<'a>>(name, "an object")? else { return Ok(None) };
        object.place = format!("{}{name}.", self.place);
        // Whatever its names are, none may come twice.
        object.check(None)?;
        Ok(Some(object))
    }

    /// An object whose values are strings, if given.
    pub fn text_map_opt(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let Some(object) = self.object_opt(name)? else { return Ok(None) };
        let mut map = BTreeMap::new();
        for key in object.given.keys() {
            map.insert(key.clone(), object.text(key)?);
        }
        Ok(Some(map))
    }

    /// An object whose values are any JSON, if given.
    pub fn json_map_opt(&self, name: &str) -> Result<Option<BTreeMap<String, Json>>> {
        let Some(object) = self.object_opt(name)? else { return Ok(None) };
        let mut map = BTreeMap::new();
        for key in object.given.keys() {
            map.insert(key.clone(), object.json(key)?);
        }
        Ok(Some(map))
    }

    /// A list of 1..=`max` objects.
    pub fn objects(&self, name: &str, max: usize) -> Result<Vec<Fields<'a>>> {
        let expected = format!("a list of 1..={max} objects");
        let given: Vec<&'a RawValue> = self.need(name, self.typed(name, &expected)?, &expected)?;
        if given.is_empty() || given.len() > max {
            return Err(self.wrong(name, format!("{expected}, got {}", given.len())));
        }
        let object = |(index, raw): (usize, &'a RawValue)| {
            let place = format!("{}{name}[{index}]", self.place);
            let mut fields: Fields<'a> = serde_json::from_str(raw.get())
                .map_err(|_| Error::invalid(format!("{place}: an object, got {}", shown(raw))))?;
            fields.place = format!("{place}.");
            Ok(fields)
        };
        given.into_iter().enumerate().map(object).collect()
    }

    fn typed<T: Deserialize<'a>>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(raw) = self.raw(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
        let wrong = |_| self.wrong(name, format!("{expected}, got {}", shown(raw)));
        serde_json::from_str(raw.get()).map(Some).map_err(wrong)
    }

    fn need<T>(&self, name: &str, value: Option<T>, expected: &str) -> Result<T> {
        value.ok_or_else(|| {
            let got = if self.given.contains_key(name) { "null" } else { "nothing" };
            self.wrong(name, format!("{expected} is required, got {got}"))
        })
    }
}

/// A value as messages show it: its beginning.
fn shown(raw: &RawValue) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = raw.get();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    match fields.given.entry(name) {
                        Entry::Vacant(place) => {
                            place.insert(value);
                        }
                        // The first one stays, so that even such a request gets its id back.
                        Entry::Occupied(place) => {
                            fields.doubled.get_or_insert_with(|| place.key().clone());
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_the_field_and_what_came() {
        let fields = Fields::parse(r#"{"limit":0,"key":7,"on":"yes","ops":[{"op":"put"},3],"far":1.0}"#).unwrap();
        assert_eq!(refusal(fields.integer_opt("limit", 1..=9)), "limit: integer 1..=9, got 0");
        assert_eq!(refusal(fields.text("key")), "key: a string, got 7");
        assert_eq!(refusal(fields.text("namespace")), "namespace: a string is required, got nothing");
        assert_eq!(refusal(fields.flag_opt("on")), r#"on: true or false, got "yes""#);
        assert_eq!(refusal(fields.objects("ops", 9)), "ops[1]: an object, got 3");
        assert_eq!(refusal(fields.objects("ops", 1)), "ops: a list of 1..=1 objects, got 2");
        assert_eq!(refusal(fields.integer("far", 0..=9)), "far: integer 0..=9, got 1.0");
    }

    #[test]
    fn null_is_left_out_except_where_it_is_a_value() {
        let fields = Fields::parse(r#"{"after":null,"value":null}"#).unwrap();
        assert_eq!(fields.text_opt("after").unwrap(), None);
        assert_eq!(refusal(fields.text("after")), "after: a string is required, got null");
        assert_eq!(fields.json("value").unwrap().as_str(), "null");
        assert!(fields.json_opt("payload").unwrap().is_none());
    }

    #[test]
    fn unknown_and_doubled_names_are_refused_at_every_depth() {
        let fields = Fields::parse(r#"{"id":1,"kee":2}"#).unwrap();
        assert_eq!(refusal(fields.check(Some(&[&["id"], &["key"]]))), "kee: unknown field; known: id, key");
        let fields = Fields::parse(r#"{"id":1,"id":2,"tags":{"a":"x","a":"y"}}"#).unwrap();
        assert_eq!(refusal(fields.check(None)), "id: given twice");
        assert_eq!(fields.raw("id").unwrap().get(), "1");
        assert_eq!(refusal(fields.text_map_opt("tags")), "tags.a: given twice");
    }
}
