//! Tells reconcilers and agent connections which keys changed, so that they need not look for it.

use gantry_domain::arn::{Name, Scope, TaskDefinitionKey};
use tokio::sync::broadcast;

use crate::keys::{ClusterKey, InstanceKey, ServiceKey, ServiceKind, TaskKey};

/// Subscribers that fall so many changes behind are told that they lagged, and look at everything instead.
const CAPACITY: usize = 4096;

/// A key whose record changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant names what changed")]
pub enum Change {
    Cluster(ClusterKey),
    CapacityProvider(Scope, Name),
    TaskDefinition(Scope, ServiceKind, TaskDefinitionKey),
    /// With the host and the service it belongs to, so that nobody has to look the task up.
    Task {
        key: TaskKey,
        host: Option<InstanceKey>,
        service: Option<ServiceKey>,
    },
    Service(ServiceKey),
    Instance(InstanceKey),
    Alarm(Scope, String),
    /// With its host.
    ExecSession {
        id: String,
        host: Option<InstanceKey>,
    },
}

/// The sending end.
#[derive(Debug)]
pub struct ChangeFeed(broadcast::Sender<Change>);

impl Default for ChangeFeed {
    fn default() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
}

impl ChangeFeed {
    pub(super) fn send(&self, change: Change) {
        // An error says that nobody listens.
        let _ = self.0.send(change);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
