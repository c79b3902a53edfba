//! Taking in what an agent observes of a task. Pure: the record before, the observation, the record after.

use gantry_api::{
    agent::{ObservedContainer, ObservedStatus, ObservedTask, ObservedVolume},
    ecs,
};
use gantry_domain::{
    Timestamp,
    limits::{NETWORK_BINDINGS_MAX, REPORTED_ID_CHARS_MAX},
    reason::{ContainerReason, StoppedReason, trimmed},
    task::{ContainerStatus, HealthStatus, IllegalTransition, LastStatus, Stop, StopCode, TaskEvent},
};

use crate::records::{AttachmentStatus, ContainerRecord, TaskRecord};

/// The record after an observation; none when it says nothing new.
///
/// # Errors
/// The observation makes no sense after what is known.
pub(crate) fn observe(
    before: &TaskRecord,
    observed: &ObservedTask,
    now: Timestamp,
) -> Result<Option<TaskRecord>, IllegalTransition> {
    let mut task = before.clone();
    if task.is_stopped() {
        // Its end is known; what a late report adds would rewrite history.
        return Ok(None);
    }
    task.delivered = true;
    task.health = HealthStatus::parse(&observed.health).unwrap_or(task.health);
    take_times(&mut task, observed, now);
    for container in &observed.containers {
        if let Some(own) = task.containers.iter_mut().find(|own| own.name == container.name) {
            take_container(own, container);
        }
    }
    if let (Some(volume), Some(observed)) = (&mut task.volume, &observed.volume) {
        volume.observe(observed);
    }
    take_status(&mut task, observed, now)?;
    if task == *before {
        return Ok(None);
    }
    let changed = task.containers != before.containers || task.volume != before.volume;
    if task.life.version == before.life.version && changed {
        task.life.version += 1;
    }
    Ok(Some(task))
}

/// The record of a task that its host has lost: a host that was wiped or rebooted, or deregistered by force.
pub(crate) fn lost(before: &TaskRecord, stop: Stop, now: Timestamp) -> Option<TaskRecord> {
    let mut task = before.clone();
    // A lost host is possible in every status, so the error arm cannot be taken.
    if !task.life.apply(TaskEvent::HostLost, Some(stop), now).unwrap_or(false) {
        return None;
    }
    for container in &mut task.containers {
        if container.last_status != ContainerStatus::Stopped {
            container.last_status = ContainerStatus::Stopped;
            container.reason.get_or_insert_with(|| ContainerReason::vanished().to_string());
        }
    }
    release(&mut task);
    Some(task)
}

/// The record of a task that ends without its agent ever having had it.
pub(crate) fn never_ran(before: &TaskRecord, now: Timestamp) -> Option<TaskRecord> {
    let mut task = before.clone();
    end(&mut task, None, now).ok()?;
    task.containers.iter_mut().for_each(|container| container.last_status = ContainerStatus::Stopped);
    Some(task)
}

fn take_status(task: &mut TaskRecord, observed: &ObservedTask, now: Timestamp) -> Result<(), IllegalTransition> {
    match observed.last_status {
        ObservedStatus::Pending => {
            attach(task);
            let has_volume = task.volume.as_ref().is_none_or(|volume| volume.is_attached());
            if task.life.last_status == LastStatus::Provisioning && has_volume {
                task.life.apply(TaskEvent::Provisioned, None, now)?;
            }
        }
        ObservedStatus::Running => {
            attach(task);
            // What runs has it, whoever reports it.
            if let Some(volume) = &mut task.volume {
                volume.observe(&ObservedVolume::Attached);
            }
            let started = moment(observed.started_at_ms, now).unwrap_or(now).max(task.life.times.created_at);
            let event = task.life.path.started();
            task.life.apply(event, None, now)?;
            if task.life.last_status == LastStatus::Running && task.life.times.started_at == Some(now) {
                task.life.times.started_at = Some(started);
            }
        }
        ObservedStatus::Stopped => {
            if let Some(started) = moment(observed.started_at_ms, now) {
                task.life.times.started_at.get_or_insert(started);
            }
            end(task, Some(stop_of(task, observed)), now)?;
        }
    }
    Ok(())
}

/// Containers are gone; an interface goes with them, since the host took it away before it reported.
fn end(task: &mut TaskRecord, stop: Option<Stop>, now: Timestamp) -> Result<(), IllegalTransition> {
    let event = task.life.path.containers_stopped();
    task.life.apply(event, stop, now)?;
    if task.life.last_status == LastStatus::Deprovisioning {
        task.life.apply(TaskEvent::Deprovisioned, None, now)?;
    }
    release(task);
    Ok(())
}

fn attach(task: &mut TaskRecord) {
    if let Some(network) = &mut task.network
        && network.status == AttachmentStatus::Precreated
    {
        network.status = AttachmentStatus::Attached;
    }
}

fn release(task: &mut TaskRecord) {
    if let Some(network) = &mut task.network {
        network.status = AttachmentStatus::Deleted;
    }
    if let Some(volume) = &mut task.volume {
        volume.release();
    }
}

fn stop_of(task: &TaskRecord, observed: &ObservedTask) -> Stop {
    let given = observed.stopped.as_ref().and_then(|stop| {
        Some(Stop { code: StopCode::parse(&stop.code)?, reason: StoppedReason::Verbatim(trimmed(&stop.reason).into()) })
    });
    given.unwrap_or(match task.life.times.started_at {
        Some(_) => Stop { code: StopCode::EssentialContainerExited, reason: StoppedReason::EssentialContainerExited },
        None => Stop { code: StopCode::TaskFailedToStart, reason: StoppedReason::TaskFailedToStart },
    })
}

fn take_times(task: &mut TaskRecord, observed: &ObservedTask, now: Timestamp) {
    let times = &mut task.life.times;
    let set = |slot: &mut Option<Timestamp>, millis: Option<u64>| {
        if slot.is_none() {
            *slot = moment(millis, now);
        }
    };
    set(&mut times.pull_started_at, observed.pull_started_at_ms);
    set(&mut times.pull_stopped_at, observed.pull_stopped_at_ms);
    set(&mut times.execution_stopped_at, observed.execution_stopped_at_ms);
}

/// The agent's clock may be ahead of ours; a client must not read of the future.
fn moment(millis: Option<u64>, now: Timestamp) -> Option<Timestamp> {
    let millis = i64::try_from(millis?).ok()?;
    Some(Timestamp::from_millis(millis).min(now))
}

fn take_container(own: &mut ContainerRecord, observed: &ObservedContainer) {
    if let Some(status) = ContainerStatus::parse(&observed.last_status) {
        own.last_status = own.last_status.after_report(status);
    }
    own.health = HealthStatus::parse(&observed.health).unwrap_or(own.health);
    keep(&mut own.runtime_id, &observed.runtime_id.as_deref().map(id));
    keep(&mut own.image_digest, &observed.image_digest.as_deref().map(id));
    keep(&mut own.exit_code, &observed.exit_code);
    let reason = observed.reason.as_deref().map(|reason| trimmed(reason).into_owned());
    keep(&mut own.reason, &reason);
    if !observed.network_bindings.is_empty() {
        own.network_bindings = observed.network_bindings.iter().take(NETWORK_BINDINGS_MAX).map(binding).collect();
    }
}

/// A binding with nothing in it that is longer than an address or a range of ports.
fn binding(observed: &ecs::NetworkBinding) -> ecs::NetworkBinding {
    let cut = |text: &Option<String>| text.as_deref().map(id);
    ecs::NetworkBinding {
        bind_ip: cut(&observed.bind_ip),
        container_port_range: cut(&observed.container_port_range),
        host_port_range: cut(&observed.host_port_range),
        ..observed.clone()
    }
}

/// What an agent calls something, cut to what such ids have.
fn id(text: &str) -> String {
    text.chars().take(REPORTED_ID_CHARS_MAX).collect()
}

fn keep<T: Clone>(slot: &mut Option<T>, observed: &Option<T>) {
    if observed.is_some() {
        slot.clone_from(observed);
    }
}
