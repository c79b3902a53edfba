//! A cluster as clients see it.

use gantry_api::ecs::{Attachment, Cluster, ClusterField, ClusterServiceConnectDefaults, ClusterSetting, KeyValuePair};
use gantry_domain::arn::{Name, Scope};

use crate::{
    records::{ClusterRecord, ClusterStatus, LaunchType, ProviderAttachment, ServiceStatus},
    tags,
    view::ClusterView,
};

/// Which of the costly or bulky members an answer has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Include {
    pub(crate) configurations: bool,
    pub(crate) settings: bool,
    pub(crate) statistics: bool,
    pub(crate) tags: bool,
    pub(crate) attachments: bool,
}

impl Include {
    /// What an operation that changes a cluster answers.
    pub(crate) const CHANGED: Self =
        Self { configurations: true, settings: true, statistics: false, tags: true, attachments: false };

    /// As DescribeClusters is asked.
    pub(crate) fn asked(fields: &[ClusterField]) -> Self {
        let asked = |field: ClusterField| fields.contains(&field);
        Self {
            configurations: asked(ClusterField::Configurations),
            settings: asked(ClusterField::Settings),
            statistics: asked(ClusterField::Statistics),
            tags: asked(ClusterField::Tags),
            attachments: asked(ClusterField::Attachments),
        }
    }
}

/// `record` is what the cluster is (or is about to be); `view` is what is in it, none for a new one.
pub(crate) fn wire(
    scope: &Scope,
    name: &Name,
    record: &ClusterRecord,
    view: Option<&ClusterView>,
    include: Include,
) -> Cluster {
    let counts = view.map(|view| *view.tasks().counts()).unwrap_or_default();
    let settings = record
        .settings
        .iter()
        .map(|(name, value)| ClusterSetting { name: Some(name.as_str().into()), value: Some(value.clone()) });
    let status = match record.status {
        ClusterStatus::Active => "ACTIVE",
        ClusterStatus::Inactive => "INACTIVE",
    };
    Cluster {
        cluster_arn: Some(scope.cluster_arn(name.as_str())),
        cluster_name: Some(name.to_string()),
        status: Some(status.to_owned()),
        registered_container_instances_count: Some(number(view.map_or(0, ClusterView::registered_instances))),
        running_tasks_count: Some(number(counts.running())),
        pending_tasks_count: Some(number(counts.pending())),
        active_services_count: Some(services(view, |service| service == ServiceStatus::Active, None)),
        statistics: Some(if include.statistics { statistics(view) } else { Vec::new() }),
        tags: Some(if include.tags { tags::wire(&record.tags) } else { Vec::new() }),
        settings: Some(if include.settings { settings.collect() } else { Vec::new() }),
        configuration: record.configuration.clone().filter(|_| include.configurations),
        capacity_providers: Some(record.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(record.default_capacity_provider_strategy.clone()),
        attachments: include.attachments.then(|| record.attachments.iter().map(attachment).collect()),
        attachments_status: record
            .attachments_updating
            .map(|updating| if updating { "UPDATE_IN_PROGRESS" } else { "UPDATE_COMPLETE" }.to_owned()),
        service_connect_defaults: record
            .service_connect_namespace
            .clone()
            .map(|namespace| ClusterServiceConnectDefaults { namespace: Some(namespace) }),
    }
}

/// The scaling policy of an attached provider.
fn attachment(attachment: &ProviderAttachment) -> Attachment {
    let detail = |name: &str, value: &str| KeyValuePair { name: Some(name.to_owned()), value: Some(value.to_owned()) };
    Attachment {
        id: Some(attachment.id.clone()),
        r#type: Some("as_policy".to_owned()),
        status: Some("CREATED".to_owned()),
        details: Some(vec![
            detail("capacityProviderName", &attachment.provider),
            detail("scalingPolicyName", &attachment.policy),
        ]),
    }
}

fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn services(view: Option<&ClusterView>, status: fn(ServiceStatus) -> bool, launch_type: Option<LaunchType>) -> i32 {
    let services = view.into_iter().flat_map(|view| view.services().values());
    let counted = services.filter(|service| {
        status(service.status) && launch_type.is_none_or(|launch_type| service.launch_type == launch_type)
    });
    i32::try_from(counted.count()).unwrap_or(i32::MAX)
}

/// Numbers as text, by launch type.
fn statistics(view: Option<&ClusterView>) -> Vec<KeyValuePair> {
    let counts = view.map(|view| *view.tasks().counts()).unwrap_or_default();
    let names = [(LaunchType::Ec2, "EC2"), (LaunchType::Fargate, "Fargate"), (LaunchType::External, "External")];
    let each = |of: &dyn Fn(LaunchType, &str) -> (String, i32)| {
        let pair = |(launch_type, name): (LaunchType, &str)| {
            let (name, value) = of(launch_type, name);
            KeyValuePair { name: Some(name), value: Some(value.to_string()) }
        };
        names.map(pair)
    };
    let active = |status| status == ServiceStatus::Active;
    let draining = |status| status == ServiceStatus::Draining;
    let mut all = Vec::new();
    all.extend(each(&|of, name| (format!("running{name}TasksCount"), number(counts.running_of(of)))));
    all.extend(each(&|of, name| (format!("pending{name}TasksCount"), number(counts.pending_of(of)))));
    all.extend(each(&|of, name| (format!("active{name}ServiceCount"), services(view, active, Some(of)))));
    all.extend(each(&|of, name| (format!("draining{name}ServiceCount"), services(view, draining, Some(of)))));
    all
}
