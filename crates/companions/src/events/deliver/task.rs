//! Targets that are clusters: RunTask, as a session of the target's role.
//!
//! The client token is made of the event and the target, so that a delivery that is repeated starts nothing again.

use gantry_api::events::{EcsParameters, Target};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Outcome, RunTasks};
use crate::events::rows::{DeliveryRow, TargetKey};
use crate::iam::Iam;

/// Who assumes the role.
const SERVICE: &str = "events.amazonaws.com";
/// Characters that `startedBy` may have.
const STARTED_BY_MAX: usize = 36;
/// What the input of a target may override.
const OVERRIDES: [&str; 6] =
    ["containerOverrides", "cpu", "memory", "taskRoleArn", "executionRoleArn", "ephemeralStorage"];

pub(super) struct Task<'a> {
    pub(super) cluster_arn: &'a str,
    pub(super) role_arn: &'a str,
    pub(super) parameters: &'a EcsParameters,
    /// Whether the input is more than the event.
    pub(super) has_input: bool,
}

/// Whether a target's input is made for it; the event itself overrides nothing.
pub(super) fn has_input(target: &Target) -> bool {
    target.input.is_some() || target.input_path.is_some() || target.input_transformer.is_some()
}

/// The same for every delivery of a rule, so that what its role may do is remembered.
fn session_name(rule: &str) -> String {
    rule.chars().take(64).collect()
}

impl Task<'_> {
    pub(super) async fn run(&self, iam: &Iam, tasks: &dyn RunTasks, key: &TargetKey, row: &DeliveryRow) -> Outcome {
        let scope = &key.rule.scope;
        let Some(caller) = iam.assume_for_service(self.role_arn, SERVICE, &scope.region, &session_name(&key.rule.rule))
        else {
            return Outcome::Refused(format!("{SERVICE} may not assume the role {}", self.role_arn));
        };
        match tasks.run_task(&caller, self.input(key, row)).await {
            Ok(output) => outcome(&output),
            Err(fault) if fault.status >= 500 || fault.code.contains("Throttling") => {
                Outcome::Retry(format!("{}: {}", fault.code, fault.message))
            }
            Err(fault) => Outcome::Refused(format!("{}: {}", fault.code, fault.message)),
        }
    }

    fn input(&self, key: &TargetKey, row: &DeliveryRow) -> Value {
        let given = self.parameters;
        let mut input = json!({
            "cluster": self.cluster_arn,
            "taskDefinition": given.task_definition_arn,
            "count": given.task_count.unwrap_or(1),
            "clientToken": client_token(key, &row.event_id),
            "startedBy": started_by(&key.rule.rule),
        });
        let members = [
            ("launchType", json!(given.launch_type)),
            ("platformVersion", json!(given.platform_version)),
            ("group", json!(given.group)),
            ("capacityProviderStrategy", json!(given.capacity_provider_strategy)),
            ("enableECSManagedTags", json!(given.enable_ecs_managed_tags)),
            ("enableExecuteCommand", json!(given.enable_execute_command)),
            ("placementConstraints", json!(given.placement_constraints)),
            ("placementStrategy", json!(given.placement_strategy)),
            ("propagateTags", json!(given.propagate_tags)),
            ("referenceId", json!(given.reference_id)),
            ("tags", tags(given)),
            ("networkConfiguration", network(given)),
            ("overrides", self.overrides(&row.input)),
        ];
        for (name, value) in members {
            if !value.is_null() {
                input[name] = value;
            }
        }
        input
    }

    fn overrides(&self, input: &str) -> Value {
        let input = serde_json::from_str(input).unwrap_or_default();
        let Value::Object(input) = input else { return Value::Null };
        let kept: Map<String, Value> =
            input.into_iter().filter(|(name, _)| self.has_input && OVERRIDES.contains(&name.as_str())).collect();
        if kept.is_empty() { Value::Null } else { Value::Object(kept) }
    }
}

fn tags(given: &EcsParameters) -> Value {
    let Some(tags) = &given.tags else { return Value::Null };
    tags.iter().map(|tag| json!({"key": tag.key, "value": tag.value})).collect()
}

fn network(given: &EcsParameters) -> Value {
    let network = given.network_configuration.as_ref().and_then(|network| network.awsvpc_configuration.as_ref());
    let Some(network) = network else { return Value::Null };
    let mut members = Map::new();
    members.insert("subnets".into(), json!(network.subnets));
    for (name, value) in
        [("securityGroups", json!(network.security_groups)), ("assignPublicIp", json!(network.assign_public_ip))]
    {
        if !value.is_null() {
            members.insert(name.into(), value);
        }
    }
    json!({"awsvpcConfiguration": members})
}

fn started_by(rule: &str) -> String {
    format!("events-rule/{rule}").chars().take(STARTED_BY_MAX).collect()
}

/// 64 characters, the same for the same event and target.
fn client_token(key: &TargetKey, event: &str) -> String {
    let digest = Sha256::digest(format!("{event} {}", key.deliveries()));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tasks that found no place may find one later.
fn outcome(output: &Value) -> Outcome {
    let started = output["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty());
    match output["failures"].as_array().and_then(|failures| failures.first()) {
        Some(failure) if !started => Outcome::Retry(format!("RunTask: {}", failure["reason"])),
        _ => Outcome::Delivered,
    }
}
