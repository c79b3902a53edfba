//! Targets of rules.

use std::collections::BTreeSet;

use gantry_api::events::{
    ListRuleNamesByTargetRequest, ListRuleNamesByTargetResponse, ListTargetsByRuleRequest, ListTargetsByRuleResponse,
    PutTargetsRequest, PutTargetsResponse, RemoveTargetsRequest, RemoveTargetsResponse, RemoveTargetsResultEntry,
    Target,
};
use gantry_api::{Caller, Fault};
use gantry_store::Txn;

use super::change::encode;
use super::rows::{Scope, TargetKey};
use super::rules::find;
use super::{Inner, fault, names, target_kind};

/// Targets of a rule, as the real quota has it.
const TARGETS_MAX: usize = 5;

pub(super) async fn put_targets(
    inner: &Inner,
    caller: &Caller,
    input: PutTargetsRequest,
) -> Result<PutTargetsResponse, Fault> {
    let (scope, name) = (Scope::of(caller), input.rule.unwrap_or_default());
    let targets = input.targets.unwrap_or_default();
    check(&scope, &targets)?;
    inner
        .change(|picture| {
            let rule = find(picture, &scope, input.event_bus_name.as_deref(), &name)?;
            let (key, mut row) = (rule.key.path(), rule.row.clone());
            for target in &targets {
                row.targets.insert(target.id.clone().unwrap_or_default(), target.clone());
            }
            if row.targets.len() > TARGETS_MAX {
                return Err(fault::too_many("targets of a rule"));
            }
            Ok((Txn::new().require(&key, rule.revision).put(&key, encode(&row)?), ()))
        })
        .await?;
    Ok(PutTargetsResponse { failed_entries: Some(Vec::new()), failed_entry_count: Some(0) })
}

fn check(scope: &Scope, targets: &[Target]) -> Result<(), Fault> {
    let mut ids = BTreeSet::new();
    for target in targets {
        let id = target.id.as_deref().unwrap_or_default();
        if !ids.insert(id) {
            return Err(fault::not_valid("Targets", format!("The id {id} is given twice.")));
        }
        let understood = target_kind::kind(scope, target).map(drop);
        let understood = understood.and_then(|()| target_kind::input(target).map(drop));
        understood.map_err(|reason| fault::not_valid("Target", format!("{id}: {reason}")))?;
    }
    Ok(())
}

pub(super) async fn remove_targets(
    inner: &Inner,
    caller: &Caller,
    input: RemoveTargetsRequest,
) -> Result<RemoveTargetsResponse, Fault> {
    let (scope, name) = (Scope::of(caller), input.rule.unwrap_or_default());
    let ids: BTreeSet<String> = input.ids.unwrap_or_default().into_iter().collect();
    let unknown = inner
        .change(|picture| {
            let rule = find(picture, &scope, input.event_bus_name.as_deref(), &name)?;
            let (key, mut row) = (rule.key.path(), rule.row.clone());
            let mut txn = Txn::new().require(&key, rule.revision);
            let mut unknown = Vec::new();
            for id in &ids {
                match row.targets.remove(id) {
                    // What is on its way to the target goes with it.
                    Some(_) => {
                        let target = TargetKey { rule: rule.key.clone(), target: id.clone() };
                        txn = txn.delete_prefix(target.deliveries());
                    }
                    None => unknown.push(id.clone()),
                }
            }
            Ok((txn.put(&key, encode(&row)?), unknown))
        })
        .await?;
    let failed: Vec<RemoveTargetsResultEntry> = unknown
        .into_iter()
        .map(|id| RemoveTargetsResultEntry {
            error_code: Some("ResourceNotFoundException".to_owned()),
            error_message: Some(format!("Rule {name} does not have target {id}.")),
            target_id: Some(id),
        })
        .collect();
    let count = i32::try_from(failed.len()).unwrap_or(i32::MAX);
    Ok(RemoveTargetsResponse { failed_entries: Some(failed), failed_entry_count: Some(count) })
}

pub(super) async fn list_targets_by_rule(
    inner: &Inner,
    caller: &Caller,
    input: ListTargetsByRuleRequest,
) -> Result<ListTargetsByRuleResponse, Fault> {
    let (scope, name) = (Scope::of(caller), input.rule.unwrap_or_default());
    let picture = inner.view.read();
    let rule = find(&picture, &scope, input.event_bus_name.as_deref(), &name)?;
    let targets = rule.row.targets.clone();
    let page = names::page(&format!("targets {}", rule.key.arn()), input.limit, input.next_token.as_deref(), targets)?;
    Ok(ListTargetsByRuleResponse { targets: Some(page.items), next_token: page.next_token })
}

pub(super) async fn list_rule_names_by_target(
    inner: &Inner,
    caller: &Caller,
    input: ListRuleNamesByTargetRequest,
) -> Result<ListRuleNamesByTargetResponse, Fault> {
    let (scope, arn) = (Scope::of(caller), input.target_arn.unwrap_or_default());
    let picture = inner.view.read();
    let bus = names::existing_bus(&picture, &scope, input.event_bus_name.as_deref())?;
    let has = |target: &Target| target.arn.as_deref() == Some(arn.as_str());
    let found = picture.rules_of(&scope, &bus).filter(|rule| rule.row.targets.values().any(has));
    let rules = found.map(|rule| (rule.key.rule.clone(), rule.key.rule.clone()));
    let page = names::page(&format!("rules of {bus} {arn}"), input.limit, input.next_token.as_deref(), rules)?;
    Ok(ListRuleNamesByTargetResponse { rule_names: Some(page.items), next_token: page.next_token })
}
