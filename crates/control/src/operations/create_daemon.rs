//! `CreateDaemon`: writes what is wanted; the reconciler of services starts the tasks.

use gantry_api::{
    Caller, Fault,
    ecs::{CreateDaemonRequest, CreateDaemonResponse},
};
use gantry_domain::{Timestamp, limits::SERVICES_PER_CLUSTER_MAX};
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    daemons::{find as find_daemon, spec, wire},
    fault,
    keys::{self, ServiceKey, ServiceKind},
    records::{DaemonRecord, Scheduling, ServiceRecord, encode},
    services::{
        deploy::{self, NewIds},
        find, spec as service_spec,
        token::Token,
    },
    tags,
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: CreateDaemonRequest,
) -> Result<CreateDaemonResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster_arn.as_deref())?;
    let name = input.daemon_name.as_deref().unwrap_or_default().parse().map_err(|_| fault::daemon_name())?;
    let create = Create {
        key: ServiceKey::daemon(scope, cluster, name),
        token: Token {
            operation: "CreateDaemon",
            token: service_spec::client_token(input.client_token.as_deref())?,
            request: service_spec::digest(&CreateDaemonRequest { client_token: None, ..input.clone() }),
        },
        created_by: caller.principal_arn.clone(),
        ids: deploy::new_ids(&control.random),
        now: control.now(),
    };
    let key = control.transact(|view| create.plan(view, &input)).await?;
    let view = control.read();
    let row = find_daemon::present(&view, &key)?;
    Ok(CreateDaemonResponse {
        daemon_arn: Some(key.arn()),
        status: Some(wire::status(row)),
        created_at: wire::created_at(row),
        deployment_arn: wire::newest_deployment(&key, row),
    })
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
    fn plan(&self, view: &EcsView, input: &CreateDaemonRequest) -> Result<Plan<ServiceKey>, Fault> {
        let key = &self.key;
        let (cluster_view, cluster) = control::active_cluster(view, &key.scope, &key.cluster)?;
        if let Some(existing) = self.token.made(view, key, self.now)? {
            return Ok(Plan::Done(existing));
        }
        if cluster_view.kept(ServiceKind::Daemon).active().count() >= SERVICES_PER_CLUSTER_MAX {
            return Err(fault::client("The maximum number of daemons per cluster was reached."));
        }
        let asked = spec::Asked {
            task_definition: input.daemon_task_definition_arn.clone(),
            capacity_providers: input.capacity_provider_arns.clone().unwrap_or_default(),
            propagate_tags: input.propagate_tags.clone(),
            enable_ecs_managed_tags: input.enable_ecs_managed_tags,
            enable_execute_command: input.enable_execute_command,
            critical: input.critical,
        };
        let revision = spec::revision(view, &key.scope, cluster, &asked, None, self.now)?;
        let mut record = self.record(input)?;
        let mut txn = Txn::new()
            .require(key.path(), find::row(view, key).map_or(0, |row| row.revision))
            .require(keys::cluster(&key.scope, key.cluster.as_str()), cluster.revision)
            .require_exists(keys::task_definition(&key.scope, key.kind, &revision.task_definition));
        txn = deploy::begin(txn, view, key, &mut record, &revision, &self.ids, self.now);
        txn = self.token.remember(txn, view, key, self.now);
        Ok(Plan::Commit(txn.put(key.path(), encode(&record)), key.clone()))
    }

    fn record(&self, input: &CreateDaemonRequest) -> Result<ServiceRecord, Fault> {
        let (deployment_configuration, drain_percent) =
            spec::deployment(input.deployment_configuration.as_ref(), None)?;
        let tags = tags::parse(input.tags.as_deref())?;
        // What its tasks get stands in its revisions.
        Ok(ServiceRecord {
            scheduling: Scheduling::Daemon,
            deployment_configuration,
            daemon: Some(DaemonRecord { drain_percent, updated_at: self.now, deletion: None }),
            tags: tags.into(),
            ..ServiceRecord::new(self.now, self.created_by.clone(), self.token.request.clone())
        })
    }
}
