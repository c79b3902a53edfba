//! A task's state as the control plane reads it.

use gantry_api::{
    agent::{ObservedContainer, ObservedStatus, ObservedTask, ObservedVolume, StopReason},
    ecs::{NetworkBinding, TransportProtocol},
};

use crate::{
    engine::state::{Binding, ContainerState, Phase, TaskState},
    reason::ContainerReason,
    task::TaskSpec,
};

pub(crate) fn observed(task: &TaskSpec, state: &TaskState) -> ObservedTask {
    let stopped = state.stop.as_ref().and_then(|stop| {
        let code = stop.code.as_str()?.to_owned();
        Some(StopReason { code, reason: stop.reason.clone() })
    });
    ObservedTask {
        task_arn: task.arn.clone(),
        last_status: match state.reported_phase() {
            Phase::Pending => ObservedStatus::Pending,
            Phase::Running => ObservedStatus::Running,
            Phase::Stopped => ObservedStatus::Stopped,
        },
        stopped,
        pull_started_at_ms: state.pull_started_ms,
        pull_stopped_at_ms: state.pull_stopped_ms,
        started_at_ms: state.started_ms,
        stopping_at_ms: state.stop.as_ref().map(|stop| stop.at_ms),
        execution_stopped_at_ms: state.execution_stopped_ms,
        stopped_at_ms: state.stopped_ms,
        health: state.health(task).as_str().to_owned(),
        containers: task
            .containers
            .iter()
            .zip(&state.containers)
            .map(|(definition, known)| container(&definition.name, known))
            .collect(),
        volume: task.managed_volume().and_then(|_| volume(state)),
    }
}

/// Known once the task was set up, or could not be.
fn volume(state: &TaskState) -> Option<ObservedVolume> {
    let failed = state.volume_failure.clone().map(ObservedVolume::Failed);
    failed.or(state.provision.as_ref().map(|_| ObservedVolume::Attached))
}

fn container(name: &str, known: &ContainerState) -> ObservedContainer {
    // An end whose logs are still on their way is told with the rest of the task.
    let (status, stopped) = match known.phase {
        Phase::Pending => ("PENDING", false),
        Phase::Running => ("RUNNING", false),
        Phase::Stopped if known.owes_logs() => ("RUNNING", false),
        Phase::Stopped => ("STOPPED", true),
    };
    let exists = known.first_started_ms.is_some() || known.spec.is_some();
    ObservedContainer {
        name: name.to_owned(),
        last_status: status.to_owned(),
        runtime_id: exists.then(|| known.id.clone()),
        image_digest: known.image_digest.clone(),
        exit_code: known.exit_code.filter(|_| stopped),
        reason: known.reason.as_ref().filter(|_| stopped).map(ContainerReason::text),
        health: known.health.status.as_str().to_owned(),
        network_bindings: if known.phase == Phase::Pending {
            Vec::new()
        } else {
            known.bindings.iter().map(binding).collect()
        },
    }
}

fn binding(binding: &Binding) -> NetworkBinding {
    let range = |(first, last): (u16, u16)| Some(format!("{first}-{last}"));
    let mut wire = NetworkBinding {
        bind_ip: Some("0.0.0.0".to_owned()),
        protocol: Some(if binding.udp { TransportProtocol::Udp } else { TransportProtocol::Tcp }),
        ..Default::default()
    };
    if binding.is_range {
        wire.container_port_range = range(binding.container_ports);
        wire.host_port_range = range(binding.host_ports);
    } else {
        wire.container_port = Some(i32::from(binding.container_ports.0));
        wire.host_port = Some(i32::from(binding.host_ports.0));
    }
    wire
}
