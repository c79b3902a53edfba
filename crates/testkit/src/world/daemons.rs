//! Commands on managed daemons and the capacity providers that they are for.

use gantry_api::ecs::{self, Ecs};

use super::{World, script::Words, task_sets::told};

impl World {
    /// `provider NAME`: one more provider of the cluster, without managed scaling.
    pub(super) async fn create_provider(&mut self, name: &str) -> String {
        let input = ecs::CreateCapacityProviderRequest {
            name: Some(name.to_owned()),
            auto_scaling_group_provider: Some(ecs::AutoScalingGroupProvider {
                auto_scaling_group_arn: Some(name.to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        if let Err(fault) = self.ecs().create_capacity_provider(&self.caller(), input).await {
            return super::refusal(&fault);
        }
        let attached = {
            let view = self.control().read();
            let row = view.cluster(&self.scope, &self.cluster).and_then(|cluster| cluster.active());
            row.map(|row| row.capacity_providers.clone()).unwrap_or_default()
        };
        let input = ecs::PutClusterCapacityProvidersRequest {
            cluster: Some(self.cluster.to_string()),
            capacity_providers: Some(attached.into_iter().chain([name.to_owned()]).collect()),
            default_capacity_provider_strategy: Some(Vec::new()),
        };
        told(self.ecs().put_cluster_capacity_providers(&self.caller(), input).await)
    }

    /// `daemon-definition FAMILY image=ok`
    pub(super) async fn register_daemon_definition(&mut self, family: &str, words: &Words<'_>) -> String {
        let container = ecs::DaemonContainerDefinition {
            name: Some("main".to_owned()),
            image: Some(words.named.get("image").copied().unwrap_or("ok").to_owned()),
            cpu: words.number("cpu").or(Some(256)),
            memory: words.number("memory").or(Some(128)),
            ..Default::default()
        };
        let input = ecs::RegisterDaemonTaskDefinitionRequest {
            family: Some(family.to_owned()),
            container_definitions: Some(vec![container]),
            ..Default::default()
        };
        told(self.ecs().register_daemon_task_definition(&self.caller(), input).await)
    }

    /// `managed-daemon NAME definition=agent:1 providers=a,b drain=50 bake=1 uncritical`
    pub(super) async fn create_managed_daemon(&mut self, name: &str, words: &Words<'_>) -> String {
        let input = ecs::CreateDaemonRequest {
            daemon_name: Some(name.to_owned()),
            cluster_arn: Some(self.scope.cluster_arn(self.cluster.as_str())),
            daemon_task_definition_arn: words.named.get("definition").map(|text| (*text).to_owned()),
            capacity_provider_arns: Some(providers(words)),
            deployment_configuration: configuration(words),
            critical: words.has("uncritical").then_some(false),
            ..Default::default()
        };
        told(self.ecs().create_daemon(&self.caller(), input).await)
    }

    /// `update-daemon NAME definition=agent:2 providers=a,b`
    pub(super) async fn update_managed_daemon(&mut self, name: &str, words: &Words<'_>) -> String {
        let input = ecs::UpdateDaemonRequest {
            daemon_arn: Some(self.scope.daemon_arn(self.cluster.as_str(), name)),
            daemon_task_definition_arn: words.named.get("definition").map(|text| (*text).to_owned()),
            capacity_provider_arns: Some(providers(words)),
            deployment_configuration: configuration(words),
            ..Default::default()
        };
        told(self.ecs().update_daemon(&self.caller(), input).await)
    }

    /// `delete-daemon NAME`
    pub(super) async fn delete_managed_daemon(&mut self, name: &str) -> String {
        let daemon_arn = Some(self.scope.daemon_arn(self.cluster.as_str(), name));
        told(self.ecs().delete_daemon(&self.caller(), ecs::DeleteDaemonRequest { daemon_arn }).await)
    }
}

fn providers(words: &Words<'_>) -> Vec<String> {
    words.named.get("providers").map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

fn configuration(words: &Words<'_>) -> Option<ecs::DaemonDeploymentConfiguration> {
    let drain_percent = words.number("drain");
    let bake_time_in_minutes = words.number("bake");
    let given = drain_percent.is_some() || bake_time_in_minutes.is_some();
    given.then_some(ecs::DaemonDeploymentConfiguration { drain_percent, bake_time_in_minutes, alarms: None })
}
