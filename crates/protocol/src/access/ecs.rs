//! What each call of ECS is authorized against.

use gantry_api::Caller;
use gantry_domain::arn::Scope;
use serde_json::Value;

use super::checks::{Call, Check, pass_role};

/// Operations without a resource of their own.
const NO_RESOURCE: &[&str] = &[
    "DeregisterTaskDefinition",
    "DescribeTaskDefinition",
    "DiscoverPollEndpoint",
    "ListAccountSettings",
    "ListClusters",
    "ListDaemonTaskDefinitions",
    "ListTaskDefinitionFamilies",
    "ListTaskDefinitions",
    // Of these Gantry serves nothing: only who may call everything learns so.
    "AssociateGatewayWithCluster",
    "CreateGateway",
    "DeleteGateway",
    "DescribeGateway",
    "DescribeGatewayResources",
    "DescribeGatewayRoute",
    "DisassociateGatewayFromCluster",
    "ListGatewayClusterAssociations",
    "ListGatewayRoutes",
    "ListGateways",
    "UpdateGateway",
];

/// Who gets the roles of tasks.
const TASKS: &str = "ecs-tasks.amazonaws.com";

/// The checks of a call; none for an operation that this table does not have.
pub(super) fn checks(call: &Call<'_>) -> Option<Vec<Check>> {
    let (operation, fields) = (call.operation, call.fields);
    let action = || format!("ecs:{operation}");
    let cluster = call.cluster(fields.text("cluster"));
    let in_cluster = |resource: String| Check::new(action(), resource).key("ecs:cluster", cluster.clone());
    let each = |names: Vec<&str>, kind: &str| -> Vec<Check> {
        let resources = names.into_iter().flat_map(|name| call.in_cluster(kind, &cluster, name));
        resources.map(&in_cluster).collect()
    };
    let one = |member: &str, kind: &str| each(fields.text(member).into_iter().collect(), kind);
    Some(match operation {
        operation if NO_RESOURCE.contains(&operation) => vec![Check::new(action(), "*")],
        "CreateCluster" => {
            let resource = call.cluster(fields.text("clusterName"));
            call.tagged_on_create(Check::new(action(), &*resource).keys(&capacity_providers(call)), &resource)
        }
        "PutClusterCapacityProviders" => vec![Check::new(action(), cluster).keys(&capacity_providers(call))],
        "DeleteCluster"
        | "DeregisterContainerInstance"
        | "ListAttributes"
        | "ListContainerInstances"
        | "SubmitAttachmentStateChanges"
        | "SubmitContainerStateChange"
        | "SubmitTaskStateChange"
        | "UpdateCluster"
        | "UpdateClusterSettings" => vec![Check::new(action(), cluster)],
        "RegisterContainerInstance" => {
            call.tagged_on_create(Check::new(action(), &*cluster), &call.below("container-instance", &cluster, "*"))
        }
        "DescribeClusters" => {
            let names = fields.texts("clusters");
            let names: Vec<Option<&str>> =
                if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
            names.into_iter().map(|name| Check::new(action(), call.cluster(name))).collect()
        }
        "ListServices" | "ListDaemons" => {
            let cluster = fields.text("clusterArn").map_or(cluster.clone(), |arn| call.cluster(Some(arn)));
            vec![Check::new(action(), "*").key("ecs:cluster", cluster)]
        }
        "ListServicesByNamespace" => {
            vec![Check::new(action(), "*").key("ecs:namespace", fields.text("namespace").unwrap_or_default())]
        }
        "ListTasks" => match fields.text("containerInstance") {
            Some(_) => one("containerInstance", "container-instance"),
            None => vec![in_cluster(call.below("container-instance", &cluster, "*"))],
        },
        "RegisterTaskDefinition" | "RegisterDaemonTaskDefinition" => register_task_definition(call),
        "DeleteTaskDefinitions" => {
            let references = fields.texts("taskDefinitions").into_iter();
            references.map(|reference| Check::new(action(), call.task_definition(reference).0)).collect()
        }
        "RunTask" | "StartTask" => run_task(call, &cluster),
        "StopTask" => one("task", "task"),
        "DescribeTasks" | "GetTaskProtection" | "UpdateTaskProtection" => match fields.texts("tasks") {
            tasks if tasks.is_empty() => vec![in_cluster(call.below("task", &cluster, "*"))],
            tasks => each(tasks, "task"),
        },
        "ExecuteCommand" => {
            let task = fields.text("task").unwrap_or_default();
            let container = fields.text("container").unwrap_or_default();
            let tasks: Vec<String> = call.in_cluster("task", &cluster, task).into_iter().collect();
            let check = |resource: String| {
                let check = in_cluster(resource).key("ecs:container-name", container);
                tasks.iter().fold(check, |check, task| check.key("ecs:task", &**task))
            };
            tasks.iter().cloned().chain([cluster.clone()]).map(check).collect()
        }
        "CreateService" | "UpdateService" => service(call, &cluster),
        "DescribeServices" => each(fields.texts("services"), "service"),
        "DeleteService" | "ListServiceDeployments" | "UpdateServicePrimaryTaskSet" => one("service", "service"),
        "DescribeServiceDeployments" => call.of_services(&fields.texts("serviceDeploymentArns")),
        "ContinueServiceDeployment" | "StopServiceDeployment" => {
            call.of_services(fields.text("serviceDeploymentArn").as_slice())
        }
        "DescribeServiceRevisions" => call.of_services(&fields.texts("serviceRevisionArns")),
        "CreateTaskSet" | "DeleteTaskSet" | "DescribeTaskSets" | "UpdateTaskSet" => task_set(call, &cluster),
        "DescribeContainerInstances" | "UpdateContainerInstancesState" => {
            each(fields.texts("containerInstances"), "container-instance")
        }
        "UpdateContainerAgent" => one("containerInstance", "container-instance"),
        "DeleteAttributes" | "PutAttributes" => {
            let targets = fields.list("attributes").map(|attribute| attribute["targetId"].as_str().unwrap_or("*"));
            each(targets.collect(), "container-instance")
        }
        "CreateCapacityProvider" | "UpdateCapacityProvider" => {
            let resource = call.arn(&format!("capacity-provider/{}", fields.text("name").unwrap_or_default()));
            let infrastructure = fields
                .value("managedInstancesProvider")
                .and_then(|provider| provider["infrastructureRoleArn"].as_str());
            let mut checks = call.tagged_on_create(Check::new(action(), &*resource), &resource);
            checks.extend(infrastructure.map(|role| pass_role(role, "ecs.amazonaws.com")));
            checks
        }
        "DeleteCapacityProvider" => {
            vec![Check::new(action(), call.named("capacity-provider", fields.text("capacityProvider")))]
        }
        "DescribeCapacityProviders" => match fields.texts("capacityProviders") {
            names if names.is_empty() => vec![Check::new(action(), call.named("capacity-provider", None))],
            names => names
                .into_iter()
                .map(|name| Check::new(action(), call.named("capacity-provider", Some(name))))
                .collect(),
        },
        "DeleteAccountSetting" | "PutAccountSetting" | "PutAccountSettingDefault" => {
            vec![Check::new(action(), "*").key("ecs:account-setting", fields.text("name").unwrap_or_default())]
        }
        "ListTagsForResource" => vec![Check::new(action(), call.given("resourceArn"))],
        "TagResource" => vec![Check::new(action(), call.given("resourceArn")).with_request_tags()],
        "UntagResource" => {
            let check = Check::new(action(), call.given("resourceArn"));
            vec![fields.texts("tagKeys").into_iter().fold(check, |check, key| check.key("aws:TagKeys", key))]
        }
        "CreateDaemon" | "UpdateDaemon" => daemon(call),
        "DeleteDaemon" | "DescribeDaemon" | "ListDaemonDeployments" => {
            vec![Check::new(action(), call.given("daemonArn"))]
        }
        "DescribeDaemonDeployments" => call.of_services(&fields.texts("daemonDeploymentArns")),
        "DescribeDaemonRevisions" => call.of_services(&fields.texts("daemonRevisionArns")),
        "DeleteDaemonTaskDefinition" | "DescribeDaemonTaskDefinition" => {
            vec![Check::new(action(), call.named("daemon-task-definition", fields.text("daemonTaskDefinition")))]
        }
        "CreateExpressGatewayService" => {
            let name = fields.text("serviceName").unwrap_or("*");
            let mut checks = vec![in_cluster(call.below("service", &cluster, name)).with_request_tags()];
            checks.extend(task_roles(call));
            checks.extend(fields.text("infrastructureRoleArn").map(|role| pass_role(role, "ecs.amazonaws.com")));
            checks
        }
        "DeleteExpressGatewayService" | "DescribeExpressGatewayService" => {
            vec![Check::new(action(), call.given("serviceArn"))]
        }
        "UpdateExpressGatewayService" => {
            let own = Check::new(action(), call.given("serviceArn"));
            [own].into_iter().chain(task_roles(call)).collect()
        }
        _ => return None,
    })
}

fn register_task_definition(call: &Call<'_>) -> Vec<Check> {
    let fields = call.fields;
    let kind = if call.operation == "RegisterTaskDefinition" { "task-definition" } else { "daemon-task-definition" };
    let resource = call.arn(&format!("{kind}/{}:*", fields.text("family").unwrap_or_default()));
    let privileged = fields.list("containerDefinitions").any(|container| container["privileged"] == Value::Bool(true));
    let mut check =
        Check::new(format!("ecs:{}", call.operation), &*resource).key("ecs:privileged", privileged.to_string());
    for compatibility in fields.texts("requiresCompatibilities") {
        check = check.key("ecs:compute-compatibility", compatibility);
    }
    check = check.keys(&sizes(fields.text("cpu"), fields.text("memory")));
    let mut checks = call.tagged_on_create(check, &resource);
    checks.extend(task_roles(call));
    checks
}

/// `iam:PassRole` for the roles that the input itself names.
fn task_roles(call: &Call<'_>) -> impl Iterator<Item = Check> {
    let roles = ["taskRoleArn", "executionRoleArn"].into_iter().filter_map(|member| call.fields.text(member));
    roles.filter(|role| !role.is_empty()).map(|role| call.pass_to_tasks(role))
}

fn run_task(call: &Call<'_>, cluster: &str) -> Vec<Check> {
    let fields = call.fields;
    let (task_definition, mut roles) = call.task_definition(fields.text("taskDefinition").unwrap_or_default());
    let mut check = Check::new(format!("ecs:{}", call.operation), task_definition)
        .key("ecs:cluster", cluster)
        .key("ecs:enable-execute-command", fields.is_on("enableExecuteCommand").to_string())
        .key("ecs:enable-ebs-volumes", fields.list("volumeConfigurations").next().is_some().to_string())
        .keys(&capacity_providers(call));
    for instance in fields.texts("containerInstances") {
        for arn in call.in_cluster("container-instance", cluster, instance) {
            check = check.key("ecs:container-instances", arn);
        }
    }
    let mut checks = call.tagged_on_create(check, &call.below("task", cluster, "*"));
    let overrides = fields.value("overrides");
    for member in ["taskRoleArn", "executionRoleArn"] {
        roles.extend(overrides.and_then(|overrides| overrides[member].as_str()).map(str::to_owned));
    }
    checks.extend(roles.iter().filter(|role| !role.is_empty()).map(|role| call.pass_to_tasks(role)));
    checks.extend(infrastructure_roles(call));
    checks
}

fn service(call: &Call<'_>, cluster: &str) -> Vec<Check> {
    let fields = call.fields;
    let creates = call.operation == "CreateService";
    let name = fields.text(if creates { "serviceName" } else { "service" }).unwrap_or_default();
    let mut keys = capacity_providers(call);
    let mut add = |key: &str, value: String| keys.push((key.to_owned(), value));
    add("ecs:cluster", cluster.to_owned());
    if creates || fields.value("enableExecuteCommand").is_some() {
        add("ecs:enable-execute-command", fields.is_on("enableExecuteCommand").to_string());
    }
    add("ecs:enable-ebs-volumes", fields.list("volumeConfigurations").next().is_some().to_string());
    let connect = fields.value("serviceConnectConfiguration");
    add(
        "ecs:enable-service-connect",
        connect.is_some_and(|connect| connect["enabled"] == Value::Bool(true)).to_string(),
    );
    if let Some(namespace) = connect.and_then(|connect| connect["namespace"].as_str()) {
        add("ecs:namespace", namespace.to_owned());
    }
    add("ecs:enable-vpc-lattice", fields.list("vpcLatticeConfigurations").next().is_some().to_string());
    add("ecs:enable-ecs-managed-tags", fields.is_on("enableECSManagedTags").to_string());
    if let Some(from) = fields.text("propagateTags") {
        add("ecs:propagate-tags", from.to_owned());
    }
    if let Some(vpc) = fields.value("networkConfiguration").map(|network| &network["awsvpcConfiguration"]) {
        add("ecs:auto-assign-public-ip", (vpc["assignPublicIp"] == "ENABLED").to_string());
        for subnet in vpc["subnets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            add("ecs:subnet", subnet.to_owned());
        }
    }
    let (task_definition, roles) = match fields.text("taskDefinition") {
        Some(reference) => call.task_definition(reference),
        None => (String::new(), Vec::new()),
    };
    if !task_definition.is_empty() {
        add("ecs:task-definition", task_definition);
    }
    let mut checks = Vec::new();
    for resource in call.in_cluster("service", cluster, name) {
        let check = Check::new(format!("ecs:{}", call.operation), &*resource).keys(&keys);
        if creates { checks.extend(call.tagged_on_create(check, &resource)) } else { checks.push(check) }
    }
    checks.extend(roles.iter().map(|role| call.pass_to_tasks(role)));
    checks.extend(infrastructure_roles(call));
    checks.extend(fields.text("role").map(|role| pass_role(&call.role_arn(role), "ecs.amazonaws.com")));
    checks
}

fn daemon(call: &Call<'_>) -> Vec<Check> {
    let fields = call.fields;
    let definition = call.named("daemon-task-definition", fields.text("daemonTaskDefinitionArn"));
    let (_, roles) = call.task_definition(&definition);
    let mut checks = if call.operation == "CreateDaemon" {
        let cluster = call.cluster(fields.text("clusterArn"));
        let resource = call.below("daemon", &cluster, fields.text("daemonName").unwrap_or("*"));
        let check = Check::new("ecs:CreateDaemon", &*resource)
            .key("ecs:cluster", cluster)
            .key("ecs:enable-execute-command", fields.is_on("enableExecuteCommand").to_string());
        call.tagged_on_create(check, &resource)
    } else {
        let check = Check::new("ecs:UpdateDaemon", call.given("daemonArn"));
        vec![match fields.value("enableExecuteCommand") {
            Some(_) => check.key("ecs:enable-execute-command", fields.is_on("enableExecuteCommand").to_string()),
            None => check,
        }]
    };
    checks.extend(roles.iter().map(|role| call.pass_to_tasks(role)));
    checks
}

fn task_set(call: &Call<'_>, cluster: &str) -> Vec<Check> {
    let fields = call.fields;
    let service = last_part(fields.text("service").unwrap_or_default());
    let name = cluster_name(cluster);
    let service_arn = call.below("service", cluster, service);
    let sets = match call.operation {
        "CreateTaskSet" => vec!["*"],
        "DescribeTaskSets" => match fields.texts("taskSets") {
            sets if sets.is_empty() => vec!["*"],
            sets => sets,
        },
        _ => fields.text("taskSet").into_iter().collect(),
    };
    let resource = |set: &str| call.arn(&format!("task-set/{name}/{service}/{}", last_part(set)));
    let check = |set: &str| {
        let check = Check::new(format!("ecs:{}", call.operation), resource(set));
        check.key("ecs:cluster", cluster).key("ecs:service", &*service_arn)
    };
    if call.operation != "CreateTaskSet" {
        return sets.into_iter().map(check).collect();
    }
    let (task_definition, roles) = call.task_definition(fields.text("taskDefinition").unwrap_or_default());
    let own = check("*").key("ecs:task-definition", task_definition).keys(&capacity_providers(call));
    let mut checks = call.tagged_on_create(own, &resource("*"));
    checks.extend(roles.iter().map(|role| call.pass_to_tasks(role)));
    checks
}

/// Roles that ECS itself takes on for volumes, certificates and load balancers.
fn infrastructure_roles(call: &Call<'_>) -> Vec<Check> {
    let fields = call.fields;
    let volumes = fields.list("volumeConfigurations").map(|volume| &volume["managedEBSVolume"]["roleArn"]);
    let balancers = fields.list("loadBalancers").map(|balancer| &balancer["advancedConfiguration"]["roleArn"]);
    let lattice = fields.list("vpcLatticeConfigurations").map(|lattice| &lattice["roleArn"]);
    let services = fields.value("serviceConnectConfiguration").and_then(|connect| connect["services"].as_array());
    let certificates = services.into_iter().flatten().map(|service| &service["tls"]["roleArn"]);
    let roles = volumes.chain(balancers).chain(lattice).chain(certificates).filter_map(Value::as_str);
    roles.map(|role| pass_role(role, "ecs.amazonaws.com")).collect()
}

fn capacity_providers(call: &Call<'_>) -> Vec<(String, String)> {
    let strategy =
        call.fields.list("capacityProviderStrategy").chain(call.fields.list("defaultCapacityProviderStrategy"));
    let named = strategy.filter_map(|item| item["capacityProvider"].as_str());
    let all = named.chain(call.fields.texts("capacityProviders"));
    all.map(|name| ("ecs:capacity-provider".to_owned(), call.named("capacity-provider", Some(name)))).collect()
}

/// CPU units and MiB, also from `1 vCPU` and `2 GB`.
fn sizes(cpu: Option<&str>, memory: Option<&str>) -> Vec<(String, String)> {
    let number = |text: &str, units: &[&str]| {
        let lower = text.trim().to_ascii_lowercase();
        let bare = units.iter().find_map(|unit| lower.strip_suffix(unit)).map(str::trim);
        match bare {
            Some(number) => number.parse::<f64>().ok().map(|number| (number * 1024.0).to_string()),
            None => lower.parse::<f64>().ok().map(|number| number.to_string()),
        }
    };
    let cpu = cpu.and_then(|cpu| number(cpu, &["vcpu"])).map(|units| ("ecs:task-cpu".to_owned(), units));
    let memory = memory.and_then(|memory| number(memory, &["gb"])).map(|mib| ("ecs:task-memory".to_owned(), mib));
    cpu.into_iter().chain(memory).collect()
}

/// What stands after the last slash.
fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// The name in the ARN of a cluster.
fn cluster_name(arn: &str) -> &str {
    arn.split_once(":cluster/").map_or(arn, |(_, name)| name)
}

impl Call<'_> {
    /// The ARN of a resource of ECS in the caller's account and region.
    fn arn(&self, resource: &str) -> String {
        let Caller { account, region, .. } = self.caller;
        let partition = Scope::new(account, region).partition();
        format!("arn:{partition}:ecs:{region}:{account}:{resource}")
    }

    /// The ARN of a cluster given by name or ARN.
    fn cluster(&self, given: Option<&str>) -> String {
        match given.unwrap_or("default") {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            name => self.arn(&format!("cluster/{name}")),
        }
    }

    /// The ARN of something in a cluster.
    fn below(&self, kind: &str, cluster: &str, name: &str) -> String {
        self.arn(&format!("{kind}/{}/{name}", cluster_name(cluster)))
    }

    /// The ARNs that a name or ARN can mean in a cluster: an ARN that names another cluster than the request counts as
    /// well, whichever of the two the operation goes by.
    fn in_cluster(&self, kind: &str, cluster: &str, given: &str) -> Vec<String> {
        let by_cluster = self.below(kind, cluster, last_part(given));
        let long = given.starts_with("arn:") && given.matches('/').count() >= 2;
        if long && given != by_cluster { vec![by_cluster, given.to_owned()] } else { vec![by_cluster] }
    }

    /// The ARN of something that is named by name or ARN; every one when it is not named.
    fn named(&self, kind: &str, given: Option<&str>) -> String {
        match given.unwrap_or("*") {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            name => self.arn(&format!("{kind}/{name}")),
        }
    }

    fn given(&self, member: &str) -> &str {
        self.fields.text(member).unwrap_or("*")
    }

    /// A deployment or revision of a service, and the service.
    fn of_services(&self, arns: &[&str]) -> Vec<Check> {
        let action = format!("ecs:{}", self.operation);
        let mut checks = Vec::new();
        for arn in arns {
            checks.push(Check::new(&*action, *arn));
            // …:service-deployment/CLUSTER/SERVICE/ID
            let Some((before, path)) = arn.rsplit_once(':') else { continue };
            let [kind, cluster, service, _] = path.split('/').collect::<Vec<_>>()[..] else { continue };
            let parent = if kind.starts_with("daemon") { "daemon" } else { "service" };
            let cluster_arn = format!("{before}:cluster/{cluster}");
            let check = Check::new(&*action, format!("{before}:{parent}/{cluster}/{service}"));
            checks.push(check.key("ecs:cluster", cluster_arn));
        }
        if checks.is_empty() { vec![Check::new(action, "*")] } else { checks }
    }

    /// The task definition's ARN with its revision, and the roles it names.
    fn task_definition(&self, reference: &str) -> (String, Vec<String>) {
        match self.facts.task_definition(self.caller, reference) {
            Some(found) => (found.arn, found.roles),
            None if reference.starts_with("arn:") => (reference.to_owned(), Vec::new()),
            None => (self.arn(&format!("task-definition/{reference}")), Vec::new()),
        }
    }

    fn pass_to_tasks(&self, role: &str) -> Check {
        pass_role(&self.role_arn(role), TASKS)
    }

    /// A role given by name or ARN.
    fn role_arn(&self, role: &str) -> String {
        if role.starts_with("arn:") {
            return role.to_owned();
        }
        let found = self.facts.iam_arn(&self.caller.account, "role", role);
        found.unwrap_or_else(|| format!("arn:aws:iam::{}:role/{role}", self.caller.account))
    }

    /// The check of a call that makes `resource`, and that of tagging it when the call does.
    fn tagged_on_create(&self, check: Check, resource: &str) -> Vec<Check> {
        let mut checks = vec![check.with_request_tags()];
        if !self.fields.tags().is_empty() {
            let tagging = Check::new("ecs:TagResource", resource).key("ecs:CreateAction", self.operation);
            checks.push(tagging.with_request_tags());
        }
        checks
    }
}
