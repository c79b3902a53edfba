//! Reconcilers close the gap between what was asked and what is. Each observes one key, decides with the domain, and
//! acts with one transaction; the [`runner`] says when.

mod away_instances;
mod capacity_providers;
mod clusters;
mod exec_sessions;
mod hooks;
mod instances;
mod leftovers;
pub mod runner;
mod services;
mod task_definitions;
mod tasks;
mod waiting;

pub use away_instances::AwayInstances;
pub use capacity_providers::CapacityProviders;
pub use clusters::Clusters;
pub use exec_sessions::ExecSessions;
pub use hooks::Hooks;
pub use instances::Instances;
pub use leftovers::Leftovers;
pub use runner::{Reconciler, Runner, Wake};
pub use services::Services;
pub use task_definitions::TaskDefinitions;
pub use tasks::StoppedTasks;
pub use waiting::WaitingTasks;

use crate::Control;

/// Every reconciler of a control plane, running; they end when this is dropped.
#[derive(Debug)]
pub struct Reconcilers {
    _capacity_providers: Runner<<CapacityProviders as Reconciler>::Key>,
    _away_instances: Runner<<AwayInstances as Reconciler>::Key>,
    _clusters: Runner<<Clusters as Reconciler>::Key>,
    _exec_sessions: Runner<<ExecSessions as Reconciler>::Key>,
    _hooks: Runner<<Hooks as Reconciler>::Key>,
    _instances: Runner<<Instances as Reconciler>::Key>,
    _leftovers: Runner<<Leftovers as Reconciler>::Key>,
    _services: Runner<<Services as Reconciler>::Key>,
    _stopped_tasks: Runner<<StoppedTasks as Reconciler>::Key>,
    _task_definitions: Runner<<TaskDefinitions as Reconciler>::Key>,
    _waiting_tasks: Runner<<WaitingTasks as Reconciler>::Key>,
}

impl Reconcilers {
    /// Starts them all.
    pub fn start(control: &Control) -> Self {
        Self {
            _capacity_providers: Runner::start(control, CapacityProviders::new(control.clone())),
            _away_instances: Runner::start(control, AwayInstances::new(control.clone())),
            _clusters: Runner::start(control, Clusters::new(control.clone())),
            _exec_sessions: Runner::start(control, ExecSessions::new(control.clone())),
            _hooks: Runner::start(control, Hooks::new(control.clone())),
            _instances: Runner::start(control, Instances::new(control.clone())),
            _leftovers: Runner::start(control, Leftovers::new(control.clone())),
            _services: Runner::start(control, Services::new(control.clone())),
            _stopped_tasks: Runner::start(control, StoppedTasks::new(control.clone())),
            _task_definitions: Runner::start(control, TaskDefinitions::new(control.clone())),
            _waiting_tasks: Runner::start(control, WaitingTasks::new(control.clone())),
        }
    }
}
