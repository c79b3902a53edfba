//! The task of a lifecycle hook.

use gantry_api::ecs;
use gantry_domain::{arn::TaskDefinitionKey, deployment::DeploymentId};
use gantry_store::Txn;

use super::{
    super::{find, wire},
    constraints, network, platform, providers, strategies, waiting,
};
use crate::{
    keys::ServiceKey,
    launch::{self, Launch, TaskTemplate},
    records::encode,
    task_definition,
    view::EcsView,
    volumes,
};

/// One task, launched as those of a deployment are but not one of the service's; none when its task definition or the
/// deployment is gone.
pub(crate) fn launch(
    view: &EcsView,
    key: &ServiceKey,
    deployment: DeploymentId,
    definition: &TaskDefinitionKey,
    started_by: &str,
) -> Option<Launch> {
    let row = find::row(view, key)?;
    let number = row.deployments.iter().find(|other| other.id == deployment)?.revision;
    let revision = wire::revision(view, key, number)?;
    let stored = view.namespace(&key.scope)?.task_definition(definition)?;
    // Nobody can say which volume its task is to have.
    volumes::check(&stored.document, revision.launch_type, &[]).ok()?;
    let requirements = task_definition::requirements(&stored.document);
    let awsvpc = stored.document.network_mode == Some(ecs::NetworkMode::Awsvpc);
    let providers = providers(view, key, deployment, revision, 1);
    Some(Launch {
        cluster: key.cluster_key(),
        definition: definition.clone(),
        target: launch::target(view, &key.scope, revision.launch_type, &providers),
        count: 1,
        constraints: constraints(row, &requirements.placement_expressions),
        strategies: strategies(row),
        task: TaskTemplate {
            group: format!("family:{}", definition.family),
            started_by: Some(started_by.to_owned()),
            keeper: None,
            launch_type: revision.launch_type,
            capacity_providers: providers,
            waiting: waiting(row, revision),
            platform: platform(revision),
            overrides: None,
            network: network(revision).filter(|_| awsvpc),
            volume: None,
            tags: Vec::new(),
            image_digests: Default::default(),
            enable_execute_command: false,
            requirements,
        },
        token: None,
        // As with a service's own tasks: of two plans made from one row only one is carried out.
        with: Txn::new().require(key.path(), row.revision).put(key.path(), encode(&row.record)),
    })
}
