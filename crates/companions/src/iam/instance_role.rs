//! The role of container instances, `ecsInstanceRole`, which an account has from the start: the agents of machines
//! that join by a token are sessions of it. Like any other role it may be changed, and what it may then do is what agents may do.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::Fault;

use super::aws_managed::ARN_PREFIX;
use super::rows::{Grants, InstanceProfile, Role};
use super::{Iam, names};

/// The name, also of the instance profile.
pub const INSTANCE_ROLE: &str = "ecsInstanceRole";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// Beyond the managed policy: tasks without an execution role that ask for `awslogs-create-group`.
const CREATE_LOG_GROUPS: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:CreateLogGroup","Resource":"*"}]}"#;

impl Iam {
    /// Makes the role in an account that has never had anything. One that was deleted stays away.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ensure_instance_role(&self, account: &str) -> Result<(), Fault> {
        let now = self.now();
        let role = Role {
            id: names::unique_id("AROA")?,
            name: INSTANCE_ROLE.to_owned(),
            path: "/".to_owned(),
            created_at: now,
            trust: TRUST.to_owned(),
            trusted_ids: BTreeMap::new(),
            description: Some("What the agents of container instances may do.".to_owned()),
            session_seconds_max: 3600,
            tags: BTreeMap::new(),
            boundary: None,
            grants: Grants {
                inline: BTreeMap::from([("create-log-groups".to_owned(), CREATE_LOG_GROUPS.to_owned())]),
                attached: BTreeSet::from([format!("{ARN_PREFIX}service-role/AmazonEC2ContainerServiceforEC2Role")]),
            },
            service: None,
        };
        let profile = InstanceProfile {
            id: names::unique_id("AIPA")?,
            name: INSTANCE_ROLE.to_owned(),
            path: "/".to_owned(),
            created_at: now,
            role: Some(INSTANCE_ROLE.to_lowercase()),
            tags: BTreeMap::new(),
        };
        self.change(account, |picture, changes| {
            if picture.epoch == 0 {
                changes.put(&role);
                changes.put(&profile);
            }
            Ok(())
        })
        .await
    }
}
