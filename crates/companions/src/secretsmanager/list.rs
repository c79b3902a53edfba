//! `ListSecrets`: filters, orders, pages.

use std::sync::Arc;

use gantry_api::secretsmanager::{
    Filter, ListSecretsRequest, ListSecretsResponse, SecretListEntry, SortByType, SortOrderType,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::{Page, Pager};

use super::access::Permission;
use super::rows::{Scope, Secret};
use super::{Inner, fault, filter, tags};

/// Secrets a page has unless the request says otherwise.
const PAGE_SECRETS: i32 = 100;

/// The order of a list, and which part of it is asked for.
pub(super) struct Order<'a> {
    by: SortByType,
    descending: bool,
    deleted_too: bool,
    token: Option<&'a str>,
    max: i32,
}

impl<'a> Order<'a> {
    /// What BatchGetSecretValue reads: by creation, without what is deleted.
    pub(super) fn of_batch(token: &'a Option<String>, max: i32) -> Self {
        Self { by: SortByType::CreatedDate, descending: false, deleted_too: false, token: token.as_deref(), max }
    }

    /// What secrets are sorted by; names make it unique.
    fn key(&self, secret: &Secret) -> String {
        let row = &secret.row;
        let time = match self.by {
            SortByType::Name => return secret.name.clone(),
            SortByType::LastAccessedDate => row.accessed_at.unwrap_or(0),
            SortByType::LastChangedDate => row.changed_at,
            SortByType::CreatedDate | SortByType::Unknown(_) => row.created_at,
        };
        format!("{time:020} {}", secret.name)
    }
}

pub(super) async fn list_secrets(
    inner: &Inner,
    caller: &Caller,
    input: ListSecretsRequest,
) -> Result<ListSecretsResponse, Fault> {
    inner.authorize(caller, "*", &Permission::new("ListSecrets"))?;
    let order = Order {
        by: input.sort_by.unwrap_or(SortByType::CreatedDate),
        descending: input.sort_order == Some(SortOrderType::Desc),
        deleted_too: input.include_planned_deletion.unwrap_or(false),
        token: input.next_token.as_deref(),
        max: input.max_results.unwrap_or(PAGE_SECRETS),
    };
    let page = found(inner, caller, input.filters.as_deref().unwrap_or_default(), &order)?;
    let shown = page.items.iter().map(|secret| entry(secret)).collect();
    Ok(ListSecretsResponse { secret_list: Some(shown), next_token: page.next_token })
}

/// A page of the secrets of the caller's account and region that the filters let pass.
pub(super) fn found(
    inner: &Inner,
    caller: &Caller,
    filters: &[Filter],
    order: &Order<'_>,
) -> Result<Page<Arc<Secret>>, Fault> {
    filter::check(filters)?;
    let scope = Scope::of(caller);
    let question = format!("{scope:?} {filters:?} {} {} {}", order.by, order.descending, order.deleted_too);
    let pager = Pager::new(&question, usize::try_from(order.max).unwrap_or(1));
    let after = pager.after(order.token).map_err(|_| fault::bad_token())?;
    let now = inner.now();
    let is_there = |secret: &Secret| match secret.row.deletion_at {
        None => true,
        Some(at) => order.deleted_too && at > now,
    };
    let comes = |key: &String| match &after {
        None => true,
        Some(after) if order.descending => key < after,
        Some(after) => key > after,
    };
    let mut secrets: Vec<(String, Arc<Secret>)> = {
        let picture = inner.view.read();
        let all = picture.secrets(&scope).filter(|secret| is_there(secret) && filter::matches(filters, secret));
        all.map(|secret| (order.key(secret), Arc::clone(secret))).filter(|(key, _)| comes(key)).collect()
    };
    secrets.sort_by(|(left, _), (right, _)| if order.descending { right.cmp(left) } else { left.cmp(right) });
    let page = pager.page(secrets, |(key, _)| key.clone());
    Ok(Page { items: page.items.into_iter().map(|(_, secret)| secret).collect(), next_token: page.next_token })
}

fn entry(secret: &Secret) -> SecretListEntry {
    let row = &secret.row;
    let stages = row.stages();
    SecretListEntry {
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
        secret_versions_to_stages: (!stages.is_empty()).then_some(stages),
        ..SecretListEntry::default()
    }
}
