//! `GetSessionToken`: temporary credentials of the user who asks.

use gantry_api::sts::{GetSessionTokenRequest, GetSessionTokenResponse};
use gantry_api::{Caller, Fault, PrincipalKind, Session};

use super::{credentials, fault};
use crate::iam::{Iam, Owner};

/// Seconds such a session lasts unless the request says otherwise.
const SECONDS_DEFAULT: u64 = 43_200;
/// The longest for root.
const SECONDS_ROOT_MAX: u64 = 3600;

pub(super) fn get_session_token(
    iam: &Iam,
    caller: &Caller,
    input: &GetSessionTokenRequest,
) -> Result<GetSessionTokenResponse, Fault> {
    if input.serial_number.is_some() || input.token_code.is_some() {
        return Err(fault::no_mfa());
    }
    if caller.session.is_some() {
        return Err(fault::session_credentials());
    }
    let asked = input.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = asked.unwrap_or(SECONDS_DEFAULT);
    let (owner, seconds) = match caller.kind {
        PrincipalKind::Root => (Owner::Root, seconds.min(SECONDS_ROOT_MAX)),
        PrincipalKind::User => {
            let name = caller.principal_arn.rsplit('/').next().unwrap_or_default().to_lowercase();
            (Owner::User { name, id: iam.user_id(caller) }, seconds)
        }
        PrincipalKind::AssumedRole | PrincipalKind::Instance => return Err(fault::session_credentials()),
    };
    let now = iam.now_seconds();
    let expires_at = now + seconds;
    let session = Session { principal_id: iam.user_id(caller), issued_at: now, expires_at, ..Session::default() };
    let new = iam.begin_session(&caller.account, &caller.principal_arn, owner, session)?;
    Ok(GetSessionTokenResponse { credentials: Some(credentials(new, expires_at)), ..Default::default() })
}
