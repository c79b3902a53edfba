//! One agent's connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Weak},
    time::Duration,
};

use gantry_api::{
    Caller, Fault,
    agent::{AgentMessage, ControlMessage, DesiredTask, ObservedTask, PROTOCOL_VERSION, PROTOCOL_VERSION_WHOLE_SETS},
    exec::ExecSession,
};
use gantry_domain::{
    arn::{Arn, Name, Resource, Scope, TaskId},
    limits::REPORTED_ID_CHARS_MAX,
    reason::StoppedReason,
    task::{DesiredStatus, Stop, StopCode},
};
use gantry_store::Txn;
use tokio::time::sleep;

use super::{
    Live, Shared,
    overlay::{self, ScopeOverlay},
    roles::Granted,
};
use crate::{
    Control,
    control::Plan,
    exec,
    instances::owner,
    keys::{ClusterKey, InstanceKey, TaskKey},
    records::{InstanceRecord, TaskRecord, encode},
    tasks::{desired, observe},
    view::{EcsView, HostedTask, TaskRow},
};

/// Tasks changed in one transaction: each is a compare and an operation.
const TASKS_PER_TXN: usize = 200;

/// Tasks that one message tells of: a connection keeps the room of the largest message that it ever sent.
const TASKS_PER_MESSAGE: usize = 8;

/// The end of a session, and what the agent is told about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The instance is not known, or deregistered: the agent must register.
    #[error("the container instance is not registered")]
    Unregistered,
    /// Another connection of the same instance has taken over.
    #[error("another connection of this container instance has taken over")]
    Replaced,
    /// The message makes no sense here.
    #[error("{0}")]
    Refused(String),
    /// The store failed: the agent should come back later.
    #[error("the control plane cannot record the state of tasks now")]
    Unavailable,
}

impl Ended {
    /// The last message of the connection.
    pub fn goodbye(&self) -> ControlMessage {
        ControlMessage::Goodbye { reason: self.to_string(), register: *self == Self::Unregistered }
    }
}

/// One agent's connection. Dropping it is the loss of the connection.
#[derive(Debug)]
pub struct Session {
    door: Weak<Shared>,
    control: Control,
    caller: Caller,
    instance: InstanceKey,
    live: Live,
    /// What the agent was told last of each task.
    told: BTreeMap<TaskId, (Arc<ClusterKey>, DesiredStatus)>,
    /// How far the full set is told.
    set: FullSet,
    /// How many tasks a message to this agent tells of at most.
    tasks_per_message: usize,
    /// What it was told last of the networks over hosts.
    told_overlay: Option<Arc<ScopeOverlay>>,
    /// Which credentials of its tasks' roles it was given.
    granted: Granted,
    /// What it was told last of sessions of ECS Exec.
    told_exec_sessions: Vec<ExecSession>,
}

/// How much of the tasks that an agent must drive it was told since it came.
#[derive(Debug)]
enum FullSet {
    /// Nothing.
    Untold,
    /// All but these, in the order of their ids. What has come since is news for later.
    Left(Vec<TaskId>),
    Told,
}

impl Session {
    pub(super) async fn begin(door: &Arc<Shared>, caller: &Caller, hello: AgentMessage) -> Result<Self, Ended> {
        let AgentMessage::Hello {
            protocol_version,
            container_instance_arn,
            agent_version,
            boot_id,
            tasks,
            underlay_address,
            volume_room_gib,
        } = hello
        else {
            return Err(Ended::Refused("the first message must be hello".to_owned()));
        };
        let tasks_per_message = match protocol_version {
            PROTOCOL_VERSION => TASKS_PER_MESSAGE,
            PROTOCOL_VERSION_WHOLE_SETS => usize::MAX,
            other => return Err(Ended::Refused(format!("protocol version {other} is not supported"))),
        };
        let instance = instance_key(caller, &container_instance_arn)?;
        let control = door.control.clone();
        // Before anything else: whoever is not its agent must not end the session of the one who is.
        check_owner(&control, caller, &instance)?;
        // First of all, so that the end of an earlier connection cannot be recorded after our greeting. A drop on any
        // error below reads as a lost connection.
        let live = door.enter(&instance);
        let caller = caller.clone();
        let session = Self {
            door: Arc::downgrade(door),
            control,
            caller,
            instance,
            live,
            told: BTreeMap::new(),
            set: FullSet::Untold,
            tasks_per_message,
            told_overlay: None,
            granted: Granted::default(),
            told_exec_sessions: Vec::new(),
        };
        let about = About { agent_version, boot_id, underlay_address, volume_room_gib };
        {
            let _turn = door.numbers.lock().await;
            greet(&session.control, &session.instance, &about).await?;
        }
        session.observed(&tasks).await?;
        session.settle_absent(&tasks).await?;
        Ok(session)
    }

    /// Takes in a message of the agent; what is returned is to be sent.
    ///
    /// # Errors
    /// [`Ended`]: the connection is over.
    pub async fn receive(&mut self, message: AgentMessage) -> Result<Option<ControlMessage>, Ended> {
        self.check_current()?;
        match message {
            AgentMessage::Hello { .. } => Err(Ended::Refused("hello may be said once only".to_owned())),
            AgentMessage::Heartbeat { volume_room_gib } => {
                // The next one says it again: nothing of the agent's is lost with it, unlike with a report.
                if let Err(fault) = note_volume_room(&self.control, &self.instance, volume_room_gib).await {
                    tracing::warn!(instance = %self.instance.id, %fault, "an agent's room for volumes was not recorded");
                }
                Ok(None)
            }
            AgentMessage::Usage { tasks } => {
                let (view, now) = (self.control.read(), self.control.now());
                self.control.metrics.measured(&view, &self.instance, &tasks, now);
                Ok(None)
            }
            AgentMessage::Observed { sequence, tasks } => {
                self.observed(&tasks).await?;
                Ok(Some(ControlMessage::Acknowledged { sequence }))
            }
        }
    }

    /// The next message for the agent: first the full set in its parts, then each change. Waits for one. Cancel safe.
    ///
    /// # Errors
    /// [`Ended`]: the connection is over.
    pub async fn next(&mut self) -> Result<ControlMessage, Ended> {
        loop {
            let changed = self.live.changed.clone();
            self.check_current()?;
            let message = self
                .compare()?
                .or_else(|| self.compare_overlay())
                .or_else(|| self.compare_roles())
                .or_else(|| self.compare_exec_sessions());
            if let Some(message) = message {
                return Ok(message);
            }
            let renewal = async {
                match self.granted.next() {
                    Some(at) => sleep(millis(at.millis_since(self.control.now()))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed.notified() => {}
                () = renewal => {}
            }
        }
    }

    /// The instance whose agent this is.
    pub fn instance(&self) -> &InstanceKey {
        &self.instance
    }

    fn check_current(&self) -> Result<(), Ended> {
        let Some(door) = self.door.upgrade() else { return Err(Ended::Replaced) };
        if !door.admits(&self.caller) {
            return Err(Ended::Refused("the identity of this machine was revoked".to_owned()));
        }
        if door.is_current(&self.instance, self.live.number) { Ok(()) } else { Err(Ended::Replaced) }
    }

    /// What the agent is not told yet.
    fn compare(&mut self) -> Result<Option<ControlMessage>, Ended> {
        let control = self.control.clone();
        let view = control.read();
        let host = view.host(&self.instance).ok_or(Ended::Unregistered)?;
        if !host.row.as_ref().is_some_and(|row| row.is_registered()) {
            return Err(Ended::Unregistered);
        }
        let revision = view.revision();
        let alive = || host.tasks().iter().filter(|(_, (_, task))| !task.is_stopped());
        if !matches!(self.set, FullSet::Told) {
            let left = match std::mem::replace(&mut self.set, FullSet::Told) {
                FullSet::Left(left) => left,
                _ => alive().map(|(id, _)| *id).collect(),
            };
            let (part, left) = left.split_at(left.len().min(self.tasks_per_message));
            // What stopped meanwhile is not driven any more.
            let part = part.iter().filter_map(|id| Some((id, host.tasks().get(id)?)));
            let part: Vec<_> = part.filter(|(_, (_, task))| !task.is_stopped()).collect();
            self.told.extend(part.iter().map(|(id, entry)| (**id, told_of(entry))));
            let (tasks, more) = (part.iter().filter_map(|(_, entry)| desired_of(entry)).collect(), !left.is_empty());
            if more {
                self.set = FullSet::Left(left.to_vec());
            }
            return Ok(Some(ControlMessage::DesiredSet { revision, tasks, more }));
        }
        let is_news = |(id, (_, task)): &(&TaskId, &HostedTask)| {
            self.told.get(*id).is_none_or(|(_, status)| *status != task.life.desired_status)
        };
        let news: Vec<_> = alive().filter(is_news).take(self.tasks_per_message).collect();
        let is_gone = |id: &TaskId| host.tasks().get(id).is_none_or(|(_, task)| task.is_stopped());
        let gone: Vec<_> = self.told.keys().filter(|id| is_gone(id)).copied().collect();
        if news.is_empty() && gone.is_empty() {
            return Ok(None);
        }
        let removed = gone.iter().filter_map(|id| self.told.remove(id).map(|(cluster, _)| cluster.task(*id).arn()));
        let removed = removed.collect();
        self.told.extend(news.iter().map(|(id, entry)| (**id, told_of(entry))));
        let changed = news.iter().filter_map(|(_, entry)| desired_of(entry)).collect();
        Ok(Some(ControlMessage::Delta { revision, changed, removed }))
    }

    /// News of the networks over hosts.
    fn compare_overlay(&mut self) -> Option<ControlMessage> {
        let now = self.door.upgrade()?.overlay(&self.instance.scope)?;
        if self.told_overlay.as_ref().is_some_and(|told| Arc::ptr_eq(told, &now)) {
            return None;
        }
        let message = now.message(&self.instance);
        self.told_overlay = Some(now);
        message
    }

    /// Credentials of roles that the agent's tasks do not have yet, or not for long any more.
    fn compare_roles(&mut self) -> Option<ControlMessage> {
        let (control, now) = (self.control.clone(), self.control.now());
        let view = control.read();
        let tasks = view.host(&self.instance)?.tasks().values().map(|(cluster, task)| {
            let key = cluster.task(task.id);
            (key, &**task)
        });
        self.granted.due(&control, tasks, now)
    }

    /// News of sessions of ECS Exec. An agent that never had one is told of none.
    fn compare_exec_sessions(&mut self) -> Option<ControlMessage> {
        let now = exec::of_host(&self.control.read(), &self.instance);
        if now == self.told_exec_sessions {
            return None;
        }
        self.told_exec_sessions.clone_from(&now);
        Some(ControlMessage::ExecSessions { sessions: now })
    }

    /// Makes observations durable.
    async fn observed(&self, tasks: &[ObservedTask]) -> Result<(), Ended> {
        let named = tasks.iter().filter_map(|task| Some((task_key(&self.instance, &task.task_arn)?, task)));
        let named: Vec<(TaskKey, &ObservedTask)> = named.collect();
        for part in named.chunks(TASKS_PER_TXN) {
            let control = &self.control;
            let (instance, now) = (&self.instance, control.now());
            let change = |view: &EcsView| {
                let changes = part.iter().filter_map(|(key, observed)| {
                    let row = view.task(key).filter(|row| row.host.as_ref() == Some(instance))?;
                    match observe::observe(&row.record, observed, now) {
                        Ok(after) => after.map(|after| (key, row.clone(), after)),
                        Err(error) => {
                            tracing::warn!(task = %key.id, %error, "an agent's report makes no sense and is ignored");
                            None
                        }
                    }
                });
                Ok(write(changes))
            };
            control.transact(change).await.map_err(|fault| unavailable(&fault))?;
        }
        Ok(())
    }

    /// Tasks the agent does not know, although it once had them, are lost; tasks that were to stop before it ever had
    /// them never will run.
    async fn settle_absent(&self, known: &[ObservedTask]) -> Result<(), Ended> {
        let known: BTreeSet<TaskId> =
            known.iter().filter_map(|task| Some(task_key(&self.instance, &task.task_arn)?.id)).collect();
        loop {
            let now = self.control.now();
            let more = self.control.transact(|view| {
                let Some(host) = view.host(&self.instance) else { return Ok(Plan::Done(false)) };
                let absent = host.tasks().values().filter(|(_, task)| !task.is_stopped() && !known.contains(&task.id));
                let ended = absent.filter_map(|(cluster, task)| {
                    let after = if task.delivered {
                        observe::lost(&task.record, host_lost(host.row.as_deref(), &self.instance), now)
                    } else if task.life.desired_status == DesiredStatus::Stopped {
                        observe::never_ran(&task.record, now)
                    } else {
                        None
                    };
                    let key = cluster.task(task.id);
                    after.map(|after| (key, task.clone(), after))
                });
                let some: Vec<_> = ended.take(TASKS_PER_TXN).collect();
                let full = some.len() == TASKS_PER_TXN;
                let changes = some.iter().map(|(key, row, after)| (key, row.clone(), after.clone()));
                Ok(match write(changes) {
                    Plan::Done(()) => Plan::Done(false),
                    Plan::Commit(txn, ()) => Plan::Commit(txn, full),
                })
            });
            if !more.await.map_err(|fault| unavailable(&fault))? {
                return Ok(());
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(door) = self.door.upgrade() else { return };
        if !door.leave(&self.instance, self.live.number) {
            return;
        }
        let (control, instance) = (self.control.clone(), self.instance.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let still = || !door.sessions.lock().by_instance.contains_key(&instance);
            if let Err(error) = set_connected(&control, &instance, false, still).await {
                tracing::warn!(instance = %instance.id, %error, "lost agent was not recorded");
            }
        });
    }
}

/// A time to wait; not less than a moment, so that a renewal that fails at once does not go round and round.
fn millis(wait: i64) -> Duration {
    Duration::from_millis(u64::try_from(wait).unwrap_or(0).max(10))
}

fn told_of((cluster, task): &HostedTask) -> (Arc<ClusterKey>, DesiredStatus) {
    (cluster.clone(), task.life.desired_status)
}

fn desired_of((cluster, task): &HostedTask) -> Option<DesiredTask> {
    let desired = desired::desired(&cluster.scope, &cluster.cluster, task);
    if desired.is_none() {
        tracing::error!(task = %task.id, "a task's task definition is gone; its agent cannot be told of it");
    }
    desired
}

fn write<'a>(changes: impl Iterator<Item = (&'a TaskKey, Arc<TaskRow>, TaskRecord)>) -> Plan<()> {
    let txn = changes.fold(Txn::new(), |txn, (key, row, after)| {
        let path = key.path();
        txn.require(path.clone(), row.revision).put(path, encode(&after))
    });
    if txn.then.is_empty() { Plan::Done(()) } else { Plan::Commit(txn, ()) }
}

fn host_lost(row: Option<&crate::records::Row<InstanceRecord>>, instance: &InstanceKey) -> Stop {
    let name = row.and_then(|row| row.ec2_instance_id.clone()).unwrap_or_else(|| instance.id.to_string());
    Stop { code: StopCode::TerminationNotice, reason: StoppedReason::HostStopped { instance: name } }
}

fn unavailable(fault: &Fault) -> Ended {
    tracing::warn!(%fault, cause = fault.cause.as_deref().map(tracing::field::display), "agent's report was not recorded");
    Ended::Unavailable
}

/// The instance a hello names, when the caller may speak for it.
fn instance_key(caller: &Caller, arn: &str) -> Result<InstanceKey, Ended> {
    let refused = || Ended::Refused("the container instance is not the caller's".to_owned());
    let arn: Arn = arn.parse().map_err(|_| Ended::Unregistered)?;
    let Resource::ContainerInstance { cluster: Some(cluster), instance } = arn.resource else {
        return Err(Ended::Unregistered);
    };
    if arn.scope != Scope::new(&caller.account, &caller.region) {
        return Err(refused());
    }
    Ok(InstanceKey { scope: arn.scope, cluster, id: instance })
}

/// Refuses whoever is not the instance's own agent.
fn check_owner(control: &Control, caller: &Caller, key: &InstanceKey) -> Result<(), Ended> {
    let view = control.read();
    let row = view.host(key).and_then(|host| host.row.as_ref()).filter(|row| row.is_registered());
    if owner::speaks_for(caller, row.ok_or(Ended::Unregistered)?) {
        return Ok(());
    }
    Err(Ended::Refused("the container instance is another machine's".to_owned()))
}

/// The task of an ARN; its cluster may be another one than the host's.
fn task_key(instance: &InstanceKey, arn: &str) -> Option<TaskKey> {
    let arn: Arn = arn.parse().ok()?;
    let Resource::Task { cluster, task } = arn.resource else { return None };
    let cluster: Name = cluster.unwrap_or_else(|| instance.cluster.clone());
    Some(TaskKey { scope: arn.scope, cluster, id: task })
}

/// What an agent says about itself.
struct About {
    agent_version: String,
    boot_id: String,
    underlay_address: Option<Ipv4Addr>,
    volume_room_gib: Option<u32>,
}

/// Notes that the agent is there.
async fn greet(control: &Control, key: &InstanceKey, about: &About) -> Result<(), Ended> {
    let now = control.now();
    let known = control.transact(|view| {
        let row = view.host(key).and_then(|host| host.row.as_ref()).filter(|row| row.is_registered());
        let Some(row) = row else { return Ok(Plan::Done(false)) };
        let mut record = row.record.clone();
        if !record.agent_connected {
            record.agent_connected = true;
            record.connectivity_at = now;
        }
        let cut = |text: &str| Some(text.chars().take(REPORTED_ID_CHARS_MAX).collect::<String>());
        record.boot_id = cut(&about.boot_id);
        record.version_info.get_or_insert_default().agent_version = cut(&about.agent_version);
        record.volume_room_gib = about.volume_room_gib;
        record.underlay_address = about.underlay_address.filter(|address| overlay::is_reachable(*address));
        if record.host_number.is_none() && record.underlay_address.is_some() {
            record.host_number = overlay::free_number(view, &key.scope);
        }
        if record == row.record {
            return Ok(Plan::Done(true));
        }
        record.version += 1;
        Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), true))
    });
    match known.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Ended::Unregistered),
        Err(fault) => Err(unavailable(&fault)),
    }
}

/// Notes what volumes may have of the disk. It changes by whole GiB, so seldom, and clients are not told of it.
async fn note_volume_room(control: &Control, key: &InstanceKey, room_gib: Option<u32>) -> Result<(), Fault> {
    let note = |view: &EcsView| {
        let row = view.host(key).and_then(|host| host.row.as_ref());
        let Some(row) = row.filter(|row| row.volume_room_gib != room_gib) else { return Ok(Plan::Done(())) };
        let record = InstanceRecord { volume_room_gib: room_gib, ..row.record.clone() };
        Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), ()))
    };
    control.transact(note).await
}

/// Writes `agentConnected`, unless `still` says that it is no longer so.
pub(super) async fn set_connected(
    control: &Control,
    key: &InstanceKey,
    connected: bool,
    still: impl Fn() -> bool,
) -> Result<(), Fault> {
    let now = control.now();
    control
        .transact(|view| {
            let row = view.host(key).and_then(|host| host.row.as_ref()).filter(|_| still());
            let Some(row) = row.filter(|row| row.agent_connected != connected) else { return Ok(Plan::Done(())) };
            let mut record = row.record.clone();
            record.agent_connected = connected;
            record.connectivity_at = now;
            record.version += 1;
            Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), ()))
        })
        .await
}
