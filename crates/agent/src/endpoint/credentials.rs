//! Credentials of the task role.

use gantry_api::agent::{RoleCredentials, RoleKind};
use hyper::StatusCode;
use serde::Serialize;
use tracing::info;

use super::{TaskEndpoint, answer::Answer};
use crate::{clock::rfc3339, host::Host};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    role_arn: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

#[derive(Serialize)]
struct Refusal {
    code: &'static str,
    message: String,
    #[serde(rename = "HTTPErrorCode")]
    status: u16,
}

/// `asked` is the task that has the id.
pub(super) fn answer(host: &Host, asked: Option<&TaskEndpoint>, version: u8, id: &str) -> Answer {
    if id.is_empty() {
        return refusal(StatusCode::BAD_REQUEST, "NoIdInRequest", version, "No Credential ID in the request");
    }
    let endpoint = asked.filter(|endpoint| endpoint.credentials_id == id);
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.task.roles.task.is_some()) else {
        return refusal(StatusCode::BAD_REQUEST, "InvalidIdInRequest", version, "Credentials not found");
    };
    let given = host.credentials.of(&endpoint.task.arn, RoleKind::Task);
    info!(task = endpoint.task.id(), given = given.is_some(), "a task asked for the credentials of its role");
    match given {
        Some(credentials) => Answer::ok(&document(&credentials)),
        None => {
            let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "CredentialsUninitialized");
            refusal(status, code, version, "Credentials uninitialized for ID")
        }
    }
}

fn document(credentials: &RoleCredentials) -> Document<'_> {
    Document {
        role_arn: &credentials.role_arn,
        access_key_id: &credentials.access_key_id,
        secret_access_key: &credentials.secret_access_key,
        token: &credentials.session_token,
        // Clients expect whole seconds.
        expiration: rfc3339(credentials.expires_at_ms / 1000 * 1000),
    }
}

fn refusal(status: StatusCode, code: &'static str, version: u8, message: &str) -> Answer {
    let message = format!("CredentialsV{version}Request: {message}");
    Answer::new(status, &Refusal { code, message, status: status.as_u16() })
}
