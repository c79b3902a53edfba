//! Scalars whose wire form depends on the protocol: points in time and bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Seconds since the epoch with a millisecond fraction: a JSON number; ISO 8601 in XML.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Timestamp(pub f64);

impl Timestamp {
    /// Name that serializers of text protocols recognise to write ISO 8601 instead of a number.
    pub const NEWTYPE_NAME: &'static str = "gantry::Timestamp";

    /// From milliseconds since the epoch.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds stay below 2^53 for 285,000 years")]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis as f64 / 1000.0)
    }

    /// To milliseconds since the epoch; times before it are 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating by intent")]
    pub fn as_millis(self) -> u64 {
        (self.0 * 1000.0).round() as u64
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(Self::NEWTYPE_NAME, &self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a timestamp in epoch seconds")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Timestamp, E> {
                Ok(Timestamp(value))
            }
            #[expect(clippy::cast_precision_loss, reason = "epoch seconds fit")]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(value as f64))
            }
            #[expect(clippy::cast_precision_loss, reason = "epoch seconds fit")]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Timestamp, E> {
                Ok(Timestamp(value as f64))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Timestamp, D::Error> {
                f64::deserialize(deserializer).map(Timestamp)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Bytes; base64 in JSON and XML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Blob).map_err(|_| de::Error::custom("invalid base64"))
    }
}

/// Serde implementations of a generated open enum.
#[macro_export]
#[doc(hidden)]
macro_rules! wire_enum {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Ok(Self::from(value.as_ref()))
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl Default for $name {
            fn default() -> Self {
                Self::Unknown(String::new())
            }
        }
    };
}
