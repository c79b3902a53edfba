//! Task sets: how they are found, changed and shown.

use gantry_api::{Fault, ecs};
use gantry_domain::{
    arn::{Arn, Resource},
    deployment::DeploymentId,
};
use gantry_store::Txn;

use super::{find, wire};
use crate::{
    Control,
    control::Plan,
    failures, fault,
    keys::ServiceKey,
    records::{ServiceRecord, TaskSetRecord, encode},
    view::EcsView,
};

/// A service has at most this many.
pub(crate) const TASK_SETS_MAX: usize = 5;

/// Reads a reference to a task set: `ecs-svc/N`, the number alone, or an ARN of this service.
pub(crate) fn id(key: &ServiceKey, reference: Option<&str>) -> Result<DeploymentId, Fault> {
    let text = reference.unwrap_or_default();
    if text.is_empty() {
        return Err(fault::invalid("TaskSet cannot be blank."));
    }
    let id = match text.parse::<Arn>() {
        Ok(arn) => {
            key.scope.same_place(&arn.scope).map_err(|error| fault::elsewhere(&error))?;
            match arn.resource {
                Resource::TaskSet { cluster, service, id } if cluster == key.cluster && service == key.service => id,
                _ => return Err(fault::task_set_not_found()),
            }
        }
        Err(_) if text.starts_with("ecs-svc/") => text.to_owned(),
        Err(_) => format!("ecs-svc/{text}"),
    };
    DeploymentId::parse(&id).ok_or_else(fault::task_set_not_found)
}

/// The ARN of a task set.
pub(crate) fn arn(key: &ServiceKey, id: DeploymentId) -> String {
    let (cluster, service) = (key.cluster.clone(), key.service.clone());
    Arn { scope: key.scope.clone(), resource: Resource::TaskSet { cluster, service, id: id.to_string() } }.to_string()
}

/// Refuses services that have deployments instead.
pub(crate) fn check_controller(record: &ServiceRecord) -> Result<(), Fault> {
    if record.external {
        return Ok(());
    }
    Err(fault::invalid(
        "Amazon ECS only supports task set management on services configured to use external deployment controllers.",
    ))
}

/// Changes a task set of an ACTIVE service; `act` gets the service's record and knows that the set is there.
pub(crate) async fn change(
    control: &Control,
    key: &ServiceKey,
    set: DeploymentId,
    act: impl Fn(&mut ServiceRecord) -> Result<(), Fault>,
) -> Result<(), Fault> {
    control
        .transact(|view| {
            let row = find::active(view, key)?;
            check_controller(row)?;
            let mut record = row.record.clone();
            if record.task_set(set).is_none() {
                return Err(fault::task_set_not_found());
            }
            act(&mut record)?;
            if record == row.record {
                return Ok(Plan::Done(()));
            }
            Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), ()))
        })
        .await
}

/// The percent of a `scale`, in hundredths; all of the service when nothing is said.
pub(crate) fn scale(scale: Option<&ecs::Scale>) -> Result<u32, Fault> {
    let Some(scale) = scale else { return Ok(10_000) };
    let percent = scale.value.unwrap_or(0.0);
    if !(0.0..=100.0).contains(&percent) {
        return Err(fault::invalid("Scale value must be between 0 and 100."));
    }
    // Between 0 and 10,000 by the check above.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above and below")]
    Ok((percent * 100.0).round() as u32)
}

/// A task set as DescribeTaskSets answers it.
pub(crate) fn wire(
    view: &EcsView,
    key: &ServiceKey,
    service: &ServiceRecord,
    set: &TaskSetRecord,
    with_tags: bool,
) -> ecs::TaskSet {
    let (counts, _) = wire::task_counts(view.cluster(&key.scope, &key.cluster), set.id);
    let launch = wire::Launch::of(&set.revision);
    let steady =
        if set.steady_since.is_some() { ecs::StabilityStatus::SteadyState } else { ecs::StabilityStatus::Stabilizing };
    ecs::TaskSet {
        id: Some(set.id.to_string()),
        task_set_arn: Some(arn(key, set.id)),
        service_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        external_id: set.external_id.clone(),
        status: Some(set.status.as_str().to_owned()),
        task_definition: Some(key.scope.task_definition_arn(&set.revision.task_definition)),
        computed_desired_count: wire::count(set.computed_desired_count(service.desired_count)),
        pending_count: wire::count(counts.pending()),
        running_count: wire::count(counts.running()),
        created_at: Some(wire::timestamp(set.created_at)),
        updated_at: Some(wire::timestamp(set.updated_at)),
        platform_version: launch.platform_family.as_ref().map(|_| wire::PLATFORM_VERSION.to_owned()),
        launch_type: launch.launch_type,
        capacity_provider_strategy: launch.strategy,
        platform_family: launch.platform_family,
        network_configuration: set.revision.network_configuration.clone(),
        load_balancers: Some(Vec::new()),
        service_registries: Some(Vec::new()),
        scale: Some(ecs::Scale {
            value: Some(f64::from(set.scale_hundredths) / 100.0),
            unit: Some(ecs::ScaleUnit::Percent),
        }),
        stability_status: Some(steady),
        stability_status_at: Some(wire::timestamp(set.stability_at)),
        tags: with_tags.then(|| crate::tags::wire(&set.tags)),
        ..ecs::TaskSet::default()
    }
}

/// One task set after a change of it.
pub(crate) fn answer(control: &Control, key: &ServiceKey, set: DeploymentId) -> Result<ecs::TaskSet, Fault> {
    let view = control.read();
    let row = find::row(&view, key).ok_or_else(fault::service_not_found)?;
    let found = row.task_set(set).ok_or_else(fault::task_set_not_found)?;
    Ok(wire(&view, key, row, found, true))
}

/// The failure of a task set that is not there.
pub(crate) fn missing(key: &ServiceKey, set: DeploymentId) -> ecs::Failure {
    failures::missing(arn(key, set))
}
