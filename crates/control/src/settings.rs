//! What the operator may turn: everything here has a default that suits one machine.

use std::time::Duration;

use gantry_domain::limits::{HEALTHY_AFTER_SECONDS, INSTANCE_LOST_AFTER_SECONDS};

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a stopped task stays visible. The service promises at least one hour.
    pub stopped_task_retention: Duration,
    /// How long after the start of the control plane an agent may take to come back before its instance reads
    /// `agentConnected: false`. Without it every restart of ours would look like a loss of all hosts.
    pub agent_grace: Duration,
    /// How long an agent stays silent before its connection counts as lost.
    pub agent_timeout: Duration,
    /// A task without a health check counts as healthy in a deployment after running this long.
    pub healthy_after_running: Duration,
    /// How often each reconciler looks at everything, to repair what a wake-up missed.
    pub sweep_interval: Duration,
    /// How long the agent of an instance may be away before the instance counts as lost and its tasks with it; none:
    /// for ever.
    pub instance_lost_after: Option<Duration>,
    /// Where the store keeps the identity of a machine (account, region, id). It goes in the transaction that
    /// deregisters the machine's instance.
    pub machine_key: fn(&str, &str, &str) -> String,
    /// Goes into the choice of a subnet's addresses; the same every time for the same Gantry.
    pub subnet_seed: String,
    /// Where agents and clients reach this server, e.g. `http://127.0.0.1:4566`: answered by DiscoverPollEndpoint.
    pub endpoint: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stopped_task_retention: Duration::from_secs(3600),
            agent_grace: Duration::from_secs(30),
            agent_timeout: Duration::from_secs(60),
            healthy_after_running: Duration::from_secs(HEALTHY_AFTER_SECONDS),
            sweep_interval: Duration::from_secs(30),
            instance_lost_after: Some(Duration::from_secs(INSTANCE_LOST_AFTER_SECONDS)),
            machine_key: |account, region, id| format!("/machines/{account}/{region}/identities/{id}"),
            subnet_seed: String::new(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        }
    }
}
