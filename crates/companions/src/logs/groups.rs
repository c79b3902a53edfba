//! Log groups: create, delete, describe, list; retention.

use gantry_api::logs::{
    CreateLogGroupRequest, DeleteLogGroupRequest, DescribeLogGroupsRequest, DescribeLogGroupsResponse,
    ListLogGroupsRequest, ListLogGroupsResponse, LogGroup, LogGroupClass, LogGroupSummary, PutRetentionPolicyRequest,
};
use gantry_api::{Caller, Empty, Fault};
use gantry_domain::paging::Pager;
use gantry_store::{Txn, TxnError};

use super::pattern::matches_wildcard;
use super::rows::{self, Group, GroupRow, Scope};
use super::tags::check_tags;
use super::{Inner, fault};

/// What `retentionInDays` may be.
const RETENTION_DAYS: &[u32] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Groups a page has unless the request says otherwise.
const PAGE_GROUPS: i32 = 50;

pub(super) async fn create(inner: &Inner, caller: &Caller, input: CreateLogGroupRequest) -> Result<Empty, Fault> {
    let scope = Scope::of(caller);
    let name = input.log_group_name.unwrap_or_default();
    if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws/")) {
        return Err(fault::invalid("Log groups starting with AWS/ are reserved for AWS."));
    }
    let tags = input.tags.unwrap_or_default();
    check_tags(&tags)?;
    let row = GroupRow {
        id: rows::new_id()?,
        created_at: inner.now(),
        retention_days: None,
        class: input.log_group_class.unwrap_or(LogGroupClass::Standard).as_str().to_owned(),
        kms_key_id: input.kms_key_id,
        tags,
        deletion_protection: input.deletion_protection_enabled.unwrap_or(false),
    };
    let key = scope.group(&name);
    match inner.store.txn(Txn::new().require_absent(&key).put(&key, rows::encode(&row)?)).await {
        Ok(_) => Ok(Empty {}),
        Err(TxnError::Conflict { .. }) => Err(fault::group_exists()),
        Err(TxnError::Store(error)) => Err(fault::store(error)),
    }
}

pub(super) async fn delete(inner: &Inner, caller: &Caller, input: DeleteLogGroupRequest) -> Result<Empty, Fault> {
    let scope = Scope::of(caller);
    let group = rows::group(&inner.store, &scope, &input.log_group_name.unwrap_or_default()).await?;
    if group.row.deletion_protection {
        return Err(fault::group_protected());
    }
    let txn = Txn::new().require(&group.key, group.revision).delete(&group.key);
    match inner.store.txn(txn.delete_prefix(scope.streams(group.row.id))).await {
        Ok(_) => {}
        Err(TxnError::Conflict { .. }) => return Err(fault::aborted()),
        Err(TxnError::Store(error)) => return Err(fault::store(error)),
    }
    inner.forget_stored_bytes(group.row.id);
    inner.events.delete_group(group.row.id).await.map_err(fault::unavailable)?;
    Ok(Empty {})
}

pub(super) async fn describe(
    inner: &Inner,
    caller: &Caller,
    input: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, Fault> {
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(fault::invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let scope = Scope::of(caller);
    let prefix = input.log_group_name_prefix.unwrap_or_default();
    let pattern = input.log_group_name_pattern.unwrap_or_default();
    let identifiers = input.log_group_identifiers.map(|identifiers| names(&scope, &identifiers)).transpose()?;
    let class = input.log_group_class.map(|class| class.as_str().to_owned());
    let question = format!("DescribeLogGroups {scope:?} {prefix:?} {pattern:?} {identifiers:?} {class:?}");
    let wanted = |group: &Group| {
        group.name.contains(&pattern)
            && class.as_ref().is_none_or(|class| *class == group.row.class)
            && identifiers.as_ref().is_none_or(|names| names.contains(&group.name))
    };
    let own = !is_foreign(&scope, input.account_identifiers.as_deref());
    let query = Query { question: &question, prefix: &prefix, token: input.next_token.as_deref(), limit: input.limit };
    let page = query.run(inner, &scope, |group| own && wanted(group)).await?;
    let groups = page.items.into_iter().map(|group| describe_one(inner, &scope, group)).collect();
    Ok(DescribeLogGroupsResponse { log_groups: Some(groups), next_token: page.next_token })
}

pub(super) async fn list(
    inner: &Inner,
    caller: &Caller,
    input: ListLogGroupsRequest,
) -> Result<ListLogGroupsResponse, Fault> {
    if input.data_sources.is_some() || input.field_index_names.is_some() {
        return Err(fault::invalid("Gantry has no data sources or field indexes to list log groups by."));
    }
    let scope = Scope::of(caller);
    let pattern = input.log_group_name_pattern.unwrap_or_default();
    let tags: Vec<(String, Vec<String>)> = input
        .log_group_tags
        .unwrap_or_default()
        .into_iter()
        .map(|filter| (filter.key.unwrap_or_default(), filter.values.unwrap_or_default()))
        .collect();
    let class = input.log_group_class.map(|class| class.as_str().to_owned());
    let question = format!("ListLogGroups {scope:?} {pattern:?} {tags:?} {class:?}");
    let wanted = |group: &Group| {
        matches_alternatives(&pattern, &group.name)
            && class.as_ref().is_none_or(|class| *class == group.row.class)
            && tags.iter().all(|(key, values)| has_tag(group, key, values))
    };
    let own = !is_foreign(&scope, input.account_identifiers.as_deref());
    let query = Query { question: &question, prefix: "", token: input.next_token.as_deref(), limit: input.limit };
    let page = query.run(inner, &scope, |group| own && wanted(group)).await?;
    let summary = |group: Group| LogGroupSummary {
        log_group_arn: Some(scope.group_arn(&group.name)),
        log_group_class: Some(group.row.class.as_str().into()),
        log_group_name: Some(group.name),
    };
    let groups = page.items.into_iter().map(summary).collect();
    Ok(ListLogGroupsResponse { log_groups: Some(groups), next_token: page.next_token })
}

pub(super) async fn put_retention(
    inner: &Inner,
    caller: &Caller,
    input: PutRetentionPolicyRequest,
) -> Result<Empty, Fault> {
    let days = input.retention_in_days.and_then(|days| u32::try_from(days).ok()).unwrap_or_default();
    if !RETENTION_DAYS.contains(&days) {
        let allowed: Vec<String> = RETENTION_DAYS.iter().map(u32::to_string).collect();
        return Err(fault::invalid(format!(
            "1 validation error detected: Value '{}' at 'retentionInDays' failed to satisfy constraint: Member must \
             satisfy enum value set: [{}]",
            input.retention_in_days.unwrap_or_default(),
            allowed.join(", ")
        )));
    }
    set_retention(inner, caller, input.log_group_name, Some(days)).await
}

/// Changes how long a group keeps its events; `None` keeps them for ever.
pub(super) async fn set_retention(
    inner: &Inner,
    caller: &Caller,
    name: Option<String>,
    days: Option<u32>,
) -> Result<Empty, Fault> {
    let name = name.unwrap_or_default();
    rows::update_group(&inner.store, &Scope::of(caller), &name, |row| {
        row.retention_days = days;
        Ok(())
    })
    .await?;
    inner.retention_changed.notify_one();
    Ok(Empty {})
}

/// The group that a request names by `logGroupName` or `logGroupIdentifier`.
pub(super) async fn named(
    inner: &Inner,
    scope: &Scope,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<Group, Fault> {
    let name = match (name, identifier) {
        (Some(name), None) => name,
        (None, Some(identifier)) => parse_identifier(scope, &identifier)?,
        (Some(_), Some(_)) => {
            return Err(fault::invalid("LogGroup name and LogGroup identifier are mutually exclusive parameters."));
        }
        (None, None) => {
            return Err(fault::invalid("Exactly one of logGroupName and logGroupIdentifier must be specified."));
        }
    };
    rows::group(&inner.store, scope, &name).await
}

/// The name in a group's name or ARN. A group elsewhere does not exist here.
pub(super) fn parse_identifier(scope: &Scope, identifier: &str) -> Result<String, Fault> {
    if !identifier.starts_with("arn:") {
        return Ok(identifier.to_owned());
    }
    let parts: Vec<&str> = identifier.splitn(7, ':').collect();
    let ["arn", _, "logs", region, account, "log-group", name] = parts[..] else {
        return Err(fault::invalid("The specified log group ARN is invalid."));
    };
    if region != scope.region || account != scope.account {
        return Err(fault::group_not_found());
    }
    Ok(name.strip_suffix(":*").unwrap_or(name).to_owned())
}

/// One page of groups.
struct Query<'a> {
    question: &'a str,
    prefix: &'a str,
    token: Option<&'a str>,
    limit: Option<i32>,
}

impl Query<'_> {
    async fn run(
        &self,
        inner: &Inner,
        scope: &Scope,
        wanted: impl Fn(&Group) -> bool,
    ) -> Result<gantry_domain::paging::Page<Group>, Fault> {
        let limit = usize::try_from(self.limit.unwrap_or(PAGE_GROUPS)).unwrap_or(1);
        let pager = Pager::new(self.question, limit);
        let after = pager.after(self.token).map_err(|_| fault::bad_token())?;
        let mut found = Vec::new();
        rows::walk(&inner.store, &scope.groups(), self.prefix, after.as_deref(), |group: Group| {
            if wanted(&group) {
                found.push(group);
            }
            // One more than a page, to know whether there is another.
            found.len() <= limit
        })
        .await?;
        Ok(pager.page(found, |group| group.name.clone()))
    }
}

fn describe_one(inner: &Inner, scope: &Scope, group: Group) -> LogGroup {
    let arn = scope.group_arn(&group.name);
    LogGroup {
        arn: Some(format!("{arn}:*")),
        log_group_arn: Some(arn),
        creation_time: i64::try_from(group.row.created_at).ok(),
        retention_in_days: group.row.retention_days.and_then(|days| i32::try_from(days).ok()),
        metric_filter_count: Some(0),
        stored_bytes: i64::try_from(inner.stored_bytes(group.row.id)).ok(),
        log_group_class: Some(group.row.class.as_str().into()),
        deletion_protection_enabled: Some(group.row.deletion_protection),
        kms_key_id: group.row.kms_key_id,
        log_group_name: Some(group.name),
        ..LogGroup::default()
    }
}

fn names(scope: &Scope, identifiers: &[String]) -> Result<Vec<String>, Fault> {
    identifiers.iter().map(|identifier| parse_identifier(scope, identifier)).collect()
}

/// Whether only accounts other than ours are asked for.
fn is_foreign(scope: &Scope, accounts: Option<&[String]>) -> bool {
    accounts.is_some_and(|accounts| !accounts.is_empty() && !accounts.contains(&scope.account))
}

/// `text|^start|other`: one of them must be in the name, or begin it.
fn matches_alternatives(pattern: &str, name: &str) -> bool {
    pattern.split('|').any(|alternative| match alternative.strip_prefix('^') {
        Some(start) => name.starts_with(start),
        None => name.contains(alternative),
    })
}

/// Whether a group has a tag with one of the values, which may have `*` at their ends and `!` before them.
fn has_tag(group: &Group, key: &str, values: &[String]) -> bool {
    let Some(found) = group.row.tags.get(key) else { return false };
    values.is_empty()
        || values.iter().any(|value| match value.strip_prefix('!') {
            Some(unwanted) => !matches_wildcard(unwanted, found),
            None => matches_wildcard(value, found),
        })
}
