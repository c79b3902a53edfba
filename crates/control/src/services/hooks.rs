//! Lifecycle hooks of a deployment configuration: checked, defaults filled in, and as the domain wants them.
//!
//! Where the real service invokes a Lambda function, a hook here names what to do instead: an `http(s)://` URL is
//! called, a task definition is run once.

use gantry_api::{Fault, ecs};
use gantry_domain::{
    arn::{Arn, Resource, Scope, TaskDefinitionKey},
    limits::{HOOK_DETAILS_BYTES_MAX, HOOK_TARGET_LENGTH_MAX, HOOK_TIMEOUT_MINUTES_MAX, LIFECYCLE_HOOKS_MAX},
    rollout::{Hook, Stage, TimeoutAction},
};

use super::configuration::minutes_ms;
use crate::fault;

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HookTarget {
    /// Waits for ContinueServiceDeployment.
    Pause,
    /// Is called.
    Url(String),
    /// Is run; its exit codes are the answer.
    Task(TaskDefinitionKey),
}

/// A day: how long a hook may take when it does not say.
const TIMEOUT_MINUTES_DEFAULT: i32 = 1440;

/// The hooks with defaults filled in.
pub(crate) fn filled_in(hooks: Vec<ecs::DeploymentLifecycleHook>) -> Vec<ecs::DeploymentLifecycleHook> {
    let filled_in = |hook: ecs::DeploymentLifecycleHook| {
        let timeout = hook.timeout_configuration.unwrap_or_default();
        ecs::DeploymentLifecycleHook {
            target_type: hook.target_type.or(Some(ecs::DeploymentLifecycleHookTargetType::AwsLambda)),
            timeout_configuration: Some(ecs::DeploymentLifecycleHookTimeoutConfiguration {
                timeout_in_minutes: timeout.timeout_in_minutes.or(Some(TIMEOUT_MINUTES_DEFAULT)),
                action: timeout.action.or(Some(ecs::DeploymentLifecycleHookAction::Rollback)),
            }),
            ..hook
        }
    };
    hooks.into_iter().map(filled_in).collect()
}

/// Refuses hooks that could not be called.
pub(crate) fn check(hooks: &[ecs::DeploymentLifecycleHook]) -> Result<(), Fault> {
    if hooks.len() > LIFECYCLE_HOOKS_MAX {
        return Err(fault::invalid(format!("lifecycleHooks can have at most {LIFECYCLE_HOOKS_MAX} items.")));
    }
    hooks.iter().try_for_each(check_hook)
}

fn check_hook(hook: &ecs::DeploymentLifecycleHook) -> Result<(), Fault> {
    let target = target(hook)?;
    let names = hook.lifecycle_stages.as_deref().unwrap_or_default();
    if names.is_empty() {
        return Err(fault::invalid("lifecycleStages can not be empty."));
    }
    for name in names {
        let stage = Stage::parse(name.as_str()).filter(|stage| stage.takes_hooks());
        let stage = stage.ok_or_else(|| fault::invalid(format!("Invalid lifecycle stage: {}", name.as_str())))?;
        if target == HookTarget::Pause && !stage.takes_pauses() {
            return Err(fault::invalid(format!(
                "A lifecycle hook of type PAUSE is not supported in the stage {}.",
                stage.as_str()
            )));
        }
    }
    let timeout = hook.timeout_configuration.as_ref().and_then(|timeout| timeout.timeout_in_minutes);
    if timeout.is_some_and(|minutes| !(1..=HOOK_TIMEOUT_MINUTES_MAX).contains(&minutes)) {
        return Err(fault::invalid(format!("timeoutInMinutes must be between 1 and {HOOK_TIMEOUT_MINUTES_MAX}.")));
    }
    let Some(details) = &hook.hook_details else { return Ok(()) };
    if !details.is_object() || details.to_string().len() > HOOK_DETAILS_BYTES_MAX {
        return Err(fault::invalid(format!(
            "hookDetails must be a JSON object of at most {HOOK_DETAILS_BYTES_MAX} bytes."
        )));
    }
    Ok(())
}

/// Refuses task definitions of another account or region.
pub(crate) fn check_place(scope: &Scope, configuration: &ecs::DeploymentConfiguration) -> Result<(), Fault> {
    let arns = configuration.lifecycle_hooks.iter().flatten().filter_map(|hook| hook.hook_target_arn.as_deref());
    for arn in arns.filter_map(|text| text.parse::<Arn>().ok()) {
        scope.same_place(&arn.scope).map_err(|error| fault::elsewhere(&error))?;
    }
    Ok(())
}

/// What a hook does.
pub(crate) fn target(hook: &ecs::DeploymentLifecycleHook) -> Result<HookTarget, Fault> {
    let arn = hook.hook_target_arn.as_deref().unwrap_or_default();
    match hook.target_type {
        Some(ecs::DeploymentLifecycleHookTargetType::Pause) => match arn {
            "" => Ok(HookTarget::Pause),
            _ => Err(fault::invalid("hookTargetArn cannot be specified for a lifecycle hook of type PAUSE.")),
        },
        _ if arn.is_empty() => Err(fault::invalid("hookTargetArn is required for a lifecycle hook.")),
        _ if arn.len() > HOOK_TARGET_LENGTH_MAX => {
            Err(fault::invalid(format!("hookTargetArn can have at most {HOOK_TARGET_LENGTH_MAX} characters.")))
        }
        _ if is_url(arn) => Ok(HookTarget::Url(arn.to_owned())),
        _ => match arn.parse::<Arn>().map(|arn| arn.resource) {
            Ok(Resource::TaskDefinition(key)) => Ok(HookTarget::Task(key)),
            _ if arn.contains(":lambda:") => Err(fault::unsupported(
                "Lambda functions as lifecycle hooks (name an http(s) URL or a task definition)",
            )),
            _ => Err(fault::invalid("hookTargetArn must be an http(s) URL or the ARN of a task definition.")),
        },
    }
}

/// A URL with a host and nothing that would confuse a request line.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.starts_with(['/', '?', '#']) && !rest.is_empty())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As the domain wants them.
pub(crate) fn of(configuration: &ecs::DeploymentConfiguration) -> Vec<Hook> {
    let hook = |hook: &ecs::DeploymentLifecycleHook| {
        let timeout = hook.timeout_configuration.clone().unwrap_or_default();
        let stages = hook.lifecycle_stages.as_deref().unwrap_or_default();
        Hook {
            stages: stages.iter().filter_map(|stage| Stage::parse(stage.as_str())).collect(),
            pause: hook.target_type == Some(ecs::DeploymentLifecycleHookTargetType::Pause),
            timeout_ms: minutes_ms(timeout.timeout_in_minutes.or(Some(TIMEOUT_MINUTES_DEFAULT))),
            on_timeout: match timeout.action {
                Some(ecs::DeploymentLifecycleHookAction::Continue) => TimeoutAction::Continue,
                _ => TimeoutAction::Rollback,
            },
        }
    };
    configuration.lifecycle_hooks.as_deref().unwrap_or_default().iter().map(hook).collect()
}
