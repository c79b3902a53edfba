//! `CreateService`: writes what is wanted; the reconciler starts the tasks.

use gantry_api::{
    Caller, Fault,
    ecs::{self, CreateServiceRequest, CreateServiceResponse},
};
use gantry_domain::{Timestamp, arn::Name, limits::SERVICES_PER_CLUSTER_MAX};
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    fault,
    keys::{self, ServiceKey},
    records::{LaunchType, Scheduling, ServiceRecord, encode},
    services::{
        configuration,
        deploy::{self, NewIds},
        find, hooks, spec,
        token::Token,
        wire, zones,
    },
    tags,
    view::EcsView,
};

const OPERATION: &str = "CreateService";

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: CreateServiceRequest,
) -> Result<CreateServiceResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let service = service_name(input.service_name.as_deref())?;
    let create = Create {
        key: ServiceKey::service(scope, cluster, service),
        token: Token {
            operation: OPERATION,
            token: spec::client_token(input.client_token.as_deref())?,
            // Two requests are the same when everything but the token is.
            request: spec::digest(&CreateServiceRequest { client_token: None, ..input.clone() }),
        },
        created_by: caller.principal_arn.clone(),
        ids: deploy::new_ids(&control.random),
        now: control.now(),
    };
    check_supported(&input)?;
    control.check_volume_roles(&create.key, input.volume_configurations.as_deref())?;
    let key = control.transact(|view| create.plan(view, &input)).await?;
    let view = control.read();
    let row = find::row(&view, &key).ok_or_else(fault::service_not_found)?;
    Ok(CreateServiceResponse { service: Some(wire::service(&view, &key, row, true)) })
}

/// What stays the same while planning is repeated.
struct Create {
    key: ServiceKey,
    token: Token,
    created_by: String,
    ids: NewIds,
    now: Timestamp,
}

impl Create {
    fn plan(&self, view: &EcsView, input: &CreateServiceRequest) -> Result<Plan<ServiceKey>, Fault> {
        let key = &self.key;
        let (cluster_view, cluster) = control::active_cluster(view, &key.scope, &key.cluster)?;
        if let Some(existing) = self.token.made(view, key, self.now)? {
            return Ok(Plan::Done(existing));
        }
        if cluster_view.active_services().count() >= SERVICES_PER_CLUSTER_MAX {
            return Err(ecs::fault::limit_exceeded_exception(
                "The maximum number of services per cluster was reached.",
            ));
        }
        let txn = Txn::new()
            .require(key.path(), find::row(view, key).map_or(0, |row| row.revision))
            .require(keys::cluster(&key.scope, key.cluster.as_str()), cluster.revision);
        if is_external(input) {
            check_external(input)?;
            let record = self.record(input, LaunchType::Ec2)?;
            let txn = self.token.remember(txn, view, key, self.now);
            return Ok(Plan::Commit(txn.put(key.path(), encode(&record)), key.clone()));
        }
        let asked = spec::Asked {
            task_definition: input.task_definition.clone(),
            launch_type: input.launch_type.clone(),
            capacity_provider_strategy: input.capacity_provider_strategy.clone().unwrap_or_default(),
            platform_version: input.platform_version.clone(),
            network_configuration: input.network_configuration.clone(),
            volume_configurations: input.volume_configurations.clone().unwrap_or_default(),
        };
        let revision = spec::revision(view, &key.scope, cluster, &asked, self.now)?;
        let mut record = self.record(input, revision.launch_type)?;
        let constraints = &record.placement_constraints;
        spec::check_constraint_count(view, &key.scope, &revision.task_definition, constraints)?;
        hooks::check_place(&key.scope, &record.deployment_configuration)?;
        let mut txn = txn.require_exists(keys::task_definition(&key.scope, key.kind, &revision.task_definition));
        txn = deploy::begin(txn, view, key, &mut record, &revision, &self.ids, self.now);
        txn = self.token.remember(txn, view, key, self.now);
        Ok(Plan::Commit(txn.put(key.path(), encode(&record)), key.clone()))
    }

    fn record(&self, input: &CreateServiceRequest, launch_type: LaunchType) -> Result<ServiceRecord, Fault> {
        let scheduling = match input.scheduling_strategy {
            Some(ecs::SchedulingStrategy::Daemon) => Scheduling::Daemon,
            _ => Scheduling::Replica,
        };
        if scheduling == Scheduling::Daemon && is_external(input) {
            return Err(fault::invalid(
                "The DAEMON scheduling strategy is not supported with the EXTERNAL deployment controller.",
            ));
        }
        let desired_count = match (scheduling, input.desired_count) {
            // The number of instances, once the reconciler has counted them.
            (Scheduling::Daemon, _) => 0,
            (Scheduling::Replica, Some(count)) => spec::desired_count(count)?,
            (Scheduling::Replica, None) if is_external(input) => 0,
            (Scheduling::Replica, None) => {
                return Err(fault::invalid(
                    "desiredCount is required for services that use the REPLICA scheduling strategy.",
                ));
            }
        };
        let placement_constraints = input.placement_constraints.clone().unwrap_or_default();
        let placement_strategy = input.placement_strategy.clone().unwrap_or_default();
        spec::check_placement(launch_type, &placement_constraints, &placement_strategy)?;
        if scheduling == Scheduling::Daemon {
            spec::check_daemon(launch_type, &placement_strategy)?;
            spec::check_daemon_volumes(input.volume_configurations.as_deref())?;
        }
        let tags = tags::parse(input.tags.as_deref())?;
        let mut record = ServiceRecord {
            launch_type,
            scheduling,
            desired_count,
            deployment_configuration: configuration::merged(input.deployment_configuration.clone(), None, scheduling)?,
            health_check_grace_period_seconds: grace_period(input.health_check_grace_period_seconds)?,
            placement_constraints,
            placement_strategy,
            propagate_tags: input.propagate_tags.clone().unwrap_or(ecs::PropagateTags::None),
            enable_ecs_managed_tags: input.enable_ecs_managed_tags == Some(true),
            enable_execute_command: input.enable_execute_command == Some(true),
            external: is_external(input),
            tags: tags.into(),
            ..ServiceRecord::new(self.now, self.created_by.clone(), self.token.request.clone())
        };
        record.availability_zone_rebalancing =
            zones::rebalancing(&record, input.availability_zone_rebalancing.as_ref())?;
        Ok(record)
    }
}

fn is_external(input: &CreateServiceRequest) -> bool {
    let controller = input.deployment_controller.as_ref().and_then(|controller| controller.r#type.as_ref());
    controller == Some(&ecs::DeploymentControllerType::External)
}

/// What belongs on the task sets of a service whose owner drives it.
fn check_external(input: &CreateServiceRequest) -> Result<(), Fault> {
    let of_task_sets = [
        (input.task_definition.is_some(), "taskDefinition"),
        (input.launch_type.is_some(), "launchType"),
        (input.capacity_provider_strategy.is_some(), "capacityProviderStrategy"),
        (input.platform_version.is_some(), "platformVersion"),
        (input.network_configuration.is_some(), "networkConfiguration"),
        (input.volume_configurations.is_some(), "volumeConfigurations"),
    ];
    match of_task_sets.iter().find(|(given, _)| *given) {
        Some((_, member)) => Err(fault::invalid(format!(
            "{member} cannot be specified for a service that uses the EXTERNAL deployment controller. Specify it when \
             you create a task set."
        ))),
        None => Ok(()),
    }
}

fn service_name(name: Option<&str>) -> Result<Name, Fault> {
    match name.filter(|name| !name.is_empty()) {
        None => Err(fault::invalid("Service name cannot be blank.")),
        Some(name) => name.parse().map_err(|_| {
            fault::invalid(
                "Service names can have up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens.",
            )
        }),
    }
}

fn grace_period(seconds: Option<i32>) -> Result<i32, Fault> {
    match seconds.unwrap_or(0) {
        seconds @ 0.. => Ok(seconds),
        _ => Err(fault::invalid("healthCheckGracePeriodSeconds cannot be a negative number.")),
    }
}

fn check_supported(input: &CreateServiceRequest) -> Result<(), Fault> {
    fn any<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let controller = input.deployment_controller.as_ref().and_then(|controller| controller.r#type.as_ref());
    let connect = input.service_connect_configuration.as_ref().is_some_and(|connect| connect.enabled == Some(true));
    spec::refuse_first(&[
        (controller == Some(&ecs::DeploymentControllerType::CodeDeploy), "deploymentController 'CODE_DEPLOY'"),
        (any(input.load_balancers.as_ref()), "loadBalancers"),
        (any(input.service_registries.as_ref()), "serviceRegistries"),
        (connect, "serviceConnectConfiguration"),
        (any(input.vpc_lattice_configurations.as_ref()), "vpcLatticeConfigurations"),
        (any(input.gateway_connectors.as_ref()), "gatewayConnectors"),
        (input.monitoring.is_some(), "monitoring"),
    ])?;
    if input.role.is_some() {
        return Err(fault::invalid("IAM roles are only valid for services configured to use load balancers."));
    }
    Ok(())
}
