//! The messages of a service's `events`.

use std::fmt;

use crate::deployment::Cause;

/// What kept a task from being placed, as a service event tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlacementTrouble {
    /// The cluster has no instance that could be asked.
    NoInstances,
    /// The instance that came closest, and what it lacks.
    Closest {
        /// Its id.
        instance: String,
        /// What it lacks.
        lack: Lack,
    },
    /// Fargate has no room.
    CapacityUnavailable,
}

/// What an instance lacks for a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// CPU units.
    Cpu,
    /// Memory.
    Memory,
    /// A host port.
    Port,
    /// An attribute.
    Attribute,
    /// A connected agent.
    Agent,
    /// A critical daemon, which tasks must wait for.
    Daemon,
    /// Anything else, by its placement code.
    Other(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Cpu => f.write_str("has insufficient CPU units available"),
            Lack::Memory => f.write_str("has insufficient memory available"),
            Lack::Port => f.write_str("is already using a port required by your task"),
            Lack::Attribute => f.write_str("is missing an attribute required by your task"),
            Lack::Agent => f.write_str("doesn't have the agent connected"),
            Lack::Daemon => f.write_str("doesn't have a critical daemon running"),
            Lack::Other(code) => write!(f, "encountered error \"{code}\""),
        }
    }
}

/// A role that cannot be taken on, by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleNotAssumed {
    /// A task's own.
    Task(String),
    /// The one in which volumes are made for tasks.
    Infrastructure(String),
}

impl fmt::Display for RoleNotAssumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoleNotAssumed::Task(role) => write!(
                f,
                "ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the \
                 role being passed has the proper trust relationship and permissions and that your IAM user has \
                 permissions to pass this role."
            ),
            RoleNotAssumed::Infrastructure(role) => write!(
                f,
                "ECS was unable to assume the configured ECS Infrastructure Role '{role}'. Please verify that the role \
                 being passed has the proper trust relationship with Amazon ECS."
            ),
        }
    }
}

/// How many tasks of a service an Availability Zone has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneCount {
    /// The zone.
    pub zone: String,
    /// The number.
    pub tasks: u32,
}

/// A message of a service's `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEvent {
    /// Tasks were started.
    Started {
        /// Task ids, in the order they were placed.
        tasks: Vec<String>,
    },
    /// Tasks were stopped.
    Stopped {
        /// Task ids.
        tasks: Vec<String>,
    },
    /// Tasks were started in a zone that has too few.
    StartedToRebalance {
        /// The zone.
        zone: String,
        /// Task ids, in the order they were placed.
        tasks: Vec<String>,
    },
    /// Tasks were stopped in a zone that has too many.
    StoppedToRebalance {
        /// The zone.
        zone: String,
        /// Task ids.
        tasks: Vec<String>,
    },
    /// Zones differ too much, and something is done about it.
    RebalancingStarted {
        /// All zones.
        zones: Vec<ZoneCount>,
    },
    /// Zones differ by one task at most.
    RebalancingCompleted {
        /// All zones.
        zones: Vec<ZoneCount>,
    },
    /// A deployment is done.
    DeploymentCompleted {
        /// `ecs-svc/N`.
        deployment: String,
    },
    /// A deployment was given up.
    DeploymentFailed {
        /// `ecs-svc/N`.
        deployment: String,
        /// Why.
        cause: Cause,
    },
    /// A failed deployment goes back to an older one.
    RollingBack {
        /// `ecs-svc/N`: the new deployment that carries the old definition.
        deployment: String,
    },
    /// Everything is as asked.
    SteadyState,
    /// A task could not be placed.
    NotPlaced(PlacementTrouble),
    /// A role of its tasks cannot be taken on.
    RoleNotAssumed(RoleNotAssumed),
    /// Tasks end before they run, again and again.
    StartImpaired,
    /// A task was UNHEALTHY.
    FailedContainerHealthChecks {
        /// The task's id.
        task: String,
    },
    /// minimumHealthyPercent and maximumPercent leave no room for a step.
    ConfigurationStuck,
    /// More tasks are protected than wanted.
    ProtectedTasks {
        /// `ecs-svc/N`.
        deployment: String,
    },
}

impl ServiceEvent {
    /// Type and name of the EventBridge event (`ECS Service Action`) that goes with the message, with a blank between
    /// them; none for messages that are told otherwise or not at all.
    pub const fn action(&self) -> Option<&'static str> {
        match self {
            ServiceEvent::Started { .. } | ServiceEvent::StartedToRebalance { .. } => Some("INFO TASKS_STARTED"),
            ServiceEvent::Stopped { .. } | ServiceEvent::StoppedToRebalance { .. } => Some("INFO TASKS_STOPPED"),
            ServiceEvent::RebalancingStarted { .. } => Some("INFO SERVICE_REBALANCING_STARTED"),
            ServiceEvent::RebalancingCompleted { .. } => Some("INFO SERVICE_REBALANCING_COMPLETED"),
            ServiceEvent::SteadyState => Some("INFO SERVICE_STEADY_STATE"),
            ServiceEvent::StartImpaired => Some("WARN SERVICE_TASK_START_IMPAIRED"),
            ServiceEvent::NotPlaced(_) => Some("ERROR SERVICE_TASK_PLACEMENT_FAILURE"),
            ServiceEvent::DeploymentCompleted { .. }
            | ServiceEvent::DeploymentFailed { .. }
            | ServiceEvent::RollingBack { .. }
            | ServiceEvent::FailedContainerHealthChecks { .. }
            | ServiceEvent::ConfigurationStuck
            | ServiceEvent::RoleNotAssumed(_)
            | ServiceEvent::ProtectedTasks { .. } => None,
        }
    }

    /// The message of the service called `service`.
    pub fn message(&self, service: &str) -> String {
        match self {
            ServiceEvent::Started { tasks } => {
                format!("(service {service}) has started {} tasks: {}.", tasks.len(), TaskList(tasks))
            }
            ServiceEvent::Stopped { tasks } => {
                format!("(service {service}) has stopped {} running tasks: {}.", tasks.len(), TaskList(tasks))
            }
            ServiceEvent::StartedToRebalance { zone, tasks } => {
                format!("{service} has started {} tasks in {zone} to AZ Rebalance: {}.", tasks.len(), TaskList(tasks))
            }
            ServiceEvent::StoppedToRebalance { zone, tasks } => {
                let (number, list) = (tasks.len(), TaskList(tasks));
                format!("{service} has stopped {number} running tasks in {zone} due to AZ Rebalancing: {list}.")
            }
            ServiceEvent::RebalancingStarted { zones } => {
                format!("service ({service}) is not AZ balanced with {}. AZ Rebalancing in progress.", Zones(zones))
            }
            ServiceEvent::RebalancingCompleted { zones } => {
                format!("service ({service}) is AZ balanced with {}.", Zones(zones))
            }
            ServiceEvent::DeploymentCompleted { deployment } => {
                format!("(service {service}) (deployment {deployment}) deployment completed.")
            }
            ServiceEvent::DeploymentFailed { deployment, cause } => {
                let why = match cause {
                    Cause::CircuitBreaker => "tasks failed to start",
                    Cause::Alarms(_) => "alarm detected",
                    Cause::Stopped(_) => "stopped by user",
                    Cause::Stage { stage, trouble } => &format!("lifecycle stage {stage}: {trouble}"),
                };
                format!("(service {service}) (deployment {deployment}) deployment failed: {why}.")
            }
            ServiceEvent::RollingBack { deployment } => {
                format!("(service {service}) rolling back to deployment {deployment}.")
            }
            ServiceEvent::SteadyState => format!("(service {service}) has reached a steady state."),
            ServiceEvent::NotPlaced(trouble) => not_placed(service, trouble),
            ServiceEvent::RoleNotAssumed(role) => {
                format!("(service {service}) failed to launch a task with (error {role}).")
            }
            ServiceEvent::StartImpaired => {
                format!("(service {service}) is unable to consistently start tasks successfully.")
            }
            ServiceEvent::FailedContainerHealthChecks { task } => {
                format!("(service {service}) (task {task}) failed container health checks.")
            }
            ServiceEvent::ConfigurationStuck => format!(
                "service ({service}) was unable to stop or start tasks during a deployment because of the service \
                 deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again."
            ),
            ServiceEvent::ProtectedTasks { deployment } => format!(
                "service ({service}) was unable to reach steady state because task set ({deployment}) was unable to \
                 scale in. Reason: The number of protected tasks are more than the desired count of tasks."
            ),
        }
    }
}

fn not_placed(service: &str, trouble: &PlacementTrouble) -> String {
    const GUIDE: &str = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.";
    let unmet = format!(
        "service {service} was unable to place a task because no container instance met all of its requirements."
    );
    match trouble {
        PlacementTrouble::NoInstances => {
            format!("{unmet} Reason: No Container Instances were found in your cluster. {GUIDE}")
        }
        PlacementTrouble::Closest { instance, lack } => {
            format!("{unmet} The closest matching container-instance {instance} {lack}. {GUIDE}")
        }
        PlacementTrouble::CapacityUnavailable => format!(
            "service {service} was unable to place a task. Reason: Capacity is unavailable at this time. Please try \
             again later or in a different availability zone. {GUIDE}"
        ),
    }
}

/// `(task ID) (task ID)`.
struct TaskList<'a>(&'a [String]);

impl fmt::Display for TaskList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, task) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}(task {task})")?;
        }
        Ok(())
    }
}

/// `2 tasks in us-east-1a, 1 tasks in us-east-1b`.
struct Zones<'a>(&'a [ZoneCount]);

impl fmt::Display for Zones<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ZoneCount { zone, tasks }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{tasks} tasks in {zone}")?;
        }
        Ok(())
    }
}
