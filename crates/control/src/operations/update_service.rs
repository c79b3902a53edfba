//! `UpdateService`: changes what is wanted. What makes new tasks different from old ones begins a new deployment.

use gantry_api::{
    Caller, Fault,
    ecs::{self, UpdateServiceRequest, UpdateServiceResponse},
};
use gantry_domain::Timestamp;
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    fault,
    keys::{self, ServiceKey},
    records::{LaunchType, Scheduling, ServiceRecord, ServiceRevisionRecord, encode},
    services::{
        configuration,
        deploy::{self, NewIds},
        find, hooks, spec, wire, zones,
    },
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    check_supported(&input)?;
    control.check_volume_roles(&key, input.volume_configurations.as_deref())?;
    let ids = deploy::new_ids(&control.random);
    let now = control.now();
    control.transact(|view| plan(view, &key, &input, &ids, now)).await?;
    let view = control.read();
    let row = find::row(&view, &key).ok_or_else(fault::service_not_found)?;
    Ok(UpdateServiceResponse { service: Some(wire::service(&view, &key, row, true)) })
}

fn plan(
    view: &EcsView,
    key: &ServiceKey,
    input: &UpdateServiceRequest,
    ids: &NewIds,
    now: Timestamp,
) -> Result<Plan<()>, Fault> {
    let (_, cluster) = control::active_cluster(view, &key.scope, &key.cluster)?;
    let row = find::active(view, key)?;
    let mut record = row.record.clone();
    let mut txn = Txn::new().require(key.path(), row.revision);
    if record.external {
        check_external(input)?;
        update_members(&mut record, input, LaunchType::Ec2)?;
        let plan = (record != row.record).then(|| txn.put(key.path(), encode(&record)));
        return Ok(plan.map_or(Plan::Done(()), |txn| Plan::Commit(txn, ())));
    }

    let current = record.primary().and_then(|primary| wire::revision(view, key, primary.revision));
    // Written together with the service; without it nothing could be started.
    let current = current.cloned().ok_or_else(fault::overtaken)?;
    let next = next_revision(view, key, cluster, &current, input, now)?;
    let launch_type = next.as_ref().map_or(current.launch_type, |next| next.launch_type);
    update_members(&mut record, input, launch_type)?;
    if next.is_some() || input.placement_constraints.is_some() {
        let definition = &next.as_ref().unwrap_or(&current).task_definition;
        spec::check_constraint_count(view, &key.scope, definition, &record.placement_constraints)?;
    }
    hooks::check_place(&key.scope, &record.deployment_configuration)?;
    if let Some(next) = next {
        txn = txn.require_exists(keys::task_definition(&key.scope, key.kind, &next.task_definition));
        // Its capacity providers must still be attached.
        txn = txn.require(keys::cluster(&key.scope, key.cluster.as_str()), cluster.revision);
        txn = deploy::begin(txn, view, key, &mut record, &next, ids, now);
    }
    if record == row.record {
        return Ok(Plan::Done(()));
    }
    Ok(Plan::Commit(txn.put(key.path(), encode(&record)), ()))
}

/// What belongs on the task sets of a service whose owner drives it.
fn check_external(input: &UpdateServiceRequest) -> Result<(), Fault> {
    let of_task_sets = [
        (input.task_definition.is_some(), "taskDefinition"),
        (input.capacity_provider_strategy.is_some(), "capacityProviderStrategy"),
        (input.platform_version.is_some(), "platformVersion"),
        (input.network_configuration.is_some(), "networkConfiguration"),
        (input.volume_configurations.is_some(), "volumeConfigurations"),
        (input.deployment_configuration.is_some(), "deploymentConfiguration"),
        (input.force_new_deployment == Some(true), "forceNewDeployment"),
    ];
    match of_task_sets.iter().find(|(given, _)| *given) {
        Some((_, member)) => Err(fault::invalid(format!(
            "Unable to update {member} on services with an EXTERNAL deployment controller. Use the task set operations."
        ))),
        None => Ok(()),
    }
}

/// The new revision, when the request asks for a deployment.
fn next_revision(
    view: &EcsView,
    key: &ServiceKey,
    cluster: &crate::records::ClusterRecord,
    current: &ServiceRevisionRecord,
    input: &UpdateServiceRequest,
    now: Timestamp,
) -> Result<Option<ServiceRevisionRecord>, Fault> {
    let forced = input.force_new_deployment == Some(true);
    let named = input.task_definition.is_some()
        || input.network_configuration.is_some()
        || input.platform_version.is_some()
        || input.volume_configurations.is_some()
        || input.capacity_provider_strategy.is_some();
    if !forced && !named {
        return Ok(None);
    }
    let strategy = input.capacity_provider_strategy.clone();
    let switched = strategy.as_ref().is_some_and(|strategy| *strategy != current.capacity_provider_strategy);
    let strategy = strategy.unwrap_or_else(|| current.capacity_provider_strategy.clone());
    // `[]` goes back to the launch type.
    let launch_type = strategy.is_empty().then(|| current.launch_type.to_wire());
    let platform_version = input.platform_version.clone().or_else(|| current.platform_version.clone());
    let to_fargate = !strategy.is_empty() || current.launch_type == LaunchType::Fargate;
    let asked = spec::Asked {
        task_definition: input.task_definition.clone().or(Some(current.task_definition.to_string())),
        launch_type,
        capacity_provider_strategy: strategy,
        platform_version: platform_version.filter(|_| to_fargate || input.platform_version.is_some()),
        network_configuration: input.network_configuration.clone().or_else(|| current.network_configuration.clone()),
        volume_configurations: input
            .volume_configurations
            .clone()
            .unwrap_or_else(|| current.volume_configurations.clone()),
    };
    let next = match &input.task_definition {
        Some(_) => spec::revision(view, &key.scope, cluster, &asked, now)?,
        // A service may go on with a revision that was deregistered meanwhile.
        None => spec::revision_of_known(view, &key.scope, cluster, &asked, &current.task_definition, now)?,
    };
    // What its images' tags stand for is found out once it has begun.
    let known = (current.created_at, current.image_digests.clone());
    let same = ServiceRevisionRecord { created_at: known.0, image_digests: known.1, ..next.clone() } == *current;
    if switched && !forced {
        return Err(fault::invalid(
            "When switching from launch type to capacity provider strategy on an existing service, or making a change \
             to a capacity provider strategy on a service that is already using one, you must force a new deployment.",
        ));
    }
    Ok((forced || !same).then_some(next))
}

fn update_members(
    record: &mut ServiceRecord,
    input: &UpdateServiceRequest,
    launch_type: LaunchType,
) -> Result<(), Fault> {
    if input.desired_count.is_some() && record.scheduling == Scheduling::Daemon {
        return Err(fault::invalid(
            "The daemon scheduling strategy does not support a desired count for services. Remove the desired count \
             value and try again.",
        ));
    }
    if let Some(desired_count) = input.desired_count {
        record.desired_count = spec::desired_count(desired_count)?;
    }
    if let Some(configuration) = input.deployment_configuration.clone() {
        let before = Some(&record.deployment_configuration);
        record.deployment_configuration = configuration::merged(Some(configuration), before, record.scheduling)?;
    }
    if let Some(seconds) = input.health_check_grace_period_seconds {
        if seconds < 0 {
            return Err(fault::invalid("healthCheckGracePeriodSeconds cannot be a negative number."));
        }
        record.health_check_grace_period_seconds = seconds;
    }
    if let Some(constraints) = &input.placement_constraints {
        record.placement_constraints.clone_from(constraints);
    }
    if let Some(strategy) = &input.placement_strategy {
        record.placement_strategy.clone_from(strategy);
    }
    spec::check_placement(launch_type, &record.placement_constraints, &record.placement_strategy)?;
    if record.scheduling == Scheduling::Daemon {
        spec::check_daemon(launch_type, &record.placement_strategy)?;
        spec::check_daemon_volumes(input.volume_configurations.as_deref())?;
    }
    if let Some(propagate_tags) = &input.propagate_tags {
        record.propagate_tags = propagate_tags.clone();
    }
    if let Some(managed) = input.enable_ecs_managed_tags {
        record.enable_ecs_managed_tags = managed;
    }
    if let Some(enable) = input.enable_execute_command {
        record.enable_execute_command = enable;
    }
    if let Some(rebalancing) = &input.availability_zone_rebalancing {
        record.availability_zone_rebalancing = zones::rebalancing(record, Some(rebalancing))?;
        record.rebalancing &= *rebalancing == ecs::AvailabilityZoneRebalancing::Enabled;
    }
    Ok(())
}

fn check_supported(input: &UpdateServiceRequest) -> Result<(), Fault> {
    fn any<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let controller = input.deployment_controller.as_ref().and_then(|controller| controller.r#type.as_ref());
    let connect = input.service_connect_configuration.as_ref().is_some_and(|connect| connect.enabled == Some(true));
    spec::refuse_first(&[
        (controller == Some(&ecs::DeploymentControllerType::CodeDeploy), "deploymentController 'CODE_DEPLOY'"),
        (controller == Some(&ecs::DeploymentControllerType::External), "a change of the deploymentController"),
        (any(input.load_balancers.as_ref()), "loadBalancers"),
        (any(input.service_registries.as_ref()), "serviceRegistries"),
        (connect, "serviceConnectConfiguration"),
        (any(input.vpc_lattice_configurations.as_ref()), "vpcLatticeConfigurations"),
        (any(input.gateway_connectors.as_ref()), "gatewayConnectors"),
        (input.monitoring.is_some(), "monitoring"),
    ])
}
