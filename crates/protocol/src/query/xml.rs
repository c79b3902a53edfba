//! A serde serializer that writes XML as the Query services do: lists as `<member>`, maps as `<entry>`.

use gantry_api::Timestamp;
use serde::{
    Serialize, Serializer,
    ser::{self, Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};

/// The inner XML of `output`.
pub(super) fn to_string<T: Serialize>(output: &T) -> Result<String, Error> {
    let mut out = String::new();
    output.serialize(Xml { out: &mut out, iso_timestamp: false })?;
    Ok(out)
}

/// Text with the characters replaced that XML gives a meaning; control characters that XML cannot hold become `?`.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(letter),
            '\r' => out.push_str("&#13;"),
            control if control < ' ' => out.push('?'),
            _ => out.push(letter),
        }
    }
    out
}

/// A value that the Query protocol has no form for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Error(String);

impl ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Xml<'a> {
    out: &'a mut String,
    iso_timestamp: bool,
}

macro_rules! displayed {
    ($($method:ident $type:ty)*) => {$(
        fn $method(self, value: $type) -> Result<(), Error> {
            self.out.push_str(&value.to_string());
            Ok(())
        }
    )*};
}

impl<'a> Serializer for Xml<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = List<'a>;
    type SerializeMap = Map<'a>;
    type SerializeStruct = Structure<'a>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    displayed! {
        serialize_bool bool serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_f32 f32
    }

    #[expect(clippy::cast_possible_truncation, reason = "timestamps in milliseconds fit an i64")]
    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        if !self.iso_timestamp {
            self.out.push_str(&value.to_string());
            return Ok(());
        }
        let nanoseconds = i128::from((value * 1000.0).round() as i64) * 1_000_000;
        let moment = time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).map_err(ser::Error::custom)?;
        let text = moment.format(&time::format_description::well_known::Rfc3339).map_err(ser::Error::custom)?;
        self.out.push_str(&text);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.out.push_str(&escape(value));
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        Err(Error("bytes outside a blob".into()))
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(Xml { iso_timestamp: name == Timestamp::NEWTYPE_NAME, ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a>, Error> {
        Ok(List { out: self.out })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Map<'a>, Error> {
        Ok(Map { out: self.out })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Structure<'a>, Error> {
        Ok(Structure { out: self.out })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(Error("a tuple has no wire form".into()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(Error("a tuple has no wire form".into()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(Error("a tuple has no wire form".into()))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(Error("a variant with members has no wire form".into()))
    }
}

/// Writes `<name>value</name>`.
fn element<T: Serialize + ?Sized>(out: &mut String, name: &str, value: &T) -> Result<(), Error> {
    out.push_str(&format!("<{name}>"));
    value.serialize(Xml { out, iso_timestamp: false })?;
    out.push_str(&format!("</{name}>"));
    Ok(())
}

struct List<'a> {
    out: &'a mut String,
}

impl SerializeSeq for List<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        element(self.out, "member", value)
    }
    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

struct Map<'a> {
    out: &'a mut String,
}

impl SerializeMap for Map<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.out.push_str("<entry>");
        element(self.out, "key", key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        element(self.out, "value", value)?;
        self.out.push_str("</entry>");
        Ok(())
    }
    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

struct Structure<'a> {
    out: &'a mut String,
}

impl SerializeStruct for Structure<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        element(self.out, name, value)
    }
    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}
