//! Typed names and ids.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::{NAME_LENGTH_MAX, REVISIONS_PER_FAMILY_MAX};

/// Why a text is not the name or id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long or with a character that names may not have.
    #[error("a name has 1 to {NAME_LENGTH_MAX} letters, digits, hyphens and underscores")]
    Name,
    /// Not 32 lower-case hexadecimal digits.
    #[error("an id has 32 hexadecimal digits")]
    Id,
    /// Not a positive decimal number.
    #[error("a revision is a positive number, not {0:?}")]
    Revision(String),
}

/// A cluster, service, family, container or capacity provider name: 1–255 of `[A-Za-z0-9_-]`. Clones share the text: keys
/// are copied all the time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The name that a task definition's revisions share.
pub type Family = Name;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match text.len() {
            1..=NAME_LENGTH_MAX if text.bytes().all(allowed) => Ok(Self(text.into())),
            _ => Err(IdError::Name),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

/// 16 bytes shown as 32 hexadecimal digits; kept as bytes because a view holds a hundred thousand of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Hex([u8; 16]);

impl FromStr for Hex {
    type Err = IdError;

    /// Takes the 32 digits of today and the hyphenated UUID of the ids before 2018.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits: Vec<u8> = match text.len() {
            32 => text.bytes().collect(),
            36 if [8, 13, 18, 23].iter().all(|&at| text.as_bytes()[at] == b'-') => {
                text.bytes().enumerate().filter(|(at, _)| ![8, 13, 18, 23].contains(at)).map(|(_, byte)| byte).collect()
            }
            _ => return Err(IdError::Id),
        };
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Result<u8, IdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(IdError::Id),
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Hex);

        impl $name {
            /// The id made of these (random) bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Hex(bytes))
            }

            /// The bytes of the id.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

hex_id!(
    /// The id of a task: 32 lower-case hexadecimal digits on the wire.
    TaskId
);
hex_id!(
    /// The id of a container instance: 32 lower-case hexadecimal digits on the wire.
    ContainerInstanceId
);

/// The hyphenated text of a random (version 4) UUID, made from 16 random bytes: containers, attachments, events.
pub fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = Hex(bytes).to_string();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The number of a task definition within its family, counted from 1 and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u32);

impl Revision {
    /// The first revision of a family.
    pub const FIRST: Self = Self(1);

    /// The revision with this number, if it is one that can exist.
    pub fn new(number: u32) -> Option<Self> {
        (1..=REVISIONS_PER_FAMILY_MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The next revision, or none at the quota.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl FromStr for Revision {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse().ok().and_then(Self::new))
            .flatten()
            .ok_or_else(|| IdError::Revision(text.to_owned()))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// `family:revision`. Ordered as ListTaskDefinitions lists: by family, then by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskDefinitionKey {
    /// The family.
    pub family: Family,
    /// The revision within the family.
    pub revision: Revision,
}

impl fmt::Display for TaskDefinitionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.family, self.revision)
    }
}
