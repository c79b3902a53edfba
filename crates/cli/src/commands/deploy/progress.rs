//! How a deployment stands, and how that is told: a line per change, or one line that is kept up to date on a terminal.

use std::time::{Duration, Instant};

use gantry_api::ecs::{self, *};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::arguments::Output;

/// What is told of a deployment.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    status: ServiceDeploymentStatus,
    reason: Option<String>,
    stage: Option<String>,
    /// Hooks that hold the stage up, with their status.
    hooks: Vec<String>,
    new: Side,
    old: Side,
    failed: i32,
    /// Green's share of production, in percent.
    production: Option<f64>,
    stage_since: Instant,
    bake: Option<Duration>,
}

/// The tasks of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Side {
    wanted: i32,
    running: i32,
    pending: i32,
}

impl PartialEq for Progress {
    fn eq(&self, other: &Self) -> bool {
        let told =
            |one: &Self| (one.status.clone(), one.stage.clone(), one.hooks.clone(), one.new, one.old, one.failed);
        told(self) == told(other) && self.production == other.production
    }
}

impl Progress {
    pub(super) fn of(deployment: &ServiceDeployment, service: &ecs::Service, before: Option<&Progress>) -> Self {
        let side = |revision: &ServiceRevisionSummary| Side {
            wanted: revision.requested_task_count.unwrap_or(0),
            running: revision.running_task_count.unwrap_or(0),
            pending: revision.pending_task_count.unwrap_or(0),
        };
        let target = deployment.target_service_revision.as_ref();
        let sources = deployment.source_service_revisions.iter().flatten().map(side);
        let stage = deployment.lifecycle_stage.as_ref().map(|stage| stage.as_str().to_owned());
        let same_stage = before.filter(|before| before.stage == stage);
        let open = deployment.lifecycle_hook_details.iter().flatten().filter(|hook| {
            matches!(
                hook.status,
                Some(DeploymentLifecycleHookStatus::AwaitingAction | DeploymentLifecycleHookStatus::InProgress)
            )
        });
        let hook = |hook: &DeploymentLifecycleHookDetail| {
            let status = hook.status.as_ref().map_or("", |status| status.as_str());
            format!("{} {status}", hook.hook_id.as_deref().unwrap_or_default())
        };
        let primary = service.deployments.as_ref().and_then(|deployments| deployments.first());
        let minutes = deployment.deployment_configuration.as_ref().and_then(|one| one.bake_time_in_minutes);
        Self {
            status: deployment.status.clone().unwrap_or(ServiceDeploymentStatus::Pending),
            reason: deployment.status_reason.clone(),
            hooks: open.map(hook).collect(),
            new: target.map(side).unwrap_or_default(),
            old: sources.fold(Side::default(), |sum, side| Side {
                wanted: sum.wanted + side.wanted,
                running: sum.running + side.running,
                pending: sum.pending + side.pending,
            }),
            failed: primary.and_then(|primary| primary.failed_tasks).unwrap_or(0),
            production: target.and_then(|target| target.requested_production_traffic_weight),
            stage_since: same_stage.map_or_else(Instant::now, |before| before.stage_since),
            bake: minutes
                .and_then(|minutes| u64::try_from(minutes).ok())
                .map(|minutes| Duration::from_secs(minutes * 60)),
            stage,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        use ServiceDeploymentStatus as Status;
        matches!(
            self.status,
            Status::Successful | Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed
        )
    }

    pub(super) fn is_good(&self) -> bool {
        self.status == ServiceDeploymentStatus::Successful
    }

    fn text(&self) -> String {
        let side = |side: Side| format!("{}/{} running, {} pending", side.running, side.wanted, side.pending);
        let mut text = format!("{} new: {}; old: {}", self.status.as_str(), side(self.new), side(self.old));
        if self.failed > 0 {
            text += &format!("; {} failed", self.failed);
        }
        if let Some(stage) = &self.stage {
            text += &format!("; {stage}");
        }
        if let Some(production) = self.production {
            text += &format!(", {production} % of production");
        }
        for hook in &self.hooks {
            text += &format!("; {hook}");
        }
        text
    }

    /// What is left of the bake time, as far as it was watched from its beginning.
    fn left(&self) -> Option<Duration> {
        let bake = self.bake.filter(|_| self.stage.as_deref() == Some("BAKE_TIME"))?;
        Some(bake.saturating_sub(self.stage_since.elapsed()))
    }

    fn json(&self) -> Value {
        let side = |side: Side| json!({ "requested": side.wanted, "running": side.running, "pending": side.pending });
        json!({
            "status": self.status.as_str(), "stage": self.stage, "hooks": self.hooks, "new": side(self.new),
            "old": side(self.old), "failedTasks": self.failed, "productionTrafficWeight": self.production,
        })
    }
}

/// Tells what happens, in the form that was asked for.
pub(super) struct Teller {
    output: Output,
    /// The line that is kept up to date; hidden where nobody watches.
    line: ProgressBar,
    live: bool,
}

impl Teller {
    pub(super) fn new(output: Output) -> Self {
        let live = output == Output::Text && std::io::IsTerminal::is_terminal(&std::io::stderr());
        let line = if live { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            line.set_style(style);
        }
        Self { output, line, live }
    }

    /// Talk, to standard error.
    pub(super) fn say(&self, text: &str) {
        self.line.suspend(|| eprintln!("{text}"));
    }

    /// The deployment was begun, and nobody waits for it.
    pub(super) fn begun(&self, arn: &str) {
        match self.output {
            Output::Text => self.data(&format!("begun: {arn}")),
            Output::Json => self.data(&json!({ "serviceDeploymentArn": arn }).to_string()),
        }
    }

    pub(super) fn event(&self, event: &ServiceEvent) {
        let message = event.message.as_deref().unwrap_or_default();
        match self.output {
            Output::Text => self.data(message),
            Output::Json => self.data(&json!({ "event": message }).to_string()),
        }
    }

    pub(super) fn change(&mut self, progress: &Progress) {
        match self.output {
            Output::Json => self.data(&progress.json().to_string()),
            Output::Text if !self.live => self.data(&progress.text()),
            Output::Text => {}
        }
    }

    /// Between two looks.
    pub(super) fn wait(&mut self, progress: &Progress) {
        let left = progress.left().map(|left| format!(", {} s left", left.as_secs()));
        self.line.set_message(progress.text() + &left.unwrap_or_default());
        self.line.tick();
    }

    pub(super) fn end(&mut self, arn: &str, progress: &Progress) {
        self.line.finish_and_clear();
        let reason = progress.reason.clone().unwrap_or_default();
        match self.output {
            Output::Text => self.data(format!("{} {reason}", progress.status.as_str()).trim_end()),
            Output::Json => {
                let result = progress.status.as_str();
                let last = json!({ "result": result, "reason": progress.reason, "serviceDeploymentArn": arn });
                self.data(&last.to_string());
            }
        }
    }

    fn data(&self, line: &str) {
        self.line.suspend(|| super::super::print(&format!("{line}\n")));
    }
}

/// The last part of an ARN.
pub(super) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
