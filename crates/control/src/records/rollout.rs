//! A deployment with two sides, as a row of its service keeps it.

use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    deployment::DeploymentId,
    rollout::{Direction, HookRun, HookStatus, Rollout, Stage},
};
use serde::{Deserialize, Serialize};

use super::{
    service::{deployment_id, optional_deployment_id},
    text,
};

/// Where a deployment with two sides stands; see [`gantry_domain::rollout`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// The service's configuration when it began: a later change is for later deployments.
    pub configuration: ecs::DeploymentConfiguration,
    /// Last part of the ARN of its service deployment.
    pub service_deployment: String,
    /// What is to serve.
    #[serde(with = "deployment_id")]
    pub green: DeploymentId,
    /// What served before.
    #[serde(default, with = "optional_deployment_id", skip_serializing_if = "Option::is_none")]
    pub blue: Option<DeploymentId>,
    /// Where it goes.
    #[serde(with = "text::direction")]
    pub direction: Direction,
    /// Where it stands.
    #[serde(with = "text::stage")]
    pub stage: Stage,
    /// Since when.
    #[serde(with = "text::millis")]
    pub since: Timestamp,
    /// Green's share of production, in tenths of a percent.
    pub production: u32,
    /// Green's share of the test traffic, in tenths of a percent.
    pub test: u32,
    /// Hooks of the present stage.
    #[serde(default)]
    pub runs: Vec<HookRunRecord>,
    /// The next hook's number.
    pub runs_made: u32,
}

/// One hook of the present stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookRunRecord {
    /// Its number in the deployment.
    pub number: u32,
    /// Which of the configuration's hooks it is.
    pub hook: usize,
    /// How it stands.
    #[serde(with = "text::hook_status")]
    pub status: HookStatus,
    /// When it has taken too long.
    #[serde(with = "text::millis")]
    pub expires_at: Timestamp,
    /// Not called before this moment.
    #[serde(with = "text::millis")]
    pub call_at: Timestamp,
    /// Calls in a row that gave no answer.
    #[serde(default)]
    pub unanswered: u32,
}

impl RolloutRecord {
    /// Takes over where the deployment stands; what it is made of stays.
    pub fn update(&mut self, rollout: &Rollout) {
        self.green = rollout.green;
        self.blue = rollout.blue;
        self.direction = rollout.direction;
        self.stage = rollout.stage;
        self.since = rollout.since;
        self.production = rollout.production;
        self.test = rollout.test;
        self.runs = rollout.runs.iter().map(HookRunRecord::of).collect();
        self.runs_made = rollout.runs_made;
    }
}

impl HookRunRecord {
    /// The row of a hook.
    pub fn of(run: &HookRun) -> Self {
        let HookRun { number, hook, status, expires_at, call_at, unanswered } = run.clone();
        Self { number, hook, status, expires_at, call_at, unanswered }
    }

    /// The hook of a row.
    pub fn run(&self) -> HookRun {
        let Self { number, hook, status, expires_at, call_at, unanswered } = self.clone();
        HookRun { number, hook, status, expires_at, call_at, unanswered }
    }
}
