//! Gives the registry what it needs for upstream registries: credentials out of Secrets Manager, roles out of IAM.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::{Caller, PrincipalKind};
use gantry_companions::iam::Iam;
use gantry_companions::secretsmanager::SecretsManager;
use gantry_domain::arn::Scope;
use gantry_domain::policy::{Document, Identity, Kind, Principal, PrincipalPolicies};
use gantry_protocol::principals::Authority;
use gantry_registry::pull_through::roles::{self, Roles};
use gantry_registry::pull_through::secrets::{SecretError, Secrets};

/// The role in which the real service's pull-through cache reads secrets; policies of secrets may name it.
const ROLE: &str = "AWSServiceRoleForECRPullThroughCache";
/// What that role may do with secrets, wherever it is: those of its own account, to read.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"secretsmanager:GetSecretValue",
    "Resource":"*","Condition":{"StringEquals":{"aws:ResourceAccount":"${aws:PrincipalAccount}"}}}}"#;

/// Secrets Manager, asked by the registry.
pub(crate) struct UpstreamSecrets {
    service: SecretsManager,
    policies: PrincipalPolicies,
}

impl UpstreamSecrets {
    pub(crate) fn new(service: SecretsManager) -> anyhow::Result<Self> {
        let identity = vec![Arc::new(Document::parse(POLICY, Kind::Identity)?)];
        Ok(Self { service, policies: PrincipalPolicies { identity, ..PrincipalPolicies::default() } })
    }
}

#[async_trait]
impl Secrets for UpstreamSecrets {
    async fn text(&self, scope: &Scope, arn: &str) -> Result<String, SecretError> {
        let (account, region) = (scope.account.as_str(), scope.region.as_str());
        let session = format!("arn:aws:sts::{account}:assumed-role/{ROLE}/ecr");
        let principal = Principal::new(Identity::RoleSession {
            arn: session.clone(),
            role_arn: format!("arn:aws:iam::{account}:role/aws-service-role/{}/{ROLE}", roles::SERVICE),
            id: format!("{ROLE}:ecr"),
        });
        let authority = Authority { principal, policies: self.policies.clone() };
        let caller =
            Caller { principal_arn: session, kind: PrincipalKind::AssumedRole, ..Caller::root(account, region) };
        match self.service.value_for_service(&caller, &authority, arn).await {
            Ok(text) => Ok(text.0),
            Err(fault) => {
                tracing::info!(secret = arn, %fault, "cannot read the credentials of an upstream registry");
                Err(match fault.code {
                    "ResourceNotFoundException" => SecretError::NotFound,
                    "DecryptionFailure" => SecretError::Undecryptable,
                    _ => SecretError::Inaccessible,
                })
            }
        }
    }
}

/// IAM, asked by the registry.
pub(crate) struct UpstreamRoles(pub(crate) Iam);

impl Roles for UpstreamRoles {
    fn assume(&self, role_arn: &str, region: &str) -> Option<Caller> {
        self.0.assume_for_service(role_arn, roles::SERVICE, region, "ecr")
    }
}
