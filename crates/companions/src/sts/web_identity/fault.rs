//! What is said when a token is refused. The sentences are the real service's where they are known.

use gantry_api::Fault;
use gantry_api::sts::fault;
use gantry_domain::web_identity::claims::Refusal;

use super::issuers::KeyError;
use super::jwt::JwtError;

/// Whatever the reason: it would tell whether there is such a role.
pub(super) fn denied() -> Fault {
    Fault::new("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
}

pub(super) fn no_provider(issuer: &str) -> Fault {
    let issuer: String = issuer.chars().take(200).collect();
    invalid(format!("No OpenIDConnect provider found in your account for {issuer}"))
}

pub(super) fn not_a_token(error: JwtError) -> Fault {
    let message = match &error {
        JwtError::Malformed => "The ID Token provided is not a valid JWT.".to_owned(),
        JwtError::Algorithm(name) => format!("The signature algorithm {name:?} is not supported."),
    };
    invalid(message).caused_by(error)
}

pub(super) fn missing_claim(name: &str) -> Fault {
    invalid(format!("Missing a required claim: {name}"))
}

pub(super) fn bad_signature() -> Fault {
    invalid(
        "The web identity token that was passed could not be validated. Get a new identity token from the identity \
         provider and then retry the request.",
    )
}

pub(super) fn no_key(error: KeyError) -> Fault {
    let fault = match error {
        KeyError::Unreachable => fault::idp_communication_error_exception(
            "The request could not be fulfilled because the identity provider (IDP) that was asked to verify the \
             incoming identity token could not be reached.",
        ),
        // With its two blanks.
        KeyError::Unknown => invalid(
            "Couldn't retrieve verification key from your identity provider,  please reference \
             AssumeRoleWithWebIdentity documentation for requirements",
        ),
    };
    fault.caused_by(error)
}

pub(super) fn refused(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Missing(name) => missing_claim(name),
        Refusal::Malformed(name) => invalid(format!("The claim {name} is malformed.")),
        Refusal::Audience => invalid("Incorrect token audience"),
        // Without a blank, as the real service writes it.
        Refusal::Expired { now, expired_at } => fault::expired_token_exception(format!(
            "Token expired: current date/time {now} must be before the expiration date/time{expired_at}"
        )),
        Refusal::Future(name) => invalid(format!("The claim {name} is in the future.")),
        Refusal::Rejected(name) => fault::idp_rejected_claim_exception(format!("The claim {name} is invalid.")),
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    fault::invalid_identity_token_exception(message)
}
