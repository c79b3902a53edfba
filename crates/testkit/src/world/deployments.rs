//! Deployments in scenarios: their configuration, what happens to them, and how they look.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt};
use gantry_api::ecs::{self, Ecs};
use gantry_control::{HookCaller, HookResponse, alarms};

use super::{World, refusal, script::Words};

/// URLs that answer as a scenario says, and remember what they were asked. Everything else cannot be reached.
#[derive(Debug, Default)]
pub(super) struct FakeHooks {
    answers: Mutex<BTreeMap<String, String>>,
    calls: Mutex<Vec<String>>,
}

impl HookCaller for FakeHooks {
    fn call<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<HookResponse, String>> {
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let weight = |name: &str| told[name][told["targetServiceRevisionArn"].as_str().unwrap_or_default()].clone();
        let stage = told["lifecycleStage"].as_str().unwrap_or_default();
        let (production, test) = (weight("productionTrafficWeights"), weight("testTrafficWeights"));
        let call = format!("{url} in {stage}, production {production} test {test}");
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        async move {
            let status = answer.ok_or_else(|| "nobody is there".to_owned())?;
            let body = serde_json::json!({ "hookStatus": status, "callBackDelay": 5 }).to_string();
            Ok(HookResponse { status: 200, body: body.into_bytes() })
        }
        .boxed()
    }
}

impl World {
    /// `hook URL SUCCEEDED`: what a URL answers from now on.
    pub(super) fn set_hook(&mut self, url: &str, answer: &str) -> String {
        let mut answers = self.hooks.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(url.to_owned(), answer.to_owned());
        String::new()
    }

    /// `hook-calls`: what was called since the last time.
    pub(super) fn hook_calls(&mut self) -> String {
        let mut calls = self.hooks.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.drain(..).map(|call| call + "\n").collect()
    }

    pub(super) async fn set_alarm(&mut self, name: &str, state: &str) -> String {
        match alarms::set(self.control(), &self.caller(), name, state, None).await {
            Ok(()) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    /// `stop-deployment SERVICE [abort]`
    pub(super) async fn stop_deployment(&mut self, service: &str, words: &Words<'_>) -> String {
        let abort = words.has("abort").then_some(ecs::StopServiceDeploymentStopType::Abort);
        let arn = self.newest_deployment(service).await;
        let input = ecs::StopServiceDeploymentRequest { service_deployment_arn: arn, stop_type: abort };
        match self.ecs().stop_service_deployment(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    /// `continue SERVICE HOOK [rollback]`
    pub(super) async fn continue_deployment(&mut self, service: &str, hook: &str, words: &Words<'_>) -> String {
        let input = ecs::ContinueServiceDeploymentRequest {
            service_deployment_arn: self.newest_deployment(service).await,
            hook_id: Some(hook.to_owned()),
            action: words.has("rollback").then_some(ecs::DeploymentLifecycleHookAction::Rollback),
        };
        match self.ecs().continue_service_deployment(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn newest_deployment(&self, service: &str) -> Option<String> {
        let input = ecs::ListServiceDeploymentsRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(service.to_owned()),
            ..Default::default()
        };
        let list = self.ecs().list_service_deployments(&self.caller(), input).await.expect("the service is there");
        list.service_deployments.and_then(|list| list.into_iter().next()?.service_deployment_arn)
    }

    /// `deployment SERVICE`: the newest one, as DescribeServiceDeployments shows it.
    pub(super) async fn show_deployment(&mut self, service: &str) -> String {
        let arns = self.newest_deployment(service).await.into_iter().collect();
        let input = ecs::DescribeServiceDeploymentsRequest { service_deployment_arns: Some(arns) };
        let answer = self.ecs().describe_service_deployments(&self.caller(), input).await;
        let found = answer.map(|answer| answer.service_deployments.unwrap_or_default().into_iter().next());
        match found {
            Ok(Some(deployment)) => self.shorten(&text(&deployment)),
            Ok(None) => "none\n".to_owned(),
            Err(fault) => refusal(&fault),
        }
    }
}

fn text(deployment: &ecs::ServiceDeployment) -> String {
    fn name<T: AsRef<str>>(value: Option<T>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.as_ref().to_owned())
    }
    let mut shown = format!(
        "{} stage {} {}\n",
        name(deployment.status.as_ref().map(|status| status.as_str())),
        name(deployment.lifecycle_stage.as_ref().map(|stage| stage.as_str())),
        deployment.status_reason.as_deref().unwrap_or_default()
    );
    // Writing into a string cannot fail.
    for hook in deployment.lifecycle_hook_details.iter().flatten() {
        let status = name(hook.status.as_ref().map(|status| status.as_str()));
        let _ = writeln!(shown, "{} {status}", name(hook.hook_id.as_ref()));
    }
    let sources = deployment.source_service_revisions.iter().flatten();
    let sides = deployment.target_service_revision.iter().map(|side| ("target", side));
    for (side, revision) in sides.chain(sources.map(|side| ("source", side))) {
        let weight = |weight: Option<f64>| weight.map_or_else(|| "-".to_owned(), |weight| weight.to_string());
        let _ = writeln!(
            shown,
            "{side} requested {} running {} production {} test {}",
            revision.requested_task_count.unwrap_or(-1),
            revision.running_task_count.unwrap_or(-1),
            weight(revision.requested_production_traffic_weight),
            weight(revision.requested_test_traffic_weight)
        );
    }
    if let Some(breaker) = &deployment.deployment_circuit_breaker {
        let status = name(breaker.status.as_ref().map(|status| status.as_str()));
        let (failures, threshold) = (breaker.failure_count.unwrap_or(-1), breaker.threshold.unwrap_or(-1));
        let _ = writeln!(shown, "circuit breaker {status} {failures} of {threshold}");
    }
    if let Some(alarms) = &deployment.alarms {
        let status = name(alarms.status.as_ref().map(|status| status.as_str()));
        let triggered = alarms.triggered_alarm_names.clone().unwrap_or_default().join(" ");
        let _ = writeln!(shown, "{}", format!("alarms {status} {triggered}").trim_end());
    }
    shown.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `min=50 max=150 breaker=rollback threshold=count:5 rollout=canary bake=5 step=10 step-bake=2 alarms=a,b
/// hooks=POST_SCALE_UP:pause,BAKE:http://x timeout=3 on-timeout=continue early=75 deferred`
pub(super) fn configuration(words: &Words<'_>) -> Option<ecs::DeploymentConfiguration> {
    let text = |name: &str| words.named.get(name).copied();
    let breaker = text("breaker").map(|kind| ecs::DeploymentCircuitBreaker {
        enable: Some(true),
        rollback: Some(kind == "rollback"),
        threshold_configuration: text("threshold").and_then(|text| text.split_once(':')).map(|(kind, value)| {
            ecs::ThresholdConfiguration { r#type: Some(ecs::ThresholdType::from(kind)), value: value.parse().ok() }
        }),
        ..Default::default()
    });
    let strategy =
        text("rollout").map(|name| ecs::DeploymentStrategy::from(name.to_uppercase().replace('-', "_").as_str()));
    let linear = strategy == Some(ecs::DeploymentStrategy::Linear);
    let canary = strategy == Some(ecs::DeploymentStrategy::Canary);
    let configuration = ecs::DeploymentConfiguration {
        minimum_healthy_percent: words.number("min"),
        maximum_percent: words.number("max"),
        deployment_circuit_breaker: breaker,
        bake_time_in_minutes: words.number("bake"),
        alarms: text("alarms").map(|names| ecs::DeploymentAlarms {
            alarm_names: Some(names.split(',').map(str::to_owned).collect()),
            enable: Some(true),
            rollback: Some(true),
        }),
        linear_configuration: linear.then(|| ecs::LinearConfiguration {
            step_percent: words.number("step"),
            step_bake_time_in_minutes: words.number("step-bake"),
        }),
        canary_configuration: canary.then(|| ecs::CanaryConfiguration {
            canary_percent: words.number("step"),
            canary_bake_time_in_minutes: words.number("step-bake"),
        }),
        lifecycle_hooks: text("hooks").map(|hooks| hooks.split(',').map(|text| hook(text, words)).collect()),
        early_success_criteria: words.number("early").map(|percent| ecs::DeploymentEarlySuccessCriteria {
            enable: Some(true),
            healthy_percent: Some(percent),
            source_service_revision_cleanup: words.has("deferred").then_some(ecs::ServiceRevisionCleanup::Deferred),
        }),
        strategy,
    };
    (configuration != ecs::DeploymentConfiguration::default()).then_some(configuration)
}

fn hook(text: &str, words: &Words<'_>) -> ecs::DeploymentLifecycleHook {
    let (stage, target) = text.split_once(':').unwrap_or((text, "pause"));
    let action = words.named.get("on-timeout").map(|text| text.to_uppercase());
    ecs::DeploymentLifecycleHook {
        target_type: (target == "pause").then_some(ecs::DeploymentLifecycleHookTargetType::Pause),
        hook_target_arn: (target != "pause").then(|| target.to_owned()),
        lifecycle_stages: Some(vec![ecs::DeploymentLifecycleHookStage::from(stage)]),
        timeout_configuration: words.number("timeout").map(|minutes| {
            ecs::DeploymentLifecycleHookTimeoutConfiguration {
                timeout_in_minutes: Some(minutes),
                action: action.as_deref().map(ecs::DeploymentLifecycleHookAction::from),
            }
        }),
        ..Default::default()
    }
}

/// Shared with every control plane of a world.
pub(super) fn hooks() -> Arc<FakeHooks> {
    Arc::default()
}
