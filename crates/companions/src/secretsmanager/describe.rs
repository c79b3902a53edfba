//! `DescribeSecret` and `ListSecretVersionIds`.

use gantry_api::secretsmanager::{
    DescribeSecretRequest, DescribeSecretResponse, ListSecretVersionIdsRequest, ListSecretVersionIdsResponse,
    SecretVersionsListEntry,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;

use super::access::Permission;
use super::{Inner, fault, tags};

/// Versions a page has unless the request says otherwise.
const PAGE_VERSIONS: i32 = 100;

pub(super) async fn describe_secret(
    inner: &Inner,
    caller: &Caller,
    input: DescribeSecretRequest,
) -> Result<DescribeSecretResponse, Fault> {
    let permission = Permission::new("DescribeSecret");
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    let row = &secret.row;
    let stages = row.stages();
    Ok(DescribeSecretResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        description: row.description.clone(),
        kms_key_id: row.kms_key_id.clone(),
        r#type: row.kind.clone(),
        tags: tags::shown(&row.tags),
        created_date: Some(Timestamp::from_millis(row.created_at)),
        last_changed_date: Some(Timestamp::from_millis(row.changed_at)),
        last_accessed_date: row.accessed_at.map(Timestamp::from_millis),
        deleted_date: row.deletion_at.map(Timestamp::from_millis),
        version_ids_to_stages: (!stages.is_empty()).then_some(stages),
        ..DescribeSecretResponse::default()
    })
}

pub(super) async fn list_secret_version_ids(
    inner: &Inner,
    caller: &Caller,
    input: ListSecretVersionIdsRequest,
) -> Result<ListSecretVersionIdsResponse, Fault> {
    let permission = Permission::new("ListSecretVersionIds");
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    let deprecated_too = input.include_deprecated.unwrap_or(false);
    let question = format!("ListSecretVersionIds {} {deprecated_too}", secret.row.id);
    let pager = Pager::new(&question, usize::try_from(input.max_results.unwrap_or(PAGE_VERSIONS)).unwrap_or(1));
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let versions = secret.row.versions().into_iter().filter(|(id, version)| {
        (deprecated_too || !version.stages.is_empty()) && after.as_ref().is_none_or(|after| id > after)
    });
    let page = pager.page(versions, |(id, _)| id.clone());
    let shown = page.items.into_iter().map(|(id, version)| SecretVersionsListEntry {
        version_id: Some(id),
        created_date: u64::try_from(version.created_at.as_millis()).ok().map(Timestamp::from_millis),
        last_accessed_date: None,
        kms_key_ids: Some(vec!["DefaultEncryptionKey".to_owned()]),
        version_stages: (!version.stages.is_empty()).then(|| version.stages.into_iter().collect()),
    });
    Ok(ListSecretVersionIdsResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        versions: Some(shown.collect()),
        next_token: page.next_token,
    })
}
