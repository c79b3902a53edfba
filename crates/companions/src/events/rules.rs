//! Rules.

use gantry_api::events::{
    DeleteRuleRequest, DescribeRuleRequest, DescribeRuleResponse, DisableRuleRequest, EnableRuleRequest,
    ListRulesRequest, ListRulesResponse, PutRuleRequest, PutRuleResponse, Rule as WireRule, RuleState,
};
use gantry_api::{Caller, Empty, Fault};
use gantry_domain::event_pattern::EventPattern;
use gantry_domain::event_schedule::Schedule;
use gantry_store::Txn;

use super::change::encode;
use super::picture::{Picture, Rule};
use super::rows::{DEFAULT_BUS, RuleKey, RuleRow, Scope};
use super::{Inner, fault, names, tags};

/// Rules of a bus, as the real quota has it.
const RULES_MAX: usize = 300;

pub(super) async fn put_rule(inner: &Inner, caller: &Caller, input: PutRuleRequest) -> Result<PutRuleResponse, Fault> {
    let (scope, name) = (Scope::of(caller), input.name.clone().unwrap_or_default());
    let input = without_empty_texts(input);
    check(&input)?;
    let new_tags = tags::parse(input.tags.as_deref())?;
    let state = input.state.as_ref().map_or("ENABLED", RuleState::as_str);
    let arn = inner
        .change(|picture| {
            let bus = names::existing_bus(picture, &scope, input.event_bus_name.as_deref())?;
            if input.schedule_expression.is_some() && bus != DEFAULT_BUS {
                return Err(fault::validation("ScheduleExpression is supported only on the default event bus."));
            }
            let key = scope.rule(&bus, &name);
            let known = picture.rules.get(&key);
            if known.is_none() && picture.rules_of(&scope, &bus).count() >= RULES_MAX {
                return Err(fault::too_many("rules"));
            }
            let row = RuleRow {
                created_by: known.map_or(&scope.account, |rule| &rule.row.created_by).clone(),
                pattern: input.event_pattern.clone(),
                schedule: input.schedule_expression.clone(),
                state: state.to_owned(),
                description: input.description.clone(),
                role_arn: input.role_arn.clone(),
                // Tags of a rule that is there are changed with TagResource only.
                tags: known.map_or(&new_tags, |rule| &rule.row.tags).clone(),
                targets: known.map(|rule| rule.row.targets.clone()).unwrap_or_default(),
            };
            let txn = Txn::new().require(key.path(), known.map_or(0, |rule| rule.revision));
            Ok((txn.put(key.path(), encode(&row)?), key.arn()))
        })
        .await?;
    Ok(PutRuleResponse { rule_arn: Some(arn) })
}

/// An empty pattern or schedule is none.
fn without_empty_texts(mut input: PutRuleRequest) -> PutRuleRequest {
    let given = |text: &String| !text.is_empty();
    input.event_pattern = input.event_pattern.filter(given);
    input.schedule_expression = input.schedule_expression.filter(given);
    input
}

fn check(input: &PutRuleRequest) -> Result<(), Fault> {
    let schedule = input.schedule_expression.as_deref();
    let pattern = input.event_pattern.as_deref();
    if schedule.is_none() && pattern.is_none() {
        return Err(fault::validation("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    }
    if schedule.is_some_and(|text| Schedule::parse(text).is_err()) {
        return Err(fault::validation("Parameter ScheduleExpression is not valid."));
    }
    pattern.map(EventPattern::parse).transpose().map_err(|error| fault::pattern(&error))?;
    Ok(())
}

/// The rule a request names.
pub(super) fn find<'a>(picture: &'a Picture, scope: &Scope, bus: Option<&str>, rule: &str) -> Result<&'a Rule, Fault> {
    let bus = names::existing_bus(picture, scope, bus)?;
    picture.rules.get(&scope.rule(&bus, rule)).map(AsRef::as_ref).ok_or_else(|| fault::no_rule(rule, &bus))
}

pub(super) async fn delete_rule(inner: &Inner, caller: &Caller, input: DeleteRuleRequest) -> Result<Empty, Fault> {
    let (scope, name) = (Scope::of(caller), input.name.unwrap_or_default());
    inner
        .change(|picture| {
            let bus = names::bus(&scope, input.event_bus_name.as_deref())?;
            let key: RuleKey = scope.rule(&bus, &name);
            let Some(rule) = picture.rules.get(&key) else { return Ok((Txn::new(), Empty {})) };
            if !rule.row.targets.is_empty() {
                return Err(fault::validation("Rule can't be deleted since it has targets."));
            }
            let txn = Txn::new().require(key.path(), rule.revision).delete(key.path());
            Ok((txn.delete(key.schedule()).delete_prefix(key.deliveries()), Empty {}))
        })
        .await
}

pub(super) async fn describe_rule(
    inner: &Inner,
    caller: &Caller,
    input: DescribeRuleRequest,
) -> Result<DescribeRuleResponse, Fault> {
    let (scope, name) = (Scope::of(caller), input.name.unwrap_or_default());
    let picture = inner.view.read();
    let rule = find(&picture, &scope, input.event_bus_name.as_deref(), &name)?;
    let row = rule.row.clone();
    Ok(DescribeRuleResponse {
        arn: Some(rule.key.arn()),
        created_by: Some(row.created_by),
        description: row.description,
        event_bus_name: Some(rule.key.bus.clone()),
        event_pattern: row.pattern,
        managed_by: None,
        name: Some(name),
        role_arn: row.role_arn,
        schedule_expression: row.schedule,
        state: Some(RuleState::from(row.state.as_str())),
    })
}

pub(super) async fn list_rules(
    inner: &Inner,
    caller: &Caller,
    input: ListRulesRequest,
) -> Result<ListRulesResponse, Fault> {
    let (scope, prefix) = (Scope::of(caller), input.name_prefix.unwrap_or_default());
    let picture = inner.view.read();
    let bus = names::existing_bus(&picture, &scope, input.event_bus_name.as_deref())?;
    let found = picture.rules_of(&scope, &bus).filter(|rule| rule.key.rule.starts_with(&prefix));
    let question = format!("rules {bus} {prefix}");
    let rules = found.map(|rule| (rule.key.rule.clone(), rule));
    let page = names::page(&question, input.limit, input.next_token.as_deref(), rules)?;
    let rules = page.items.into_iter().map(|rule| wire(rule)).collect();
    Ok(ListRulesResponse { rules: Some(rules), next_token: page.next_token })
}

fn wire(rule: &Rule) -> WireRule {
    let row = rule.row.clone();
    WireRule {
        arn: Some(rule.key.arn()),
        description: row.description,
        event_bus_name: Some(rule.key.bus.clone()),
        event_pattern: row.pattern,
        managed_by: None,
        name: Some(rule.key.rule.clone()),
        role_arn: row.role_arn,
        schedule_expression: row.schedule,
        state: Some(RuleState::from(row.state.as_str())),
    }
}

pub(super) async fn enable_rule(inner: &Inner, caller: &Caller, input: EnableRuleRequest) -> Result<Empty, Fault> {
    set_state(inner, caller, input.name, input.event_bus_name, "ENABLED").await
}

pub(super) async fn disable_rule(inner: &Inner, caller: &Caller, input: DisableRuleRequest) -> Result<Empty, Fault> {
    set_state(inner, caller, input.name, input.event_bus_name, "DISABLED").await
}

async fn set_state(
    inner: &Inner,
    caller: &Caller,
    name: Option<String>,
    bus: Option<String>,
    state: &str,
) -> Result<Empty, Fault> {
    let (scope, name) = (Scope::of(caller), name.unwrap_or_default());
    inner
        .change(|picture| {
            let rule = find(picture, &scope, bus.as_deref(), &name)?;
            let (key, mut row) = (rule.key.path(), rule.row.clone());
            row.state = state.to_owned();
            Ok((Txn::new().require(&key, rule.revision).put(&key, encode(&row)?), Empty {}))
        })
        .await
}
