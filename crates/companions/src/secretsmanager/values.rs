//! The values of secrets: sealed in the store, open only in the hands of a request.

use gantry_api::{Blob, Fault};

use super::rows::{Secret, value_key};
use super::{Inner, fault};

/// A value. It does not show when it is printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Binary(Vec<u8>),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value(…)")
    }
}

const TEXT: u8 = b't';
const BINARY: u8 = b'b';

impl Value {
    /// What a request gives: one of the two, or none.
    pub(super) fn of(text: Option<String>, binary: Option<Blob>) -> Result<Option<Self>, Fault> {
        match (text, binary) {
            (Some(_), Some(_)) => Err(fault::parameter(
                "You can't specify both a binary secret value and a string secret value in the same secret.",
            )),
            (Some(text), None) => Ok(Some(Self::Text(text))),
            (None, Some(Blob(bytes))) => Ok(Some(Self::Binary(bytes))),
            (None, None) => Ok(None),
        }
    }

    /// As the members `SecretString` and `SecretBinary`.
    pub(super) fn into_members(self) -> (Option<String>, Option<Blob>) {
        match self {
            Self::Text(text) => (Some(text), None),
            Self::Binary(bytes) => (None, Some(Blob(bytes))),
        }
    }
}

/// What a value is sealed for, so that it opens for no other secret or version.
fn context(id: &str, version: &str) -> String {
    format!("secret {id} {version}")
}

impl Inner {
    /// Seals the value of a version.
    pub(super) fn seal(&self, id: &str, version: &str, value: &Value) -> Result<Vec<u8>, Fault> {
        let (kind, bytes) = match value {
            Value::Text(text) => (TEXT, text.as_bytes()),
            Value::Binary(bytes) => (BINARY, bytes.as_slice()),
        };
        let plain = [&[kind], bytes].concat();
        self.sealer.seal(&context(id, version), &plain).map_err(fault::encryption)
    }

    /// The value of a version.
    pub(super) async fn value(&self, secret: &Secret, version: &str) -> Result<Value, Fault> {
        let id = &secret.row.id;
        let found = self.store.get(&value_key(id, version)).await.map_err(fault::store)?;
        // Row and value are written and removed together: one that is missing was removed a moment ago.
        let sealed = found.ok_or_else(|| fault::no_version(version))?;
        let plain = self.sealer.open_sealed(&context(id, version), &sealed.value).map_err(fault::decryption)?;
        match plain.split_first() {
            Some((&TEXT, text)) => String::from_utf8(text.to_vec()).map(Value::Text).map_err(|_| fault::damaged()),
            Some((&BINARY, bytes)) => Ok(Value::Binary(bytes.to_vec())),
            _ => Err(fault::damaged()),
        }
    }
}
