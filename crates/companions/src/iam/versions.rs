//! Versions of managed policies. The default one is in force.

use gantry_api::iam::{
    CreatePolicyVersionRequest, CreatePolicyVersionResponse, DeletePolicyVersionRequest, GetPolicyVersionRequest,
    GetPolicyVersionResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse, SetDefaultPolicyVersionRequest,
};
use gantry_api::{Caller, Empty, Fault, iam};

use super::aws_managed::AwsManaged;
use super::documents;
use super::paging::asked;
use super::picture::Managed;
use super::policies::own_policy;
use super::rows::{Policy, PolicyVersion};
use super::{Iam, fault, wire};

/// Versions a policy may have.
const VERSIONS_MAX: usize = 5;

pub(super) async fn create_policy_version(
    iam: &Iam,
    caller: &Caller,
    input: CreatePolicyVersionRequest,
) -> Result<CreatePolicyVersionResponse, Fault> {
    let arn = input.policy_arn.unwrap_or_default();
    let document = input.policy_document.unwrap_or_default();
    documents::check_managed(&document)?;
    let (now, set_default) = (iam.now(), input.set_as_default.unwrap_or(false));
    let number = iam
        .change(&caller.account, |picture, changes| {
            let mut policy = own_policy(picture, &caller.account, &arn)?.clone();
            if policy.versions.len() >= VERSIONS_MAX {
                return Err(fault::too_many_versions());
            }
            let number = policy.next_version;
            policy.next_version += 1;
            policy.updated_at = now;
            policy.versions.insert(number, PolicyVersion { document: document.clone(), created_at: now });
            if set_default {
                policy.default_version = number;
            }
            changes.put(&policy);
            Ok(number)
        })
        .await?;
    let version = iam::PolicyVersion {
        create_date: wire::time(now),
        is_default_version: Some(set_default),
        version_id: Some(format!("v{number}")),
        ..iam::PolicyVersion::default()
    };
    Ok(CreatePolicyVersionResponse { policy_version: Some(version) })
}

pub(super) async fn get_policy_version(
    iam: &Iam,
    caller: &Caller,
    input: GetPolicyVersionRequest,
) -> Result<GetPolicyVersionResponse, Fault> {
    let account = &caller.account;
    let (arn, id) = (input.policy_arn.unwrap_or_default(), input.version_id.unwrap_or_default());
    let version = iam.look(account, |picture| {
        let missing = || fault::no_policy_version(&arn, &id);
        Ok(match picture.managed(account, &arn).ok_or_else(|| fault::no_policy(&arn))? {
            Managed::Customer(policy) => {
                let (number, version) = find(policy, &id).ok_or_else(missing)?;
                whole(policy, number, version)
            }
            Managed::Aws(policy) if policy.version_id() == id => of_aws(policy, true),
            Managed::Aws(_) => return Err(missing()),
        })
    })?;
    Ok(GetPolicyVersionResponse { policy_version: Some(version) })
}

pub(super) async fn list_policy_versions(
    iam: &Iam,
    caller: &Caller,
    input: ListPolicyVersionsRequest,
) -> Result<ListPolicyVersionsResponse, Fault> {
    let account = &caller.account;
    let arn = input.policy_arn.clone().unwrap_or_default();
    let question = format!("ListPolicyVersions {account} {arn}");
    let page = iam.look(account, |picture| {
        let versions = match picture.managed(account, &arn).ok_or_else(|| fault::no_policy(&arn))? {
            Managed::Customer(policy) => {
                let shown = |number: u32, version: &PolicyVersion| iam::PolicyVersion {
                    document: None,
                    ..whole(policy, number, version)
                };
                // The newest first, as the real service lists them.
                let newest_first = policy.versions.iter().rev();
                newest_first.map(|(number, version)| (order(*number), shown(*number, version))).collect()
            }
            Managed::Aws(policy) => vec![(order(1), of_aws(policy, false))],
        };
        asked!(input).page(&question, versions)
    })?;
    Ok(ListPolicyVersionsResponse { versions: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn set_default_policy_version(
    iam: &Iam,
    caller: &Caller,
    input: SetDefaultPolicyVersionRequest,
) -> Result<Empty, Fault> {
    let (arn, id) = (input.policy_arn.unwrap_or_default(), input.version_id.unwrap_or_default());
    let now = iam.now();
    iam.change(&caller.account, |picture, changes| {
        let mut policy = own_policy(picture, &caller.account, &arn)?.clone();
        let (number, _) = find(&policy, &id).ok_or_else(|| fault::no_policy_version(&arn, &id))?;
        policy.default_version = number;
        policy.updated_at = now;
        changes.put(&policy);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn delete_policy_version(
    iam: &Iam,
    caller: &Caller,
    input: DeletePolicyVersionRequest,
) -> Result<Empty, Fault> {
    let (arn, id) = (input.policy_arn.unwrap_or_default(), input.version_id.unwrap_or_default());
    iam.change(&caller.account, |picture, changes| {
        let mut policy = own_policy(picture, &caller.account, &arn)?.clone();
        let (number, _) = find(&policy, &id).ok_or_else(|| fault::no_policy_version(&arn, &id))?;
        if number == policy.default_version {
            return Err(fault::default_version());
        }
        policy.versions.remove(&number);
        changes.put(&policy);
        Ok(Empty {})
    })
    .await
}

fn find<'a>(policy: &'a Policy, id: &str) -> Option<(u32, &'a PolicyVersion)> {
    let number = id.strip_prefix('v')?.parse().ok()?;
    Some((number, policy.versions.get(&number)?))
}

/// Sorts the newest first.
fn order(number: u32) -> String {
    format!("{:010}", u32::MAX - number)
}

pub(super) fn whole(policy: &Policy, number: u32, version: &PolicyVersion) -> iam::PolicyVersion {
    iam::PolicyVersion {
        create_date: wire::time(version.created_at),
        document: Some(documents::encode(&version.document)),
        is_default_version: Some(number == policy.default_version),
        version_id: Some(format!("v{number}")),
    }
}

pub(super) fn of_aws(policy: &AwsManaged, with_document: bool) -> iam::PolicyVersion {
    iam::PolicyVersion {
        create_date: wire::time(AwsManaged::CREATED_AT),
        document: with_document.then(|| documents::encode(&policy.document)),
        is_default_version: Some(true),
        version_id: Some(policy.version_id()),
    }
}
