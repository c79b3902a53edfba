//! Scenarios as text: one command per line, `#` begins a comment. Every command is echoed with what it led to, and the
//! whole is a golden file.

use std::{collections::BTreeMap, time::Duration};

use gantry_api::ecs::{self, Ecs};
use gantry_control::keys::InstanceKey;
use gantry_domain::{
    arn::{Arn, Resource},
    capabilities,
    task::DesiredStatus,
};

use super::{Behaviour, World, agent::FakeAgent, refusal};

/// The words of a command: plain ones, and `name=value`.
pub(super) struct Words<'a> {
    plain: Vec<&'a str>,
    pub(super) named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (mut plain, mut named) = (Vec::new(), BTreeMap::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => {
                    named.insert(name, value);
                }
                None => plain.push(word),
            }
        }
        Self { plain, named }
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.named.get(name).map(|text| match text.parse() {
            Ok(number) => number,
            Err(_) => panic!("{name}={text} is not a number"),
        })
    }

    fn ms(&self, name: &str) -> Option<i64> {
        self.named.get(name).map(|text| i64::try_from(duration(text).as_millis()).expect("a short time"))
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }
}

/// `90s`, `500ms`, `5m`, `2h`.
fn duration(text: &str) -> Duration {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{text} is not a time"));
    match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        _ => panic!("{text} is not a time"),
    }
}

impl World {
    /// Runs a scenario and returns what it showed. With `restarts`, the control plane is killed after every command.
    pub async fn run_script(&mut self, script: &str, restarts: bool) -> String {
        let mut shown = String::new();
        for line in script.lines() {
            let told = self.run_command_line(line).await;
            if !told.is_empty() && restarts {
                self.restart_control().await;
            }
            shown.push_str(&told);
        }
        shown
    }

    /// Runs the command of one line of a script, if it has one, and returns it with what it showed.
    pub async fn run_command_line(&mut self, line: &str) -> String {
        let command = line.split('#').next().unwrap_or_default().trim();
        if command.is_empty() {
            return String::new();
        }
        let answer = self.run_command(command).await;
        self.check().await;
        self.name_tasks();
        let mut shown = format!("[{}] {command}\n", self.since_beginning(self.now()));
        for line in answer.lines() {
            shown.push_str(&format!("    {line}\n"));
        }
        shown
    }

    /// Runs one command.
    pub async fn run_command(&mut self, command: &str) -> String {
        let words = Words::of(command);
        let argument = |index: usize| *words.plain.get(index).unwrap_or_else(|| panic!("{command}: a word is missing"));
        match argument(0) {
            "cluster" => self.create_cluster(argument(1)).await,
            "instances" => self.register_instances(&words).await,
            "image" => self.set_behaviour(argument(1), &words),
            "task-definition" => self.register_task_definition(argument(1), &words).await,
            "service" => self.create_service(argument(1), &words).await,
            "update" => self.update_service(argument(1), &words).await,
            "delete" => self.delete_service(argument(1), &words).await,
            "task-set" => self.create_task_set(argument(1), argument(2), &words).await,
            "scale-set" => self.scale_task_set(argument(1), argument(2), &words).await,
            "primary-set" => self.promote_task_set(argument(1), argument(2)).await,
            "delete-set" => self.delete_task_set(argument(1), argument(2), &words).await,
            "delete-sets" => self.delete_task_sets(argument(1)).await,
            "provider" => self.create_provider(argument(1)).await,
            "daemon-definition" => self.register_daemon_definition(argument(1), &words).await,
            "managed-daemon" => self.create_managed_daemon(argument(1), &words).await,
            "update-daemon" => self.update_managed_daemon(argument(1), &words).await,
            "delete-daemon" => self.delete_managed_daemon(argument(1)).await,
            "alarm" => self.set_alarm(argument(1), argument(2)).await,
            "hook" => self.set_hook(argument(1), argument(2)),
            "hook-calls" => self.hook_calls(),
            "deployment" => self.show_deployment(argument(1)).await,
            "stop-deployment" => self.stop_deployment(argument(1), &words).await,
            "continue" => self.continue_deployment(argument(1), argument(2), &words).await,
            "crash" => {
                self.crash_after(argument(2).parse().expect("a number of transactions"));
                String::new()
            }
            "stop" if argument(1) == "any" => {
                self.stop_some_task(argument(2).parse().expect("a number")).await;
                String::new()
            }
            "stop" => self.stop_task(argument(1)).await,
            "run" if argument(1) == "until" => {
                self.pass_until_steady().await;
                String::new()
            }
            "run" => {
                self.pass(duration(argument(1))).await;
                String::new()
            }
            "restart" => {
                self.restart_control().await;
                String::new()
            }
            "kill" | "reboot" | "return" | "drain" | "activate" | "deregister" => {
                self.instance_command(argument(0), argument(1)).await
            }
            "show" => self.show(&words.plain[1..]),
            _ => panic!("unknown command: {command}"),
        }
    }

    async fn create_cluster(&mut self, name: &str) -> String {
        self.cluster = name.parse().expect("a cluster name");
        let input = ecs::CreateClusterRequest { cluster_name: Some(name.to_owned()), ..Default::default() };
        match self.ecs().create_cluster(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn register_instances(&mut self, words: &Words<'_>) -> String {
        for name in &words.plain[1..] {
            match self.register_instance(words).await {
                Ok(key) => self.agents.insert((*name).to_owned(), FakeAgent::new(key)),
                Err(fault) => return refusal(&fault),
            };
        }
        // They connect at once.
        self.work_agents().await;
        String::new()
    }

    async fn register_instance(&mut self, words: &Words<'_>) -> Result<InstanceKey, gantry_api::Fault> {
        let amount = |name: &str, value: i32| ecs::Resource {
            name: Some(name.to_owned()),
            integer_value: Some(value),
            ..Default::default()
        };
        let attribute = |name: &str, value: Option<&str>| ecs::Attribute {
            name: Some(name.to_owned()),
            value: value.map(str::to_owned),
            ..Default::default()
        };
        let zone = words.named.get("zone").copied().unwrap_or("us-east-1a");
        let mut attributes: Vec<ecs::Attribute> =
            capabilities::OF_EVERY_HOST.iter().map(|name| attribute(name, None)).collect();
        attributes.push(attribute("ecs.availability-zone", Some(zone)));
        attributes.push(attribute("gantry.fargate", Some("true")));
        if let Some(provider) = words.named.get("provider") {
            attributes.push(attribute("gantry.capacity-provider", Some(provider)));
        }
        let input = ecs::RegisterContainerInstanceRequest {
            cluster: Some(self.cluster.to_string()),
            attributes: Some(attributes),
            total_resources: Some(vec![
                amount("CPU", words.number("cpu").unwrap_or(2048)),
                amount("MEMORY", words.number("memory").unwrap_or(4096)),
                gpus(words.number("gpus").unwrap_or(0)),
            ]),
            ..Default::default()
        };
        let answer = self.ecs().register_container_instance(&self.caller(), input).await?;
        let arn = answer.container_instance.and_then(|instance| instance.container_instance_arn).unwrap_or_default();
        let arn: Arn = arn.parse().expect("an ARN");
        let Resource::ContainerInstance { cluster: Some(cluster), instance } = arn.resource else {
            panic!("not a container instance: {:?}", arn.resource)
        };
        Ok(InstanceKey { scope: arn.scope, cluster, id: instance })
    }

    fn set_behaviour(&mut self, image: &str, words: &Words<'_>) -> String {
        let default = Behaviour::default();
        let behaviour = Behaviour {
            start_ms: words.ms("start").unwrap_or(default.start_ms),
            start_fails: words.named.get("fails").map(|why| why.replace('_', " ")),
            exit_ms: words.ms("exit"),
            healthy_ms: words.ms("healthy"),
            unhealthy_ms: words.ms("unhealthy"),
            stop_ms: if words.has("never-stops") { None } else { words.ms("stop").or(default.stop_ms) },
        };
        self.behaviours.insert(image.to_owned(), behaviour);
        String::new()
    }

    async fn register_task_definition(&mut self, family: &str, words: &Words<'_>) -> String {
        let image = words.named.get("image").copied().unwrap_or("ok");
        let health_check = words.has("health").then(|| ecs::HealthCheck {
            command: Some(vec!["CMD".to_owned(), "true".to_owned()]),
            ..Default::default()
        });
        let port = words.number("port").map(|port| ecs::PortMapping {
            container_port: Some(port),
            host_port: Some(port),
            ..Default::default()
        });
        let container = ecs::ContainerDefinition {
            name: Some("main".to_owned()),
            image: Some(image.to_owned()),
            cpu: words.number("cpu").or(Some(256)),
            memory: words.number("memory").or(Some(128)),
            essential: Some(true),
            health_check,
            port_mappings: port.map(|port| vec![port]),
            resource_requirements: words.named.get("gpus").map(|count| vec![gpu_requirement(count)]),
            ..Default::default()
        };
        let fargate = words.has("fargate");
        let input = ecs::RegisterTaskDefinitionRequest {
            family: Some(family.to_owned()),
            container_definitions: Some(vec![container]),
            cpu: fargate.then(|| "256".to_owned()),
            memory: fargate.then(|| "512".to_owned()),
            network_mode: fargate.then_some(ecs::NetworkMode::Awsvpc),
            requires_compatibilities: fargate.then(|| vec![ecs::Compatibility::Fargate]),
            ..Default::default()
        };
        match self.ecs().register_task_definition(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn create_service(&mut self, name: &str, words: &Words<'_>) -> String {
        let launch_type = words.named.get("launch").map(|text| ecs::LaunchType::from(*text));
        let fargate = launch_type == Some(ecs::LaunchType::Fargate);
        let input = ecs::CreateServiceRequest {
            cluster: Some(self.cluster.to_string()),
            service_name: Some(name.to_owned()),
            task_definition: words.named.get("task-definition").map(|text| (*text).to_owned()),
            deployment_controller: words
                .has("external")
                .then_some(ecs::DeploymentController { r#type: Some(ecs::DeploymentControllerType::External) }),
            scheduling_strategy: words.has("daemon").then_some(ecs::SchedulingStrategy::Daemon),
            desired_count: words.number("desired").or(Some(1)),
            deployment_configuration: super::deployments::configuration(words),
            placement_constraints: words.named.get("member-of").map(|text| vec![member_of(text)]),
            health_check_grace_period_seconds: words.ms("grace").and_then(|ms| i32::try_from(ms / 1000).ok()),
            placement_strategy: words.named.get("strategy").map(|text| text.split(',').map(strategy).collect()),
            network_configuration: fargate.then(network_configuration),
            launch_type,
            ..Default::default()
        };
        match self.ecs().create_service(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn update_service(&mut self, name: &str, words: &Words<'_>) -> String {
        let input = ecs::UpdateServiceRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(name.to_owned()),
            task_definition: words.named.get("task-definition").map(|text| (*text).to_owned()),
            desired_count: words.number("desired"),
            deployment_configuration: super::deployments::configuration(words),
            force_new_deployment: words.has("force").then_some(true),
            ..Default::default()
        };
        match self.ecs().update_service(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn delete_service(&mut self, name: &str, words: &Words<'_>) -> String {
        let input = ecs::DeleteServiceRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(name.to_owned()),
            force: words.has("force").then_some(true),
        };
        match self.ecs().delete_service(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn stop_task(&mut self, name: &str) -> String {
        self.name_tasks();
        let Some(id) = self.names.iter().find(|(_, known)| *known == name).map(|(id, _)| *id) else {
            return "no such task".to_owned();
        };
        let input = ecs::StopTaskRequest {
            cluster: Some(self.cluster.to_string()),
            task: Some(id.to_string()),
            ..Default::default()
        };
        match self.ecs().stop_task(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    /// Stops some task that should run, the `index`th of them; for random scenarios.
    async fn stop_some_task(&mut self, index: usize) {
        self.name_tasks();
        let wanted: Vec<String> = {
            let view = self.control().read();
            let Some(cluster) = view.cluster(&self.scope, &self.cluster) else { return };
            let wanted = |id: &&gantry_domain::arn::TaskId| {
                cluster.tasks().get(**id).is_some_and(|task| task.life.desired_status == DesiredStatus::Running)
            };
            self.names.keys().filter(wanted).map(|id| self.names[id].clone()).collect()
        };
        if !wanted.is_empty() {
            self.stop_task(&wanted[index % wanted.len()]).await;
        }
    }

    async fn instance_command(&mut self, command: &str, name: &str) -> String {
        let Some(agent) = self.agents.get_mut(name) else { return "no such instance".to_owned() };
        let arn = agent.key.arn();
        match command {
            "kill" => {
                agent.up = false;
                agent.disconnect();
                // The door hears of it.
                tokio::task::yield_now().await;
            }
            "return" => agent.up = true,
            "reboot" => agent.reboot(),
            "deregister" => return self.deregister(arn).await,
            "drain" => return self.set_state(arn, ecs::ContainerInstanceStatus::Draining).await,
            _ => return self.set_state(arn, ecs::ContainerInstanceStatus::Active).await,
        }
        String::new()
    }

    async fn set_state(&mut self, arn: String, status: ecs::ContainerInstanceStatus) -> String {
        let input = ecs::UpdateContainerInstancesStateRequest {
            cluster: Some(self.cluster.to_string()),
            container_instances: Some(vec![arn]),
            status: Some(status),
        };
        match self.ecs().update_container_instances_state(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }

    async fn deregister(&mut self, arn: String) -> String {
        let input = ecs::DeregisterContainerInstanceRequest {
            cluster: Some(self.cluster.to_string()),
            container_instance: Some(arn),
            force: Some(true),
        };
        match self.ecs().deregister_container_instance(&self.caller(), input).await {
            Ok(_) => String::new(),
            Err(fault) => refusal(&fault),
        }
    }
}

/// So many GPUs of one instance.
fn gpus(count: u32) -> ecs::Resource {
    ecs::Resource {
        name: Some("GPU".to_owned()),
        string_set_value: Some((0..count).map(|number| format!("GPU-{number}")).collect()),
        ..Default::default()
    }
}

fn gpu_requirement(count: &str) -> ecs::ResourceRequirement {
    ecs::ResourceRequirement {
        r#type: Some(ecs::ResourceType::Gpu),
        value: Some(count.to_owned()),
        ..Default::default()
    }
}

/// An expression with `_` for blanks.
fn member_of(text: &str) -> ecs::PlacementConstraint {
    ecs::PlacementConstraint {
        r#type: Some(ecs::PlacementConstraintType::MemberOf),
        expression: Some(text.replace('_', " ")),
    }
}

/// `spread(instanceId)`, `binpack(memory)`, `random`.
fn strategy(text: &str) -> ecs::PlacementStrategy {
    let (kind, field) = text.split_once('(').unwrap_or((text, ""));
    let field = field.trim_end_matches(')');
    ecs::PlacementStrategy {
        r#type: Some(ecs::PlacementStrategyType::from(kind)),
        field: (!field.is_empty()).then(|| field.to_owned()),
    }
}

fn network_configuration() -> ecs::NetworkConfiguration {
    let awsvpc = ecs::AwsVpcConfiguration { subnets: Some(vec!["subnet-1".to_owned()]), ..Default::default() };
    ecs::NetworkConfiguration { awsvpc_configuration: Some(awsvpc) }
}
