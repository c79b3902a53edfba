//! Tokens: 256 random bits that open one session's data channel once, within a minute. Only their digest is kept.

use gantry_domain::{Timestamp, limits::EXEC_TOKEN_SECONDS};
use sha2::{Digest, Sha256};

use crate::{random::Random, records::TokenRecord};

/// A new token, and what is kept of it.
pub(super) fn make(random: &Random, now: Timestamp) -> (String, TokenRecord) {
    let token = hex::encode([random.id(), random.id()].concat());
    let kept = TokenRecord { digest: digest(&token), expires_at: now.plus_seconds(EXEC_TOKEN_SECONDS) };
    (token, kept)
}

/// Whether `token` is the one that is kept, and still good. Digests are compared, so that the time it takes tells
/// nothing.
pub(super) fn is_good(token: &str, kept: Option<&TokenRecord>, now: Timestamp) -> bool {
    kept.is_some_and(|kept| kept.digest == digest(token) && now < kept.expires_at)
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_a_minute_and_for_nobody_elses_session() {
        let (random, now) = (Random::seeded(1), Timestamp::from_millis(1_000));
        let ((one, kept), (other, _)) = (make(&random, now), make(&random, now));
        assert_eq!(one.len(), 64);
        assert!(is_good(&one, Some(&kept), now.plus_millis(59_999)));
        assert!(!is_good(&one, Some(&kept), now.plus_millis(60_000)));
        assert!(!is_good(&other, Some(&kept), now));
        assert!(!is_good("", Some(&kept), now));
        assert!(!is_good(&one, None, now));
        assert!(!kept.digest.contains(&one));
    }
}
