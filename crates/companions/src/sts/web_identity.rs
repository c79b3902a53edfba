//! `AssumeRoleWithWebIdentity`: refused by name. No identity provider can be registered yet, so no token is one of a
//! provider that an account trusts; nothing of the token is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_api::Fault;
use gantry_api::sts::AssumeRoleWithWebIdentityRequest;
use gantry_api::sts::fault;

/// The refusal, which names the issuer that the token claims to be of.
pub(super) fn refuse(input: &AssumeRoleWithWebIdentityRequest) -> Fault {
    let token = input.web_identity_token.as_deref().unwrap_or_default();
    match issuer(token) {
        Some(issuer) => fault::invalid_identity_token_exception(format!(
            "No OpenIDConnect provider found in your account for {issuer}"
        )),
        None => fault::invalid_identity_token_exception("The ID Token provided is not a valid JWT."),
    }
}

fn issuer(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let payload: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(payload["iss"].as_str()?.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(token: &str) -> String {
        let input = AssumeRoleWithWebIdentityRequest {
            web_identity_token: Some(token.to_owned()),
            ..AssumeRoleWithWebIdentityRequest::default()
        };
        refuse(&input).message
    }

    #[test]
    fn the_refusal_names_the_issuer() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://id.example","sub":"s"}"#);
        assert_eq!(
            message(&format!("e30.{payload}.AAAA")),
            "No OpenIDConnect provider found in your account for https://id.example"
        );
        for token in ["", "a.b", "a.%%.c", "....", "e30.bm90IGpzb24.x"] {
            assert_eq!(message(token), "The ID Token provided is not a valid JWT.");
        }
    }
}
