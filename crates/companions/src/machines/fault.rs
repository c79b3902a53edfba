//! What a machine or an operator is told when something is refused. Nothing here tells which part of a secret was wrong.

use gantry_api::Fault;
use gantry_store::StoreError;

pub(super) fn token_refused() -> Fault {
    Fault::new("JoinTokenRefused", 403, "The join token is unknown, used up or has expired.")
}

pub(super) fn activation_refused() -> Fault {
    Fault::new("InvalidActivation", 403, "The activation is unknown, used up or has expired, or its code is another.")
}

/// Agents know this code: their identity is worth nothing any more.
pub(super) fn machine_revoked() -> Fault {
    Fault::new("MachineRevoked", 403, "This machine's identity is not known, or was revoked.")
}

pub(super) fn bad_signature() -> Fault {
    Fault::new("InvalidSignature", 403, "The statement is not signed with this machine's key.")
}

pub(super) fn clock_skew() -> Fault {
    Fault::new("ClockSkew", 403, "The machine's clock and the server's differ by more than five minutes.")
}

pub(super) fn no_role(role: &str) -> Fault {
    Fault::new("RoleNotFound", 403, format!("The account has no role {role} for this machine."))
}

pub(super) fn bad_key() -> Fault {
    invalid("publicKey is not an Ed25519 public key in base64.")
}

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("ValidationException", 400, message)
}

pub(super) fn too_many_tokens() -> Fault {
    Fault::new("LimitExceededException", 400, "There are too many join tokens; revoke some first.")
}

pub(super) fn no_token(id: &str) -> Fault {
    Fault::new("ResourceNotFoundException", 400, format!("There is no join token {id}."))
}

pub(super) fn no_machine(id: &str) -> Fault {
    Fault::new("ResourceNotFoundException", 400, format!("There is no machine {id}."))
}

pub(super) fn store(error: StoreError) -> Fault {
    unavailable(error)
}

pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new("InternalFailure", 500, "The request processing has failed because of an unknown error.")
        .caused_by(error)
}

pub(super) fn busy() -> Fault {
    Fault::new("ServiceUnavailable", 503, "Others are changing the same thing; try again.")
}
