//! What comes back of a valid document, and what is worked out from it.

use gantry_api::ecs::{Compatibility, LaunchType};
use gantry_domain::capabilities;
use serde_json::{Value, json};

use super::{document, fargate, names, prepare};
use crate::task_definition::{refusals, requirements};

fn registered(document: &Value) -> Value {
    serde_json::to_value(prepare(document).unwrap()).unwrap()
}

#[test]
fn the_service_fills_in_its_defaults() {
    let echo = registered(&document(
        json!({"cpu": "1 vCPU", "memory": "2GB", "volumes": [{"name": "data"}]}),
        json!({"portMappings": [{"containerPort": 80}]}),
    ));
    assert_eq!(
        echo,
        json!({
            "family": "web",
            "cpu": "1024",
            "memory": "2048",
            "volumes": [{"name": "data", "host": {}}],
            "placementConstraints": [],
            "compatibilities": ["EXTERNAL", "EC2"],
            "requiresAttributes": [{"name": "ecs.capability.task-cpu-mem-limit"}],
            "containerDefinitions": [{
                "name": "app", "image": "busybox", "memory": 128, "cpu": 0, "essential": true, "environment": [],
                "mountPoints": [], "volumesFrom": [], "systemControls": [],
                "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}],
            }],
        })
    );
}

#[test]
fn a_host_port_follows_the_network_mode() {
    for (mode, host_port) in [("bridge", 0), ("host", 80), ("awsvpc", 80)] {
        let echo =
            registered(&document(json!({"networkMode": mode}), json!({"portMappings": [{"containerPort": 80}]})));
        assert_eq!(echo["containerDefinitions"][0]["portMappings"][0]["hostPort"], host_port, "{mode}");
    }
    let range = json!({"portMappings": [{"containerPortRange": "1-5", "protocol": "udp"}]});
    let echo = registered(&document(json!({}), range.clone()));
    assert_eq!(echo["containerDefinitions"][0]["portMappings"], range["portMappings"]);
}

#[test]
fn compatibilities_are_worked_out() {
    use Compatibility::{Ec2, External, Fargate, ManagedInstances};
    for (document, expected) in [
        (document(json!({}), json!({})), vec![External, Ec2]),
        (document(json!({"networkMode": "awsvpc"}), json!({})), vec![Ec2, ManagedInstances]),
        (fargate(json!({}), json!({})), vec![Ec2, Fargate, ManagedInstances]),
        (fargate(json!({"requiresCompatibilities": null}), json!({})), vec![Ec2, Fargate, ManagedInstances]),
        (document(json!({"networkMode": "host"}), json!({})), vec![External, Ec2, ManagedInstances]),
        (
            document(
                json!({"networkMode": "host", "volumes": [{"name": "a", "dockerVolumeConfiguration": {}}]}),
                json!({}),
            ),
            vec![External, Ec2],
        ),
        (
            document(
                json!({"networkMode": "host", "trustedExecutionConfiguration": {"isolationMode": "SHARED"}}),
                json!({}),
            ),
            vec![ManagedInstances],
        ),
    ] {
        assert_eq!(prepare(&document).unwrap().compatibilities.unwrap(), expected, "{document}");
    }
}

#[test]
fn required_attributes_are_worked_out() {
    let role = json!({"executionRoleArn": "r", "taskRoleArn": "r", "networkMode": "awsvpc", "pidMode": "task",
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}});
    let app = json!({
        "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1",
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r"}},
        "secrets": [{"name": "A", "valueFrom": "arn:aws:secretsmanager:us-east-1:000000000000:secret:a-123456"},
            {"name": "B", "valueFrom": "b"}],
        "healthCheck": {"command": ["CMD", "true"]},
        "stopTimeout": 5,
        "memoryReservation": 64,
        "privileged": true,
        "linuxParameters": {"initProcessEnabled": true, "sharedMemorySize": 64},
        "restartPolicy": {"enabled": true},
    });
    let prepared = prepare(&document(role, app)).unwrap();
    assert_eq!(
        names(&prepared.requires_attributes),
        [
            "com.amazonaws.ecs.capability.docker-remote-api.1.17",
            "com.amazonaws.ecs.capability.docker-remote-api.1.18",
            "com.amazonaws.ecs.capability.docker-remote-api.1.19",
            "com.amazonaws.ecs.capability.docker-remote-api.1.21",
            "com.amazonaws.ecs.capability.docker-remote-api.1.22",
            "com.amazonaws.ecs.capability.docker-remote-api.1.24",
            "com.amazonaws.ecs.capability.docker-remote-api.1.25",
            "com.amazonaws.ecs.capability.ecr-auth",
            "com.amazonaws.ecs.capability.logging-driver.awslogs",
            "com.amazonaws.ecs.capability.privileged-container",
            "com.amazonaws.ecs.capability.task-iam-role",
            "ecs.capability.container-health-check",
            "ecs.capability.container-ordering",
            "ecs.capability.container-restart-policy",
            "ecs.capability.execution-role-awslogs",
            "ecs.capability.execution-role-ecr-pull",
            "ecs.capability.pid-ipc-namespace-sharing",
            "ecs.capability.secrets.asm.environment-variables",
            "ecs.capability.secrets.ssm.environment-variables",
            "ecs.capability.task-eni",
            "ecs.cpu-architecture",
            "ecs.os-family",
        ]
    );
    assert!(names(&prepare(&document(json!({}), json!({}))).unwrap().requires_attributes).is_empty());
}

#[test]
fn the_extract_says_what_the_document_says() {
    let prepared = prepare(&document(
        json!({"memory": "1GB", "placementConstraints": [{"type": "memberOf", "expression": "agentConnected == true"}]}),
        json!({"cpu": 10, "memoryReservation": 64, "stopTimeout": 5, "healthCheck": {"command": ["CMD", "true"]},
            "portMappings": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "protocol": "udp"}]}),
    ))
    .unwrap();
    let extract = requirements(&prepared);
    assert_eq!((extract.cpu_units, extract.memory_mib), (None, Some(1024)));
    assert_eq!(extract.placement_expressions, ["agentConnected == true"]);
    let resources = extract.resources();
    assert_eq!((resources.cpu_units, resources.memory_mib), (10, 1024));
    assert_eq!((resources.tcp_ports, resources.udp_ports), (vec![8080], vec![]));
    let app = extract.container("app").unwrap();
    assert!(app.essential && app.has_health_check);
    assert_eq!(app.stop_timeout_seconds, Some(5));
    assert!(extract.attributes.iter().any(|attribute| attribute.name == "ecs.capability.container-ordering"));
}

#[test]
fn log_options_without_effect_are_refused_by_name() {
    for (driver, options, refused) in [
        (
            "awslogs",
            json!({"awslogs-group": "g", "awslogs-region": "r", "tag": "x", "mode": "blocking", "awslogs-endpoint": "e"}),
            vec!["log option 'awslogs-endpoint' of container 'app'"],
        ),
        ("json-file", json!({"max-size": "1m", "tag": "x"}), vec!["log option 'tag' of container 'app'"]),
        ("gelf", json!({"gelf-address": "udp://h:1", "tag": "x", "env": "A"}), vec![]),
        ("syslog", json!({"syslog-color": "red"}), vec!["log option 'syslog-color' of container 'app'"]),
        ("fluentd", json!({"fluentd-address": "h:1", "max-buffer-size": "1m"}), vec![]),
    ] {
        let given = document(json!({}), json!({"logConfiguration": {"logDriver": driver, "options": options}}));
        let prepared = prepare(&given).unwrap();
        let found: Vec<String> = refusals(&prepared, &LaunchType::Ec2).iter().map(ToString::to_string).collect();
        assert_eq!(found, refused, "{driver}");
    }
}

#[test]
fn secret_log_options_without_effect_are_refused_by_name() {
    for (driver, option, refused) in [
        ("splunk", "splunk-token", vec![]),
        ("syslog", "tag", vec![]),
        ("awslogs", "awslogs-group", vec![]),
        ("splunk", "token", vec!["secretOptions 'token' of container 'app'"]),
        ("splunk", "mode", vec!["secretOptions 'mode' of container 'app'"]),
        ("json-file", "max-size", vec!["secretOptions 'max-size' of container 'app'"]),
    ] {
        let options = json!({"splunk": {"splunk-url": "u", "splunk-token": "t"}, "awslogs": {"awslogs-region": "r",
            "awslogs-group": "g"}});
        let mut options = options.get(driver).cloned().unwrap_or_else(|| json!({}));
        options.as_object_mut().unwrap().remove(option);
        let log = json!({"logDriver": driver, "options": options,
            "secretOptions": [{"name": option, "valueFrom": "p"}]});
        let given = document(json!({"executionRoleArn": "r"}), json!({"logConfiguration": log}));
        let found = refusals(&prepare(&given).unwrap(), &LaunchType::Ec2);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), refused, "{driver} {option}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let prepared = prepare(&document(
        json!({"taskRoleArn": "r", "executionRoleArn": "r",
            "volumes": [{"name": "efs", "efsVolumeConfiguration": {"fileSystemId": "fs-1",
                    "transitEncryption": "ENABLED", "authorizationConfig": {"iam": "ENABLED"}}},
                {"name": "disk", "dockerVolumeConfiguration": {"driver": "local",
                    "driverOpts": {"type": "ext4", "device": "/dev/sda1"}}},
                {"name": "nfs", "dockerVolumeConfiguration": {"driver": "local",
                    "driverOpts": {"type": "nfs", "device": ":/x", "o": "addr=10.0.0.1"}}},
                {"name": "fine", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": true}}]}),
        json!({"credentialSpecs": ["credentialspecdomainless:arn:aws:ssm:x"], "logConfiguration": {"logDriver": "syslog"}, "interactive": true,
            "dockerSecurityOptions": ["no-new-privileges", "apparmor:x"]}),
    ))
    .unwrap();
    let refused: Vec<String> = refusals(&prepared, &LaunchType::Ec2).iter().map(ToString::to_string).collect();
    assert_eq!(
        refused,
        [
            "efsVolumeConfiguration authorizationConfig iam of volume 'efs'",
            "dockerVolumeConfiguration driverOpts type 'ext4' of volume 'disk'",
            "credentialSpecs of container 'app'",
            "dockerSecurityOptions 'apparmor:x' of container 'app'",
        ]
    );
}

#[test]
fn faults_are_refused_in_the_network_of_the_host_alone() {
    for (mode, refused) in [("awsvpc", vec![]), ("host", vec!["enableFaultInjection with networkMode host"])] {
        let given = document(json!({"networkMode": mode, "enableFaultInjection": true}), json!({}));
        let found = refusals(&prepare(&given).unwrap(), &LaunchType::Ec2);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), refused, "{mode}");
    }
}

/// A host that can do what [`capabilities::OF_EVERY_HOST`] says can run whatever is not refused: every capability that a
/// document without refusals can require is in the list.
#[test]
fn what_is_not_refused_needs_no_more_than_every_host_has() {
    let everything = json!({
        "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1", "essential": true, "cpu": 1,
        "memoryReservation": 64, "links": [], "privileged": true, "stopTimeout": 5,
        "portMappings": [{"containerPortRange": "1-5"}],
        "restartPolicy": {"enabled": true}, "dockerLabels": {"a": "b"},
        "healthCheck": {"command": ["CMD", "true"]},
        "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}],
        "linuxParameters": {"initProcessEnabled": true, "sharedMemorySize": 64, "maxSwap": 1, "swappiness": 1,
            "tmpfs": [{"containerPath": "/a", "size": 1}], "devices": [{"hostPath": "/dev/fuse"}],
            "capabilities": {"add": ["ALL"]}},
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r"}},
        "dockerSecurityOptions": ["no-new-privileges"],
        "secrets": [{"name": "A", "valueFrom": "arn:aws:secretsmanager:us-east-1:000000000000:secret:a-123456"},
            {"name": "B", "valueFrom": "b"}],
        "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/k.env"}],
        "repositoryCredentials": {"credentialsParameter": "arn:aws:secretsmanager:x"},
    });
    let task = json!({"executionRoleArn": "r", "taskRoleArn": "r", "networkMode": "awsvpc", "pidMode": "host", "ipcMode": "host",
        "enableFaultInjection": true, "cpu": "16 vCPU", "memory": "32 GB",
        "proxyConfiguration": {"type": "APPMESH", "containerName": "app", "properties": [
            {"name": "AppPorts", "value": "80"}, {"name": "ProxyIngressPort", "value": "1"},
            {"name": "ProxyEgressPort", "value": "2"}, {"name": "IgnoredGID", "value": "3"}]},
        "volumes": [{"name": "a", "dockerVolumeConfiguration": {"scope": "task"}},
            {"name": "b", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "transitEncryption": "ENABLED",
                "authorizationConfig": {"accessPointId": "fsap-1"}}}]});
    let with = |member: &str, value: serde_json::Value| {
        let mut changed = everything.clone();
        changed[member] = value;
        changed
    };
    let mut containers = vec![everything.clone()];
    let splunk = json!({"splunk-url": "http://h", "splunk-token": "t"});
    for driver in ["json-file", "fluentd", "gelf", "journald", "syslog", "splunk"] {
        let options = if driver == "splunk" { splunk.clone() } else { json!({}) };
        containers.push(with("logConfiguration", json!({"logDriver": driver, "options": options})));
    }
    let secrets = json!([{"name": "tag", "valueFrom": "arn:aws:secretsmanager:us-east-1:000000000000:secret:a-123456"},
        {"name": "labels", "valueFrom": "b"}]);
    containers.push(with("logConfiguration", json!({"logDriver": "syslog", "secretOptions": secrets})));
    let mut documents: Vec<_> = containers.into_iter().map(|container| document(task.clone(), container)).collect();
    for kind in ["file", "s3"] {
        let options = json!({"config-file-type": kind, "config-file-value": "arn:aws:s3:::b/k"});
        let firelens = json!({"type": "fluentd", "options": options});
        let router = json!({"name": "router", "image": "r", "memory": 64, "firelensConfiguration": firelens});
        let sender =
            json!({"name": "app", "image": "a", "memory": 64, "logConfiguration": {"logDriver": "awsfirelens"}});
        documents.push(document(json!({"executionRoleArn": "r", "containerDefinitions": [router, sender]}), json!({})));
    }
    for given in documents {
        let prepared = prepare(&given).unwrap();
        assert_eq!(refusals(&prepared, &LaunchType::Ec2), []);
        for name in names(&prepared.requires_attributes) {
            assert!(capabilities::OF_EVERY_HOST.contains(&name), "{name}");
        }
    }
}

#[test]
fn every_member_of_the_model_comes_back() {
    let given = fargate(
        json!({
            "taskRoleArn": "arn:aws:iam::000000000000:role/t", "executionRoleArn": "arn:aws:iam::000000000000:role/e",
            "cpu": "512", "memory": "1024", "pidMode": "task", "ephemeralStorage": {"sizeInGiB": 30},
            "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
            "enableFaultInjection": false,
            "proxyConfiguration": {"type": "APPMESH", "containerName": "app", "properties": [
                {"name": "AppPorts", "value": "80"}, {"name": "ProxyIngressPort", "value": "1"},
                {"name": "ProxyEgressPort", "value": "2"}, {"name": "IgnoredGID", "value": "3"}]},
            "volumes": [{"name": "ebs", "configuredAtLaunch": true}],
            "placementConstraints": [],
        }),
        json!({
            "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1",
            "repositoryCredentials": {"credentialsParameter": "arn:aws:secretsmanager:x"},
            "cpu": 128, "memory": 256, "memoryReservation": 128, "essential": true,
            "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp", "name": "web", "appProtocol": "http2"}],
            "restartPolicy": {"enabled": true, "ignoredExitCodes": [0, 2], "restartAttemptPeriod": 90},
            "entryPoint": ["/bin/sh"], "command": ["-c", "true"],
            "environment": [{"name": "A", "value": "1"}],
            "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/k.env"}],
            "mountPoints": [{"sourceVolume": "ebs", "containerPath": "/data", "readOnly": true}],
            "volumesFrom": [],
            "linuxParameters": {"initProcessEnabled": true, "capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]},
                "tmpfs": [{"containerPath": "/run", "size": 16, "mountOptions": ["rw"]}]},
            "secrets": [{"name": "S", "valueFrom": "arn:aws:ssm:x"}],
            "startTimeout": 10, "stopTimeout": 20, "versionConsistency": "disabled", "user": "1:1",
            "workingDirectory": "/w", "readonlyRootFilesystem": true, "interactive": true, "pseudoTerminal": true,
            "dockerLabels": {"l": "v"},
            "ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r",
                "awslogs-stream-prefix": "p"}, "secretOptions": []},
            "healthCheck": {"command": ["CMD", "true"], "interval": 6, "timeout": 3, "retries": 2, "startPeriod": 1},
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "1"}],
            "credentialSpecs": ["credentialspecdomainless:arn:aws:ssm:x"],
        }),
    );
    let echo = registered(&given);
    for (member, value) in given.as_object().unwrap() {
        assert_eq!(echo[member], *value, "{member}");
    }
}
