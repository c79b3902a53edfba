//! The agents' door: one [`Session`] per connected agent.
//!
//! Level-triggered both ways. An agent says hello with everything it has and is told everything that is wanted of it;
//! changes follow in both directions. What an agent observed is durable before it is acknowledged. Nothing here is
//! remembered beyond a connection: what an agent was told is forgotten with its session, and the next hello starts
//! over. A later connection of the same instance ends the earlier one.
//!
//! [`socket`] carries this over a WebSocket; tests speak with the session itself.

mod overlay;
mod roles;
mod session;
mod socket;
mod values;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use gantry_api::{Caller, agent::AgentMessage};
use gantry_domain::arn::Scope;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast},
    task::AbortHandle,
};

pub use session::{Ended, Session};
pub use socket::router;
pub use values::ValuesOfTasks;

use crate::{Control, keys::InstanceKey, view::Change};
use overlay::ScopeOverlay;

/// How long a change of the networks over hosts waits for others.
const OVERLAY_DELAY: std::time::Duration = std::time::Duration::from_millis(100);

/// Where agents connect. Clones share the sessions; the last one to go ends the background work.
#[derive(Debug, Clone)]
pub struct Door {
    shared: Arc<Shared>,
    _worker: Arc<Worker>,
}

/// Says whether a caller is still let in.
type Admitted = Arc<dyn Fn(&Caller) -> bool + Send + Sync>;

struct Shared {
    control: Control,
    sessions: Mutex<Sessions>,
    admitted: Mutex<Option<Admitted>>,
    values: Mutex<Arc<dyn ValuesOfTasks>>,
    overlays: Mutex<BTreeMap<Scope, Arc<ScopeOverlay>>>,
    /// Held while a host gets its number, so that no two get the same.
    numbers: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_instance: BTreeMap<InstanceKey, Live>,
    last_number: u64,
}

/// A connected agent, as the door sees it.
#[derive(Debug, Clone)]
struct Live {
    /// Tells a session from the one that replaced it.
    number: u64,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Worker(AbortHandle);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Door {
    /// Opens the door of a control plane.
    pub fn open(control: Control) -> Self {
        let shared = Arc::new(Shared {
            control,
            sessions: Mutex::default(),
            admitted: Mutex::default(),
            values: Mutex::new(Arc::new(values::NoValues)),
            overlays: Mutex::default(),
            numbers: tokio::sync::Mutex::default(),
        });
        let worker = tokio::spawn(watch(Arc::downgrade(&shared))).abort_handle();
        Self { shared, _worker: Arc::new(Worker(worker)) }
    }

    /// Ends sessions of callers that `admitted` does not know any more.
    #[must_use]
    pub fn admitting(self, admitted: impl Fn(&Caller) -> bool + Send + Sync + 'static) -> Self {
        *self.shared.admitted.lock() = Some(Arc::new(admitted));
        self
    }

    /// Finds the values that tasks refer to with `values`.
    #[must_use]
    pub fn with_values(self, values: Arc<dyn ValuesOfTasks>) -> Self {
        *self.shared.values.lock() = values;
        self
    }

    /// Begins a session with an agent's first message.
    ///
    /// # Errors
    /// [`Ended`]: what to tell the agent before hanging up.
    pub async fn begin(&self, caller: &Caller, hello: AgentMessage) -> Result<Session, Ended> {
        Session::begin(&self.shared, caller, hello).await
    }

    /// Whether the instance's agent is connected to this door.
    pub fn is_connected(&self, instance: &InstanceKey) -> bool {
        self.shared.sessions.lock().by_instance.contains_key(instance)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("control", &self.control).finish_non_exhaustive()
    }
}

impl Shared {
    fn admits(&self, caller: &Caller) -> bool {
        let admitted = self.admitted.lock().clone();
        admitted.is_none_or(|admitted| admitted(caller))
    }

    /// Registers a session, which ends an older one of the same instance.
    fn enter(&self, instance: &InstanceKey) -> Live {
        let mut sessions = self.sessions.lock();
        sessions.last_number += 1;
        let live = Live { number: sessions.last_number, changed: Arc::new(Notify::new()) };
        if let Some(older) = sessions.by_instance.insert(instance.clone(), live.clone()) {
            older.changed.notify_one();
        }
        live
    }

    /// Whether a session is still the one of its instance.
    fn is_current(&self, instance: &InstanceKey, number: u64) -> bool {
        self.sessions.lock().by_instance.get(instance).is_some_and(|live| live.number == number)
    }

    /// Takes a session away; false when a newer one has its place.
    fn leave(&self, instance: &InstanceKey, number: u64) -> bool {
        let mut sessions = self.sessions.lock();
        let current = sessions.by_instance.get(instance).is_some_and(|live| live.number == number);
        if current {
            sessions.by_instance.remove(instance);
        }
        current
    }

    fn notify(&self, instance: &InstanceKey) {
        if let Some(live) = self.sessions.lock().by_instance.get(instance) {
            live.changed.notify_one();
        }
    }

    /// What the hosts of an account and region have in common now.
    fn overlay(&self, scope: &Scope) -> Option<Arc<ScopeOverlay>> {
        self.overlays.lock().get(scope).cloned()
    }

    /// Looks at the overlays again and tells the sessions of those that changed.
    fn refresh_overlays(&self) {
        let now: BTreeMap<Scope, ScopeOverlay> = {
            let view = self.control.read();
            view.namespaces().map(|(scope, _)| (scope.clone(), overlay::of_scope(&view, scope))).collect()
        };
        let mut changed = Vec::new();
        let mut overlays = self.overlays.lock();
        for (scope, overlay) in now {
            if overlays.get(&scope).is_none_or(|before| **before != overlay) {
                overlays.insert(scope.clone(), Arc::new(overlay));
                changed.push(scope);
            }
        }
        drop(overlays);
        let sessions = self.sessions.lock();
        let concerned = sessions.by_instance.iter().filter(|(key, _)| changed.contains(&key.scope));
        concerned.for_each(|(_, live)| live.changed.notify_one());
    }

    fn notify_all(&self) {
        self.sessions.lock().by_instance.values().for_each(|live| live.changed.notify_one());
    }
}

/// Wakes sessions when something of their host changes, and notices agents that did not come back.
async fn watch(shared: Weak<Shared>) {
    let Some((mut feed, settings)) = shared.upgrade().map(|door| {
        let feed = door.control.read().subscribe();
        (feed, door.control.settings.clone())
    }) else {
        return;
    };
    // The picture says "connected" of agents of an earlier process; they get some time to show themselves.
    let first = tokio::time::Instant::now() + settings.agent_grace;
    let mut sweep = tokio::time::interval_at(first, settings.sweep_interval);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Overlays follow from everything, and many changes come at once.
    let mut look_at_overlays = Some(tokio::time::Instant::now());
    loop {
        let due = look_at_overlays.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(due), if look_at_overlays.is_some() => {
                let Some(door) = shared.upgrade() else { return };
                look_at_overlays = None;
                door.refresh_overlays();
            }
            change = feed.recv() => {
                let Some(door) = shared.upgrade() else { return };
                look_at_overlays.get_or_insert_with(|| tokio::time::Instant::now() + OVERLAY_DELAY);
                match change {
                    Ok(
                        Change::Task { host: Some(host), .. }
                        | Change::Instance(host)
                        | Change::ExecSession { host: Some(host), .. },
                    ) => door.notify(&host),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => door.notify_all(),
                    Err(broadcast::error::RecvError::Closed) => {
                        feed = door.control.read().subscribe();
                        door.notify_all();
                    }
                }
            }
            _ = sweep.tick() => {
                let Some(door) = shared.upgrade() else { return };
                mark_absent(&door).await;
            }
        }
    }
}

/// Instances that read connected without a session are not.
async fn mark_absent(door: &Shared) {
    let absent: Vec<InstanceKey> = {
        let view = door.control.read();
        let connected = view.hosts().filter(|(_, host)| host.row.as_ref().is_some_and(|row| row.agent_connected));
        let sessions = door.sessions.lock();
        connected.map(|(key, _)| key.clone()).filter(|key| !sessions.by_instance.contains_key(key)).collect()
    };
    for instance in absent {
        let still = || !door.sessions.lock().by_instance.contains_key(&instance);
        if let Err(error) = session::set_connected(&door.control, &instance, false, still).await {
            tracing::warn!(instance = %instance.id, %error, "lost agent was not recorded");
        }
    }
}
