//! The values of parameters: sealed in the store, open only in the hands of a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use gantry_api::Fault;

use super::rows::{Parameter, SECURE, value_key};
use super::{Inner, fault};

/// What a value is sealed for, so that it opens for no other parameter or version.
fn context(id: &str, version: u64) -> String {
    format!("parameter {id} {version}")
}

impl Inner {
    /// Seals the value of a version.
    pub(super) fn seal(&self, id: &str, version: u64, value: &str) -> Result<Vec<u8>, Fault> {
        self.sealer.seal(&context(id, version), value.as_bytes()).map_err(fault::unavailable)
    }

    /// The value of a version as a request sees it: a secure one only when it asks for it decrypted.
    pub(super) async fn value(&self, parameter: &Parameter, version: u64, decrypted: bool) -> Result<String, Fault> {
        let row = &parameter.row;
        let found = self.store.get(&value_key(&row.id, version)).await.map_err(fault::store)?;
        // Row and value are written and removed together: one that is missing was removed a moment ago.
        let sealed = found.ok_or_else(|| fault::not_found(&row.name))?;
        if row.kind == SECURE && !decrypted {
            return Ok(BASE64.encode(&sealed.value));
        }
        let plain = self.sealer.open_sealed(&context(&row.id, version), &sealed.value).map_err(fault::not_ours)?;
        String::from_utf8(plain).map_err(fault::unavailable)
    }
}
