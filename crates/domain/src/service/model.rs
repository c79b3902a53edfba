//! What a service plan is made from and what it consists of.

use super::{DaemonInstance, Rebalance, ScaleInRule};
use crate::deployment::{Cause, CircuitBreaker, DeploymentId, DeploymentLimits, Failures, RolloutState, Watch};
use crate::reason::{ServiceEvent, StoppedReason};
use crate::rollout::{Rollout, Stage};
use crate::task::{DesiredStatus, HealthStatus, LastStatus};
use crate::time::Timestamp;

/// A service as one snapshot of the store shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceView {
    /// How many tasks are wanted; for a DAEMON service the number of its ACTIVE instances. Ignored while `draining`.
    pub desired_count: u32,
    /// For a DAEMON service, the instances that satisfy its constraints.
    pub daemon: Option<Vec<DaemonInstance>>,
    /// DeleteService was called: everything goes.
    pub draining: bool,
    /// minimumHealthyPercent and maximumPercent.
    pub limits: DeploymentLimits,
    /// For a managed daemon: so many healthy tasks may be missing at once by our own doing, instead of what
    /// minimumHealthyPercent says. Its deployments go on to the next tasks only when the ones before have run for the
    /// bake time.
    pub missing_max: Option<u32>,
    /// No more tasks than this may be added, whatever the percentages say.
    pub room_max: Option<u32>,
    /// An enabled circuit breaker.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// What else decides how the primary deployment ends.
    pub watch: Watch,
    /// The primary deployment has two sides, or is on the way back from there.
    pub rollout: Option<Rollout>,
    /// For so long after its start, a task's failing health check has no consequence.
    pub health_check_grace_period_seconds: i64,
    /// A task without a health check is healthy after running this long ([`crate::limits::HEALTHY_AFTER_SECONDS`]).
    pub healthy_after_running_ms: i64,
    /// The last attempt to start found no room for all tasks.
    pub placement_failed: bool,
    /// Since when the service is steady, and has said so.
    pub steady_since: Option<Timestamp>,
    /// How to choose among equals when fewer tasks are wanted, from the placement strategy.
    pub scale_in: Vec<ScaleInRule>,
    /// Availability Zone rebalancing, when it is on and possible.
    pub rebalance: Option<Rebalance>,
    /// The primary deployment first, then older ones. Never empty.
    pub deployments: Vec<DeploymentView>,
    /// Every task of the service that is not STOPPED, and those STOPPED ones that have not been counted yet.
    pub tasks: Vec<TaskView>,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentView {
    /// Its id.
    pub id: DeploymentId,
    /// Whether an essential container of its task definition has a health check.
    pub has_health_check: bool,
    /// How far it is.
    pub rollout: RolloutState,
    /// It brings an older revision back after a failure.
    pub rollback: bool,
    /// Since when it has reached its goal and is only watched.
    pub baking_since: Option<Timestamp>,
    /// What it remembers of its failures.
    pub failures: Failures,
}

/// One task, with what a decision reads.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// Its id, unique in the service.
    pub id: String,
    /// The deployment that started it.
    pub deployment: DeploymentId,
    /// What is known.
    pub last_status: LastStatus,
    /// What was asked.
    pub desired_status: DesiredStatus,
    /// Its health.
    pub health: HealthStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it reached RUNNING.
    pub started_at: Option<Timestamp>,
    /// When it reached STOPPED.
    pub stopped_at: Option<Timestamp>,
    /// Why it ended, once it has.
    pub end: Option<End>,
    /// The instance it is on; empty when it has none.
    pub instance: String,
    /// Its Availability Zone.
    pub zone: String,
    /// Its instance is DRAINING (or gone): the task should live elsewhere.
    pub on_draining_instance: bool,
    /// Scale-in protection is on.
    pub protected: bool,
    /// Which item of the strategy of the `Provider` rule started it.
    pub provider: Option<usize>,
    /// Values of the `Spread` rules of [`ServiceView::scale_in`], in their order.
    pub spread: Vec<String>,
    /// What its instance has left of the resource that the `Binpack` rule names.
    pub instance_free: u64,
}

impl TaskView {
    /// It exists: it holds room on an instance.
    pub fn is_live(&self) -> bool {
        !self.last_status.is_final()
    }

    /// It exists and is meant to.
    pub fn is_wanted(&self) -> bool {
        self.is_live() && self.desired_status == DesiredStatus::Running && self.last_status <= LastStatus::Running
    }
}

/// Why a task ended, as far as a service cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// It could not be started.
    FailedToStart,
    /// A container ended by itself.
    Exited,
    /// We stopped it because it was UNHEALTHY.
    FailedHealthChecks,
    /// Somebody asked for it, or its host is gone: no fault of the task.
    Blameless,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The end of a task has been taken into account; it is not shown to the planner again.
    ForgetTask {
        /// Its id.
        task: String,
    },
    /// A deployment's memory of failures changed.
    SetFailures {
        /// Which deployment.
        deployment: DeploymentId,
        /// What it remembers from now on.
        failures: Failures,
    },
    /// Start tasks of a deployment.
    StartTasks {
        /// Which deployment.
        deployment: DeploymentId,
        /// How many.
        count: u32,
    },
    /// Start one task of a deployment on each of these instances.
    StartTasksOn {
        /// Which deployment.
        deployment: DeploymentId,
        /// Ids of instances, not empty.
        instances: Vec<String>,
    },
    /// Start tasks of a deployment in one Availability Zone, for balance.
    StartTasksInZone {
        /// Which deployment.
        deployment: DeploymentId,
        /// The zone.
        zone: String,
        /// How many.
        count: u32,
    },
    /// Ask tasks of one Availability Zone to stop, for balance.
    MoveAway {
        /// The zone.
        zone: String,
        /// Ids, not empty.
        tasks: Vec<String>,
        /// Their `stoppedReason`; the code is ServiceSchedulerInitiated.
        reason: StoppedReason,
    },
    /// Rebalancing begins or ends.
    SetRebalancing {
        /// Whether it goes on.
        active: bool,
    },
    /// Ask a task to stop.
    StopTask {
        /// Its id.
        task: String,
        /// Its `stoppedReason`; the code is ServiceSchedulerInitiated.
        reason: StoppedReason,
    },
    /// The deployment reached its goal; its bake time begins.
    BeginBake {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// The deployment reached its goal, and its bake time is over.
    CompleteDeployment {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// The deployment is given up.
    FailDeployment {
        /// Which deployment.
        deployment: DeploymentId,
        /// Why.
        cause: Cause,
        /// Whether to go back to the last completed one, if there is one.
        rollback: bool,
    },
    /// A deployment with two sides stands elsewhere.
    SetRollout(Box<Rollout>),
    /// A deployment with two sides failed, and all is as it was before, or will not be.
    EndRollback {
        /// The deployment that failed.
        deployment: DeploymentId,
        /// Why what was before does not come back.
        failed: Option<Cause>,
    },
    /// An older deployment has no task left.
    RemoveDeployment {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// Remember since when the service is steady.
    SetSteady {
        /// `None`: it is not.
        since: Option<Timestamp>,
    },
    /// Tell the user.
    Announce(ServiceEvent),
    /// A deleted service has nothing left that runs: it becomes INACTIVE.
    Deactivate,
}

/// Why nothing more happens now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingOn {
    /// Tasks fail; the next start waits.
    Delay {
        /// Until when.
        until: Timestamp,
    },
    /// Tasks are on their way to RUNNING.
    Starting {
        /// How many.
        tasks: u32,
    },
    /// Tasks run but do not count as healthy yet.
    Healthy {
        /// How many.
        tasks: u32,
    },
    /// Tasks are on their way to STOPPED.
    Stopping {
        /// How many.
        tasks: u32,
    },
    /// The last attempt found no room.
    Room,
    /// Protected tasks cannot be stopped.
    Protection {
        /// How many.
        tasks: u32,
    },
    /// Daemon tasks on draining instances leave after the others there.
    LeavingLast {
        /// How many.
        tasks: u32,
    },
    /// A deployment with two sides is in this stage.
    Stage {
        /// Which.
        stage: Stage,
    },
    /// The deployment was given up and starts nothing more.
    GivenUp,
    /// The percentages leave room for no step at all.
    Configuration,
}

/// What to do now.
#[must_use = "a plan changes nothing until it is applied"]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps, to be applied in one transaction.
    pub actions: Vec<Action>,
    /// Why nothing more happens now; `None` when the service is steady.
    pub waiting_on: Option<WaitingOn>,
    /// When time alone would change the answer.
    pub wake_at: Option<Timestamp>,
}
