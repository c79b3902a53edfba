//! Tokens that were checked a moment ago. A pull sends the same credentials with every request, and decoding and
//! checking them costs as much as the rest of a small answer.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_domain::Timestamp;
use parking_lot::Mutex;

use crate::token::{TokenError, TokenKey, Verified};

/// Distinct credentials remembered; when there are more, all are forgotten and checked again.
const REMEMBERED_MAX: usize = 1024;

pub(crate) struct VerifiedTokens {
    pub(crate) key: TokenKey,
    remembered: Mutex<HashMap<String, Arc<Verified>>>,
}

impl VerifiedTokens {
    pub(crate) fn new(key: TokenKey) -> Self {
        Self { key, remembered: Mutex::default() }
    }

    /// Who holds these `Basic` credentials. Only good ones are remembered, and they expire all the same.
    pub(crate) fn verify_basic(&self, credentials: &str, now: Timestamp) -> Result<Arc<Verified>, TokenError> {
        if let Some(known) = self.remembered.lock().get(credentials) {
            return if now < known.expires { Ok(Arc::clone(known)) } else { Err(TokenError::Expired) };
        }
        let verified = Arc::new(self.key.verify_basic(credentials, now)?);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(credentials.to_owned(), Arc::clone(&verified));
        Ok(verified)
    }
}
