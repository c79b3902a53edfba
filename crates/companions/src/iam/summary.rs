//! The account as a whole.

use std::collections::BTreeMap;

use gantry_api::iam::{GetAccountSummaryResponse, ListAccountAliasesRequest, ListAccountAliasesResponse};
use gantry_api::{Caller, Empty, Fault};

use super::Iam;

/// Quotas, as the service's summary names them.
const QUOTAS: &[(&str, i32)] = &[
    ("AccessKeysPerUserQuota", 2),
    ("AssumeRolePolicySizeQuota", 4096),
    ("AttachedPoliciesPerGroupQuota", 20),
    ("AttachedPoliciesPerRoleQuota", 20),
    ("AttachedPoliciesPerUserQuota", 20),
    ("GroupPolicySizeQuota", 5120),
    ("GroupsPerUserQuota", 10),
    ("PolicySizeQuota", 6144),
    ("RolePolicySizeQuota", 10240),
    ("UserPolicySizeQuota", 2048),
    ("VersionsPerPolicyQuota", 5),
];

pub(super) async fn get_account_summary(
    iam: &Iam,
    caller: &Caller,
    _: Empty,
) -> Result<GetAccountSummaryResponse, Fault> {
    let counts = iam.look(&caller.account, |picture| {
        [
            ("Groups", picture.groups.len()),
            ("InstanceProfiles", picture.profiles.len()),
            ("Policies", picture.policies.len()),
            ("Providers", picture.oidc_providers.len()),
            ("PolicyVersionsInUse", picture.policies.values().map(|policy| policy.versions.len()).sum()),
            ("Roles", picture.roles.len()),
            ("Users", picture.users.len()),
        ]
    });
    let counts = counts.into_iter().map(|(name, count)| (name, i32::try_from(count).unwrap_or(i32::MAX)));
    let rest = [("AccountAccessKeysPresent", 1), ("AccountMFAEnabled", 0), ("MFADevices", 0)];
    let all = counts.chain(rest).chain(QUOTAS.iter().copied());
    let map: BTreeMap<String, i32> = all.map(|(name, count)| (name.to_owned(), count)).collect();
    Ok(GetAccountSummaryResponse { summary_map: Some(map) })
}

/// Accounts have no aliases here.
pub(super) async fn list_account_aliases(
    _: &Iam,
    _: &Caller,
    _: ListAccountAliasesRequest,
) -> Result<ListAccountAliasesResponse, Fault> {
    Ok(ListAccountAliasesResponse { account_aliases: Some(Vec::new()), is_truncated: Some(false), marker: None })
}
