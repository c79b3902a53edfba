//! Starting tasks: RunTask, StartTask and the services reconciler all come through here.
//!
//! Requests that arrive together are planned one after the other on one picture of the cluster and committed in one
//! transaction, which compares the placement counter of every host it used: two control planes (or two batches) that
//! counted on the same free resources cannot both commit. Whoever loses plans again.

mod batch;
mod instances;
mod network;
mod plan;
mod providers;
mod template;
mod waiting;

use gantry_api::Fault;
use gantry_domain::{
    arn::{ContainerInstanceId, TaskDefinitionKey, TaskId},
    placement::{Constraint, Lack, Rejection, Strategy},
    reason::RoleNotAssumed,
};
use gantry_store::Txn;

pub(crate) use batch::{Launcher, start};
pub(crate) use instances::{Candidate, TakenByHost, candidates, free_gpus, instance};
pub(crate) use network::{HOSTS_MAX, PREFIX_LENGTH, gateway, gateway_of_block, host_address};
pub use providers::ProviderShare;
pub(crate) use providers::{share, target};
pub use template::{NetworkRequest, TaskTemplate};
pub(crate) use waiting::admit;

pub use crate::volumes::VolumeTemplate;

use crate::keys::{ClusterKey, InstanceKey};

/// Tasks to start, all alike.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The cluster they belong to.
    pub cluster: ClusterKey,
    /// The revision they run.
    pub definition: TaskDefinitionKey,
    /// Where they may go.
    pub target: Target,
    /// How many; for [`Target::Named`] one per instance.
    pub count: usize,
    /// Binding rules, those of the task definition included.
    pub constraints: Vec<Constraint>,
    /// Best effort.
    pub strategies: Vec<Strategy>,
    /// What every task is.
    pub task: TaskTemplate,
    /// Remembered with the tasks: a repetition gives the same tasks.
    pub token: Option<ClientToken>,
    /// Done and compared in the same transaction as the tasks' creation (and not at all when no task is placed). When a
    /// compare of it fails, the launch ends with [`LaunchError::Overtaken`]. It may not touch tasks, placements or
    /// subnets.
    pub with: Txn,
}

/// Where tasks may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The cluster's own instances.
    Ec2,
    /// The cluster's instances from outside.
    External,
    /// The instances of capacity providers of the cluster, so many tasks on those of each.
    Providers(Vec<ProviderShare>),
    /// The instances of this provider.
    Provider(String),
    /// The Fargate fleet of the account.
    Fleet,
    /// These instances, one task each, whatever constraints say (StartTask).
    Named(Vec<ContainerInstanceId>),
}

/// A client's token and what it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientToken {
    /// The token.
    pub token: String,
    /// Digest of the request.
    pub request: String,
}

/// What became of a launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    /// The tasks, in the order they were placed.
    pub tasks: Vec<TaskId>,
    /// How many found no place.
    pub unplaced: usize,
    /// Why, per instance that was looked at; not for tasks of services, which say what came closest.
    pub refused: Vec<Refused>,
    /// What came closest, when something was looked at.
    pub closest: Option<Refused>,
    /// There was no ACTIVE instance to look at.
    pub no_instances: bool,
}

/// An instance that takes no task of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The instance.
    pub instance: InstanceKey,
    /// Why.
    pub why: Refusal,
}

/// Why an instance takes no task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It lacks something.
    Lacks(Lack),
    /// No address is free in any of the subnets.
    Addresses,
    /// It is not known.
    Missing,
    /// It is deregistered.
    Inactive,
}

/// Why a launch was not done at all.
#[derive(Debug)]
pub enum LaunchError {
    /// A compare of [`Launch::with`] did not hold: decide again.
    Overtaken {
        /// The key that changed.
        key: String,
    },
    /// A role of the tasks cannot be taken on.
    Role(RoleNotAssumed),
    /// The request is refused.
    Fault(Fault),
}

impl From<Fault> for LaunchError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<LaunchError> for Fault {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Overtaken { .. } => crate::fault::overtaken(),
            LaunchError::Role(role) => crate::fault::role_not_assumed(&role),
            LaunchError::Fault(fault) => fault,
        }
    }
}

fn refused(instance: InstanceKey, rejection: &Rejection) -> Refused {
    Refused { instance, why: Refusal::Lacks(rejection.lack.clone()) }
}
