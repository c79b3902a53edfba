//! Security Token Service: who am I. Roles and sessions are not here yet, so nothing else is.

use gantry_api::sts::{self, GetCallerIdentityRequest, GetCallerIdentityResponse};
use gantry_api::{Caller, Fault, PrincipalKind};

/// Answers from the caller's identity alone; keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sts;

impl sts::Sts for Sts {
    async fn get_caller_identity(
        &self,
        caller: &Caller,
        _: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, Fault> {
        Ok(GetCallerIdentityResponse {
            user_id: Some(user_id(caller)),
            account: Some(caller.account.clone()),
            arn: Some(caller.principal_arn.clone()),
        })
    }
}

/// The root user's id is the account; a role session's is the key and the session's name, as in its ARN.
fn user_id(caller: &Caller) -> String {
    match caller.kind {
        PrincipalKind::Root => caller.account.clone(),
        PrincipalKind::User | PrincipalKind::AssumedRole | PrincipalKind::Instance => {
            let session = caller.principal_arn.rsplit('/').next().unwrap_or_default();
            format!("{}:{session}", caller.access_key_id)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sts::Sts as _;

    #[tokio::test]
    async fn the_root_user_is_its_account() {
        let caller = Caller::root("000000000000", "us-east-1");
        let answer = Sts.get_caller_identity(&caller, GetCallerIdentityRequest::default()).await.unwrap();
        assert_eq!(answer.account.as_deref(), Some("000000000000"));
        assert_eq!(answer.user_id.as_deref(), Some("000000000000"));
        assert_eq!(answer.arn.as_deref(), Some("arn:aws:iam::000000000000:root"));
    }
}
