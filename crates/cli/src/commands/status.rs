//! `gantry status`: clusters, services and tasks at a glance, from the public API alone.

use std::process::ExitCode;

use anyhow::Result;
use gantry_api::ecs::{self, *};
use serde_json::json;

use crate::{
    arguments::{ClientOptions, Output},
    client::Client,
};

/// Pages that are read of any list; a longer one is said to be cut.
const PAGES_MAX: usize = 50;

/// One cluster with what runs in it.
struct Seen {
    cluster: Cluster,
    services: Vec<ecs::Service>,
    tasks: Vec<Task>,
    instances: Vec<ContainerInstance>,
}

/// Prints the picture.
pub(crate) async fn run(options: &ClientOptions) -> Result<ExitCode> {
    let client = Client::new(options)?;
    let mut seen = Vec::new();
    for cluster in clusters(&client).await? {
        let name = cluster.cluster_name.clone().unwrap_or_default();
        seen.push(Seen {
            services: services(&client, &name).await?,
            tasks: tasks(&client, &name).await?,
            instances: instances(&client, &name).await?,
            cluster,
        });
    }
    match options.output.output {
        Output::Json => super::print(&(serde_json::to_string_pretty(&as_json(&seen))? + "\n")),
        Output::Text => super::print(&as_text(&client, &seen)),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(seen: &[Seen]) -> serde_json::Value {
    let cluster = |seen: &Seen| {
        json!({
            "cluster": seen.cluster, "services": seen.services, "tasks": seen.tasks,
            "containerInstances": seen.instances,
        })
    };
    json!({ "clusters": seen.iter().map(cluster).collect::<Vec<_>>() })
}

fn as_text(client: &Client, seen: &[Seen]) -> String {
    let mut out = format!("Gantry at {} ({})\n", client.endpoint, client.region);
    if seen.is_empty() {
        out += "\nNo clusters yet. Create one: aws ecs create-cluster --cluster-name default\n";
    }
    for seen in seen {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let count = |value: Option<i32>| value.unwrap_or(0).to_string();
        out += &format!(
            "\nCluster {}: {} services, {} tasks running, {} pending, {} container instances\n",
            text(&seen.cluster.cluster_name),
            count(seen.cluster.active_services_count),
            count(seen.cluster.running_tasks_count),
            count(seen.cluster.pending_tasks_count),
            count(seen.cluster.registered_container_instances_count),
        );
        if !seen.services.is_empty() {
            out += "\n";
            out += &super::table(
                &["SERVICE", "TASK DEFINITION", "DESIRED", "RUNNING", "PENDING", "LAST EVENT"],
                seen.services.iter().map(|service| {
                    let event = service.events.iter().flatten().next().and_then(|event| event.message.clone());
                    vec![
                        text(&service.service_name),
                        last_segment(&text(&service.task_definition)),
                        count(service.desired_count),
                        count(service.running_count),
                        count(service.pending_count),
                        event.unwrap_or_default(),
                    ]
                }),
            );
        }
        if !seen.tasks.is_empty() {
            out += "\n";
            out += &super::table(
                &["TASK", "GROUP", "TASK DEFINITION", "STATUS", "HEALTH", "PORTS"],
                seen.tasks.iter().map(|task| {
                    vec![
                        last_segment(&text(&task.task_arn)),
                        text(&task.group),
                        last_segment(&text(&task.task_definition_arn)),
                        text(&task.last_status),
                        task.health_status.as_ref().map(|health| health.as_str().to_string()).unwrap_or_default(),
                        ports(task),
                    ]
                }),
            );
        }
    }
    out
}

fn ports(task: &Task) -> String {
    let containers = task.containers.iter().flatten();
    let bindings = containers.flat_map(|container| container.network_bindings.iter().flatten());
    let ports: Vec<String> = bindings
        .map(|binding| {
            let (host, inner) = (binding.host_port.unwrap_or(0), binding.container_port.unwrap_or(0));
            format!("{host}->{inner}")
        })
        .collect();
    if !ports.is_empty() {
        return ports.join(" ");
    }
    let containers = task.containers.iter().flatten();
    let mut interfaces = containers.flat_map(|container| container.network_interfaces.iter().flatten());
    interfaces.find_map(|interface| interface.private_ipv4_address.clone()).unwrap_or_default()
}

fn last_segment(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().to_string()
}

async fn clusters(client: &Client) -> Result<Vec<Cluster>> {
    let mut input = ListClustersRequest::default();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page: ListClustersResponse = client.call(&SERVICE, "ListClusters", &input).await?;
        let arns = page.cluster_arns.unwrap_or_default();
        if !arns.is_empty() {
            let input = DescribeClustersRequest { clusters: Some(arns), ..Default::default() };
            let described: DescribeClustersResponse = client.call(&SERVICE, "DescribeClusters", &input).await?;
            found.extend(described.clusters.unwrap_or_default());
        }
        input.next_token = page.next_token;
        if input.next_token.is_none() {
            break;
        }
    }
    Ok(found)
}

async fn services(client: &Client, cluster: &str) -> Result<Vec<ecs::Service>> {
    let cluster = Some(cluster.to_string());
    let mut input = ListServicesRequest { cluster: cluster.clone(), max_results: Some(10), ..Default::default() };
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page: ListServicesResponse = client.call(&SERVICE, "ListServices", &input).await?;
        let arns = page.service_arns.unwrap_or_default();
        if !arns.is_empty() {
            let input = DescribeServicesRequest { cluster: cluster.clone(), services: Some(arns), include: None };
            let described: DescribeServicesResponse = client.call(&SERVICE, "DescribeServices", &input).await?;
            found.extend(described.services.unwrap_or_default());
        }
        input.next_token = page.next_token;
        if input.next_token.is_none() {
            break;
        }
    }
    Ok(found)
}

async fn tasks(client: &Client, cluster: &str) -> Result<Vec<Task>> {
    let cluster = Some(cluster.to_string());
    let mut input = ListTasksRequest { cluster: cluster.clone(), ..Default::default() };
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page: ListTasksResponse = client.call(&SERVICE, "ListTasks", &input).await?;
        let arns = page.task_arns.unwrap_or_default();
        if !arns.is_empty() {
            let input = DescribeTasksRequest { cluster: cluster.clone(), tasks: Some(arns), include: None };
            let described: DescribeTasksResponse = client.call(&SERVICE, "DescribeTasks", &input).await?;
            found.extend(described.tasks.unwrap_or_default());
        }
        input.next_token = page.next_token;
        if input.next_token.is_none() {
            break;
        }
    }
    Ok(found)
}

async fn instances(client: &Client, cluster: &str) -> Result<Vec<ContainerInstance>> {
    let cluster = Some(cluster.to_string());
    let input = ListContainerInstancesRequest { cluster: cluster.clone(), ..Default::default() };
    let page: ListContainerInstancesResponse = client.call(&SERVICE, "ListContainerInstances", &input).await?;
    let arns = page.container_instance_arns.unwrap_or_default();
    if arns.is_empty() {
        return Ok(Vec::new());
    }
    let input = DescribeContainerInstancesRequest { cluster, container_instances: Some(arns), include: None };
    let described: DescribeContainerInstancesResponse =
        client.call(&SERVICE, "DescribeContainerInstances", &input).await?;
    Ok(described.container_instances.unwrap_or_default())
}
