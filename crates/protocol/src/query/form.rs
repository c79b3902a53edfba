//! A form as a tree, and a serde deserializer that reads typed input from it.

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode;
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::Error},
    forward_to_deserialize_any,
};

/// More fields than any real request has; a hostile form is refused before it becomes a tree.
const FIELDS_MAX: usize = 10_000;
/// Deepest real input is about 8.
const DEPTH_MAX: usize = 32;

/// A parsed form: fields by dotted path.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Form {
    value: Option<String>,
    children: BTreeMap<String, Form>,
}

impl Form {
    /// Parses `application/x-www-form-urlencoded` bytes.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let mut root = Self::default();
        for (count, pair) in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            if count >= FIELDS_MAX {
                return Err("the request has too many parameters");
            }
            let mut sides = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(sides.next().unwrap_or_default())?;
            let value = decode(sides.next().unwrap_or_default())?;
            root.insert(&name, value)?;
        }
        Ok(root)
    }

    fn insert(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        let mut at = self;
        for (depth, part) in name.split('.').enumerate() {
            if depth >= DEPTH_MAX {
                return Err("a parameter name is nested too deeply");
            }
            at = at.children.entry(part.to_string()).or_default();
        }
        at.value = Some(value);
        Ok(())
    }

    /// A top-level field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.children.get(name)?.value.as_deref()
    }

    /// The elements of a top-level list.
    pub(crate) fn list(&self, name: &str) -> Vec<&Form> {
        self.children.get(name).map(Self::elements).unwrap_or_default()
    }

    /// The value of an element that is a text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Reads a typed input.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Node(self))
    }

    /// The elements of a list: `NAME.member.1`, `NAME.member.2` … in numeric order (gaps are allowed).
    fn elements(&self) -> Vec<&Form> {
        let list = self.children.get("member").or_else(|| self.children.get("entry")).unwrap_or(self);
        let mut elements: Vec<(u32, &Form)> =
            list.children.iter().filter_map(|(index, form)| Some((index.parse().ok()?, form))).collect();
        elements.sort_by_key(|(index, _)| *index);
        elements.into_iter().map(|(_, form)| form).collect()
    }
}

fn decode(bytes: &[u8]) -> Result<String, &'static str> {
    let spaced: Cow<'_, [u8]> = if bytes.contains(&b'+') {
        bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>().into()
    } else {
        bytes.into()
    };
    let text = percent_decode(&spaced).decode_utf8().map_err(|_| "a parameter is not UTF-8")?;
    Ok(text.into_owned())
}

/// A place in the form, as a deserializer: what is asked for decides how it is read.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Form);

impl Node<'_> {
    fn text(&self) -> &str {
        self.0.value.as_deref().unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, Error> {
        let text = self.text();
        let shown: String = text.chars().take(40).collect();
        text.parse().map_err(|_| de::Error::custom(format_args!("'{shown}' is not a valid number")))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text().parse::<f64>() {
            Ok(number) => visitor.visit_f64(number),
            Err(_) => visitor.visit_str(self.text()),
        }
    }

    numbers! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(de::Error::custom("expected true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements(self.0.elements().into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries: Vec<(&str, &Form)> = self.0.children.iter().map(|(name, form)| (name.as_str(), form)).collect();
        visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
    }

    /// `NAME.entry.1.key=…&NAME.entry.1.value=…`
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let pair = |form: &'_ Form| Some((form.get("key")?.to_string(), form.children.get("value")?.clone()));
        let pairs: Vec<(String, Form)> = self.0.elements().into_iter().filter_map(pair).collect();
        let entries: Vec<(&str, &Form)> = pairs.iter().map(|(key, form)| (key.as_str(), form)).collect();
        visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier }
}

struct Elements<'a>(std::vec::IntoIter<&'a Form>);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|form| seed.deserialize(Node(form))).transpose()
    }
}

struct Entries<'a> {
    entries: std::vec::IntoIter<(&'a str, &'a Form)>,
    value: Option<&'a Form>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, form)) = self.entries.next() else { return Ok(None) };
        self.value = Some(form);
        seed.deserialize(name.into_deserializer()).map(Some)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let form = self.value.take().ok_or_else(|| de::Error::custom("a value without its name"))?;
        seed.deserialize(Node(form))
    }
}
