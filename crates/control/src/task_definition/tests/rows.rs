//! The table of refusals.

use serde_json::{Value, json};

use super::{check, document, fargate};

fn task(task: Value, expected: &str) {
    check(&document(task, json!({})), expected);
}

fn container(container: Value, expected: &str) {
    check(&document(json!({}), container), expected);
}

/// Two containers, `app` and `side`, each changed.
fn pair(app: Value, side: Value, expected: &str) {
    let mut both = document(json!({}), app);
    let mut other = document(json!({}), json!({"name": "side"}));
    super::merge(&mut other["containerDefinitions"][0], side);
    let other = other["containerDefinitions"][0].take();
    both["containerDefinitions"].as_array_mut().unwrap().push(other);
    check(&both, expected);
}

fn setting(member: &str) -> String {
    format!("Invalid '{member}' setting for container 'app'.")
}

#[test]
fn the_document_itself() {
    let long = "a".repeat(256);
    for (patch, expected) in [
        (json!({}), ""),
        (json!({"family": null}), "Family can not be blank."),
        (json!({"family": ""}), "Family can not be blank."),
        (json!({"family": "a b"}), "Family contains invalid characters."),
        (json!({"family": "wéb"}), "Family contains invalid characters."),
        (json!({"family": long}), "Family should be 255 characters or less."),
        (json!({"containerDefinitions": null}), "Container list cannot be empty."),
        (json!({"containerDefinitions": []}), "Container list cannot be empty."),
        (json!({"taskRoleArn": "arn:aws:iam::000000000000:role/path/name"}), ""),
        (json!({"taskRoleArn": "name"}), ""),
        (json!({"taskRoleArn": ""}), ""),
        (json!({"taskRoleArn": "arn:aws:iam::000000000000:user/name"}), "Role is not valid"),
        (json!({"executionRoleArn": "arn:aws:iam::0:role/name"}), "Role is not valid"),
        (json!({"executionRoleArn": "a role"}), "Role is not valid"),
        (json!({"cpu": "abc"}), "Invalid 'cpu' setting for task."),
        (json!({"cpu": ""}), "Invalid 'cpu' setting for task."),
        (json!({"cpu": "127"}), "Invalid 'cpu' setting for task."),
        (json!({"cpu": "196609"}), "Invalid 'cpu' setting for task."),
        (json!({"cpu": "128"}), ""),
        (json!({"cpu": ".25 vCPU"}), ""),
        (json!({"memory": "-1"}), "Invalid 'memory' setting for task."),
        (json!({"memory": "1 TB"}), "Invalid 'memory' setting for task."),
        (json!({"memory": "2 GB"}), ""),
        (json!({"memory": "100"}), "The 'memory' setting for container 'app' is greater than for the task."),
        (json!({"ephemeralStorage": {"sizeInGiB": 20}}), "Invalid 'ephemeralStorage' setting for task."),
        (json!({"ephemeralStorage": {"sizeInGiB": 201}}), "Invalid 'ephemeralStorage' setting for task."),
        (json!({"ephemeralStorage": {"sizeInGiB": 21}}), ""),
        (json!({"enableFaultInjection": true}), "enableFaultInjection is not supported when networkMode=bridge."),
        (json!({"enableFaultInjection": true, "networkMode": "host"}), ""),
        (json!({"requiresCompatibilities": ["EC2", "EXTERNAL"]}), ""),
        (
            json!({"requiresCompatibilities": ["EXTERNAL"], "networkMode": "awsvpc"}),
            "Task definition does not support launch_type EXTERNAL.",
        ),
        (
            json!({"requiresCompatibilities": ["MANAGED_INSTANCES"]}),
            "Task definition does not support launch_type MANAGED_INSTANCES.",
        ),
        (json!({"requiresCompatibilities": ["MANAGED_INSTANCES"], "networkMode": "host"}), ""),
        (
            json!({"requiresCompatibilities": ["EC2"], "trustedExecutionConfiguration": {"isolationMode": "SHARED"}}),
            "Task definition does not support launch_type EC2.",
        ),
        (
            json!({"trustedExecutionConfiguration": {"isolationMode": "CONFIDENTIAL_SANDBOX"}}),
            "An attestationPolicy in base64 is required for the isolation mode CONFIDENTIAL_SANDBOX.",
        ),
    ] {
        task(patch, expected);
    }
}

#[test]
fn placement_constraints() {
    let constraint = |expression: &str| json!({"type": "memberOf", "expression": expression});
    task(json!({"placementConstraints": [constraint("attribute:ecs.instance-type =~ t2.*")]}), "");
    let blank = "Placement constraint expression should not be null or empty, and have at most 2000 characters.";
    task(json!({"placementConstraints": [constraint(" ")]}), blank);
    task(json!({"placementConstraints": [{"type": "memberOf"}]}), blank);
    task(json!({"placementConstraints": [constraint(&"a".repeat(2001))]}), blank);
    let eleven: Vec<Value> = (0..11).map(|_| constraint("agentConnected == true")).collect();
    task(json!({"placementConstraints": eleven}), "Too many placement constraints: at most 10 are allowed.");
    let refused = super::prepare(&document(json!({"placementConstraints": [constraint("attribute:a ==")]}), json!({})));
    assert!(refused.unwrap_err().starts_with("Invalid placement constraint expression 'attribute:a =='"));
}

#[test]
fn names_and_images() {
    let digest = "a".repeat(64);
    for (patch, expected) in [
        (json!({"name": null}), "Container.name should not be null or empty."),
        (json!({"name": "a.b"}), "Container.name contains invalid characters."),
        (json!({"name": "a".repeat(256)}), "Container.name should be 255 characters or less"),
        (json!({"image": null}), "Container.image should not be null or empty."),
        (json!({"image": ""}), "Container.image should not be null or empty."),
        (json!({"image": "busy box"}), "Container.image contains invalid characters."),
        (json!({"image": "https://x/y?z"}), "Container.image contains invalid characters."),
        (json!({"image": "a".repeat(256)}), "Container.image should be 255 characters or less"),
        (json!({"image": "localhost:4566/a/b:1.0-x_y"}), ""),
        (json!({"image": format!("busybox@sha256:{digest}")}), ""),
        (json!({"image": format!("busybox:1@sha256:{digest}")}), ""),
        (json!({"image": "busybox@sha256:abc"}), "Container.image contains invalid characters."),
        (
            json!({"image": format!("busybox@sha256:{}", "A".repeat(64))}),
            "Container.image contains invalid characters.",
        ),
        (json!({"image": format!("@sha256:{digest}")}), "Container.image contains invalid characters."),
    ] {
        container(patch, expected);
    }
    pair(
        json!({}),
        json!({"name": "app"}),
        "Container.name must be unique within a task definition: 'app' is used more than once.",
    );
    pair(
        json!({"essential": false}),
        json!({"essential": false}),
        "Task definition doesn't have any essential container.",
    );
    let eleven: Vec<Value> = (0..11).map(|n| json!({"name": format!("c{n}"), "image": "a", "memory": 6})).collect();
    task(json!({"containerDefinitions": eleven}), "Too many containers.");
}

#[test]
fn sizes() {
    let none =
        "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.";
    for (patch, expected) in [
        (json!({"memory": null}), none),
        (json!({"memory": 0}), none),
        (json!({"memory": null, "memoryReservation": 64}), ""),
        (json!({"memory": 5}), &setting("memory")),
        (json!({"memory": -128}), &setting("memory")),
        (json!({"memoryReservation": 5}), &setting("memoryReservation")),
        (json!({"memory": 64, "memoryReservation": 64}), ""),
        (
            json!({"memory": 64, "memoryReservation": 65}),
            "Invalid setting for container 'app'. 'memory' must be greater than or equal to 'memoryReservation'.",
        ),
        (json!({"cpu": -1}), &setting("cpu")),
        (json!({"cpu": 0}), ""),
    ] {
        container(patch, expected);
    }
    let cpu = "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.";
    check(&document(json!({"cpu": "256"}), json!({"cpu": 257})), cpu);
    check(&document(json!({"cpu": "256"}), json!({"cpu": 256})), "");
    check(&document(json!({"memory": "512"}), json!({"memory": null})), "");
    let two = |memory: Value| {
        let one = |name| {
            let mut one = json!({"name": name, "image": "a"});
            super::merge(&mut one, memory.clone());
            one
        };
        document(json!({"memory": "512", "containerDefinitions": [one("a"), one("b")]}), json!({}))
    };
    check(&two(json!({"memory": 256})), "");
    check(
        &two(json!({"memory": 300})),
        "The sum of all container 'memory' values cannot be greater than the value of the task 'memory'.",
    );
    check(&two(json!({"memory": 512, "memoryReservation": 256})), "");
    check(
        &two(json!({"memory": 512, "memoryReservation": 300})),
        "The sum of all container 'memoryReservation' values cannot be greater than the value of the task 'memory'.",
    );
    check(&two(json!({"cpu": i32::MAX, "memory": 8})), "");
}

#[test]
fn single_members_of_a_container() {
    for (patch, member) in [
        (json!({"command": ["a\0b"]}), "command"),
        (json!({"entryPoint": ["\0"]}), "entryPoint"),
        (json!({"user": "a b"}), "user"),
        (json!({"user": "a:b:c"}), "user"),
        (json!({"user": "-1"}), "user"),
        (json!({"user": ":1"}), "user"),
        (json!({"user": "1:"}), "user"),
        (json!({"user": "1:2"}), ""),
        (json!({"user": "www-data"}), ""),
        (json!({"user": ""}), ""),
        (json!({"workingDirectory": "/a\0"}), "workingDirectory"),
        (json!({"startTimeout": -1}), "startTimeout"),
        (json!({"stopTimeout": -1}), "stopTimeout"),
        (json!({"stopTimeout": 3600}), ""),
        (json!({"hostname": "a_b c"}), "hostname"),
        (json!({"hostname": "web-1.local"}), ""),
        (json!({"extraHosts": [{"hostname": "db", "ipAddress": "10.0.0.1"}]}), ""),
        (json!({"extraHosts": [{"hostname": "db", "ipAddress": "::1"}]}), ""),
        (json!({"extraHosts": [{"hostname": "db", "ipAddress": "10.0.0"}]}), "extraHosts"),
        (json!({"extraHosts": [{"hostname": "", "ipAddress": "10.0.0.1"}]}), "extraHosts"),
        (json!({"dnsServers": ["8.8.8.8"]}), ""),
        (json!({"dnsServers": ["dns.google"]}), "dnsServers"),
        (json!({"dnsSearchDomains": ["a.b"]}), ""),
        (json!({"dnsSearchDomains": ["a b"]}), "dnsSearchDomains"),
        (json!({"dockerLabels": {"": "x"}}), "dockerLabels"),
        (json!({"dockerSecurityOptions": ["no-new-privileges", "no-new-privileges=true"]}), ""),
        (json!({"dockerSecurityOptions": ["no-new-privileges:maybe"]}), "dockerSecurityOptions"),
        (json!({"dockerSecurityOptions": ["apparmor:docker-default"]}), ""),
        (json!({"dockerSecurityOptions": ["seccomp=unconfined"]}), "dockerSecurityOptions"),
        (json!({"dockerSecurityOptions": ["label:"]}), "dockerSecurityOptions"),
        (json!({"repositoryCredentials": {"credentialsParameter": ""}}), "repositoryCredentials"),
        (json!({"credentialSpecs": ["credentialspec:arn:aws:s3:::b/k"]}), ""),
        (json!({"credentialSpecs": ["credentialspec:file"]}), "credentialSpecs"),
        (json!({"credentialSpecs": ["credentialspec:arn:a", "credentialspec:arn:b"]}), "credentialSpecs"),
        (json!({"restartPolicy": {"enabled": true}}), ""),
        (json!({"restartPolicy": {}}), "restartPolicy"),
        (json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 59}}), "restartPolicy.restartAttemptPeriod"),
        (json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 1800}}), ""),
        (
            json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": vec![0; 51]}}),
            "restartPolicy.ignoredExitCodes",
        ),
    ] {
        container(patch, &if member.is_empty() { String::new() } else { setting(member) });
    }
    for member in ["hostname", "extraHosts", "dnsServers", "dnsSearchDomains"] {
        let value = match member {
            "hostname" => json!("a"),
            "extraHosts" => json!([{"hostname": "db", "ipAddress": "10.0.0.1"}]),
            _ => json!(["10.0.0.1"]),
        };
        check(
            &document(json!({"networkMode": "awsvpc"}), json!({member: value})),
            &format!("{member} is not supported on container when networkMode=awsvpc."),
        );
    }
}

#[test]
fn health_checks() {
    let health = |patch: Value| {
        let mut health = json!({"command": ["CMD-SHELL", "true"]});
        super::merge(&mut health, patch);
        json!({"healthCheck": health})
    };
    for (patch, member) in [
        (json!({}), ""),
        (json!({"command": ["CMD", "/bin/true", "x"]}), ""),
        (json!({"command": []}), "healthCheck.command"),
        (json!({"command": ["CMD"]}), "healthCheck.command"),
        (json!({"command": ["/bin/true"]}), "healthCheck.command"),
        (json!({"interval": 4}), "healthCheck.interval"),
        (json!({"interval": 301}), "healthCheck.interval"),
        (json!({"timeout": 1}), "healthCheck.timeout"),
        (json!({"timeout": 61}), "healthCheck.timeout"),
        (json!({"retries": 0}), "healthCheck.retries"),
        (json!({"retries": 11}), "healthCheck.retries"),
        (json!({"startPeriod": -1}), "healthCheck.startPeriod"),
        (json!({"startPeriod": 301}), "healthCheck.startPeriod"),
        (json!({"interval": 5, "timeout": 2, "retries": 10, "startPeriod": 300}), ""),
    ] {
        container(health(patch), &if member.is_empty() { String::new() } else { setting(member) });
    }
}

#[test]
fn ports() {
    let must_match = |mode: &str| {
        format!("When networkMode={mode}, the host ports and container ports in port mappings must match.")
    };
    for (mode, mappings, expected) in [
        ("bridge", json!([{"containerPort": 80}]), String::new()),
        ("bridge", json!([{"containerPort": 80, "hostPort": 0}]), String::new()),
        ("bridge", json!([{"containerPort": 80, "hostPort": 8080, "protocol": "udp"}]), String::new()),
        ("bridge", json!([{}]), setting("containerPort")),
        ("bridge", json!([{"containerPort": 0}]), setting("containerPort")),
        ("bridge", json!([{"containerPort": 65536}]), setting("containerPort")),
        ("bridge", json!([{"containerPort": 80, "hostPort": 65536}]), setting("hostPort")),
        ("bridge", json!([{"containerPort": 80, "hostPort": -1}]), setting("hostPort")),
        ("awsvpc", json!([{"containerPort": 80, "hostPort": 80}]), String::new()),
        ("awsvpc", json!([{"containerPort": 80, "hostPort": 0}]), must_match("awsvpc")),
        ("awsvpc", json!([{"containerPort": 80, "hostPort": 81}]), must_match("awsvpc")),
        ("host", json!([{"containerPort": 80}]), String::new()),
        ("host", json!([{"containerPort": 80, "hostPort": 81}]), must_match("host")),
        ("none", json!([{"containerPort": 80}]), "Port mappings are not supported when networkMode=none.".into()),
        (
            "bridge",
            json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "udp"}]),
            "Container port 53 of container 'app' cannot be exposed for more than one protocol.".into(),
        ),
        ("bridge", json!([{"containerPortRange": "8000-8010"}]), String::new()),
        ("awsvpc", json!([{"containerPortRange": "8000-8010"}]), String::new()),
        (
            "host",
            json!([{"containerPortRange": "8000-8010"}]),
            "Container port ranges are not supported when networkMode=host.".into(),
        ),
        ("bridge", json!([{"containerPortRange": "8010-8000"}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "8000-8000"}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "0-10"}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "1-65536"}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "80"}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "+1-+5"}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "1-5", "containerPort": 1}]), setting("containerPortRange")),
        ("bridge", json!([{"containerPortRange": "1-5", "hostPort": 1}]), setting("hostPort")),
        (
            "bridge",
            json!([{"containerPortRange": "1-5"}, {"containerPortRange": "5-9"}]),
            "Container port ranges of container 'app' must not overlap with its other ports.".into(),
        ),
        (
            "bridge",
            json!([{"containerPortRange": "1-5"}, {"containerPort": 3}]),
            "Container port ranges of container 'app' must not overlap with its other ports.".into(),
        ),
        ("bridge", json!([{"containerPortRange": "1-5"}, {"containerPort": 3, "protocol": "udp"}]), String::new()),
        ("bridge", json!([{"containerPort": 80, "name": "web"}]), String::new()),
        ("bridge", json!([{"containerPort": 80, "name": "Web"}]), setting("portMappings.name")),
        ("bridge", json!([{"containerPort": 80, "name": "-web"}]), setting("portMappings.name")),
        ("bridge", json!([{"containerPort": 80, "name": "a".repeat(65)}]), setting("portMappings.name")),
        (
            "bridge",
            json!([{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]),
            "Port mapping names must be unique within a task definition: 'a' is used more than once.".into(),
        ),
    ] {
        check(&document(json!({"networkMode": mode}), json!({"portMappings": mappings})), &expected);
    }
    let many: Vec<Value> =
        (0..101).map(|n| json!({"containerPortRange": format!("{}-{}", n * 3 + 1, n * 3 + 2)})).collect();
    container(json!({"portMappings": many}), &setting("containerPortRange"));
}

#[test]
fn environment_and_secrets() {
    let role = json!({"executionRoleArn": "role"});
    let secret = |name: &str| json!({"name": name, "valueFrom": "parameter"});
    for (patch, expected) in [
        (json!({"environment": [{"name": "A", "value": "1"}, {"name": "B"}]}), String::new()),
        (json!({"environment": [{"value": "1"}]}), setting("environment")),
        (json!({"environment": [{"name": "A=B", "value": "1"}]}), setting("environment")),
        (json!({"environment": [{"name": "A", "value": "\0"}]}), setting("environment")),
        (json!({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::bucket/a/b.env"}]}), String::new()),
        (
            json!({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::bucket/a.txt"}]}),
            "Invalid arn syntax.".into(),
        ),
        (json!({"environmentFiles": [{"type": "s3", "value": "s3://bucket/a.env"}]}), "Invalid arn syntax.".into()),
        (json!({"secrets": [secret("A")]}), String::new()),
        (json!({"secrets": [{"name": "A", "valueFrom": ""}]}), setting("secrets")),
        (json!({"secrets": [secret("")]}), setting("secrets")),
        (
            json!({"secrets": [secret("A"), secret("A")]}),
            "Duplicate secret names found: A. Each secret name must be unique.".into(),
        ),
        (
            json!({"secrets": [secret("A")], "environment": [{"name": "A", "value": "1"}]}),
            "The secret name must be unique and not shared with any new or existing environment variables set on the \
             container, such as 'A'."
                .into(),
        ),
    ] {
        check(&document(role.clone(), patch), &expected);
    }
    container(
        json!({"secrets": [secret("A")]}),
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
    );
    let file = json!({"type": "s3", "value": "arn:aws:s3:::bucket/a.env"});
    container(json!({"environmentFiles": vec![file; 11]}), &setting("environmentFiles"));
}

#[test]
fn kernel_settings() {
    let linux = |linux: Value| json!({"linuxParameters": linux});
    for (patch, member) in [
        (linux(json!({"capabilities": {"add": ["NET_ADMIN", "ALL"], "drop": ["ALL"]}})), ""),
        (linux(json!({"capabilities": {"add": ["CAP_NET_ADMIN"]}})), "capabilities.add"),
        (linux(json!({"capabilities": {"drop": ["net_admin"]}})), "capabilities.drop"),
        (linux(json!({"devices": [{"hostPath": "/dev/fuse"}]})), ""),
        (linux(json!({"devices": [{"hostPath": "dev/fuse"}]})), "devices"),
        (linux(json!({"devices": [{"hostPath": "/dev/fuse", "containerPath": "fuse"}]})), "devices"),
        (linux(json!({"tmpfs": [{"containerPath": "/run", "size": 64, "mountOptions": ["noexec", "mode=1777"]}]})), ""),
        (linux(json!({"tmpfs": [{"containerPath": "run", "size": 64}]})), "tmpfs"),
        (linux(json!({"tmpfs": [{"containerPath": "/run", "size": 0}]})), "tmpfs"),
        (linux(json!({"tmpfs": [{"containerPath": "/run", "size": 64, "mountOptions": ["mode=1,suid"]}]})), "tmpfs"),
        (linux(json!({"tmpfs": [{"containerPath": "/run", "size": 64, "mountOptions": ["size=9"]}]})), "tmpfs"),
        (linux(json!({"sharedMemorySize": -1})), "sharedMemorySize"),
        (linux(json!({"maxSwap": -1})), "maxSwap"),
        (linux(json!({"swappiness": 101})), "swappiness"),
        (linux(json!({"swappiness": 60, "maxSwap": 0, "sharedMemorySize": 128, "initProcessEnabled": true})), ""),
        (json!({"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}]}), ""),
        (json!({"ulimits": [{"name": "core", "softLimit": -1, "hardLimit": -1}]}), ""),
        (json!({"ulimits": [{"name": "core", "softLimit": -1, "hardLimit": 1}]}), "ulimits"),
        (json!({"ulimits": [{"name": "nofile", "softLimit": 3, "hardLimit": 2}]}), "ulimits"),
        (json!({"ulimits": [{"name": "nofile", "softLimit": -2, "hardLimit": 2}]}), "ulimits"),
        (json!({"systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}]}), ""),
        (json!({"systemControls": [{"namespace": "fs.mqueue.msg_max", "value": "10"}]}), ""),
        (json!({"systemControls": [{"namespace": "net.core.somaxconn"}]}), "systemControls"),
    ] {
        container(patch, &if member.is_empty() { String::new() } else { setting(member) });
    }
    container(
        json!({"ulimits": vec![json!({"name": "nofile", "softLimit": 1, "hardLimit": 2}); 2]}),
        "Duplicate ulimits found: nofile. Each ulimit name must be unique.",
    );
    let control = |name: &str| json!({"systemControls": [{"namespace": name, "value": "1"}]});
    for name in ["kernel.panic", "vm.swappiness", "net.", "net...", "net./../../kernel.panic", "net.a b", "kernel"] {
        container(control(name), &format!("System control '{name}' is not supported."));
    }
    check(
        &document(json!({"networkMode": "host"}), control("net.core.somaxconn")),
        "System control 'net.core.somaxconn' is not supported when networkMode=host.",
    );
    check(
        &document(json!({"ipcMode": "host"}), control("kernel.shmmax")),
        "System control 'kernel.shmmax' is not supported when ipcMode=host.",
    );
}

#[test]
fn logging() {
    let log = |driver: &str, options: Value| json!({"logConfiguration": {"logDriver": driver, "options": options}});
    let awslogs = |patch: Value| {
        let mut options = json!({"awslogs-group": "g", "awslogs-region": "r"});
        super::merge(&mut options, patch);
        log("awslogs", options)
    };
    let value = |driver: &str, option: &str| format!("Log driver {driver} option '{option}' has an invalid value.");
    for (patch, expected) in [
        (awslogs(json!({})), String::new()),
        (log("awslogs", json!({})), "Log driver awslogs requires options: awslogs-region, awslogs-group".into()),
        (awslogs(json!({"awslogs-region": null})), "Log driver awslogs requires options: awslogs-region".into()),
        (awslogs(json!({"awslogs-colour": "x"})), "Log driver awslogs disallows options: awslogs-colour".into()),
        (awslogs(json!({"awslogs-create-group": "yes"})), value("awslogs", "awslogs-create-group")),
        (awslogs(json!({"mode": "lossy"})), value("awslogs", "mode")),
        (awslogs(json!({"mode": "non-blocking", "max-buffer-size": "25m"})), String::new()),
        (awslogs(json!({"max-buffer-size": "big"})), value("awslogs", "max-buffer-size")),
        (
            awslogs(json!({"awslogs-datetime-format": "%Y", "awslogs-multiline-pattern": "^x"})),
            "Log driver awslogs does not allow both awslogs-datetime-format and awslogs-multiline-pattern.".into(),
        ),
        (log("json-file", json!({"max-size": "10m", "max-file": "3", "compress": "true"})), String::new()),
        (log("json-file", json!({"max-file": "0"})), value("json-file", "max-file")),
        (
            log("json-file", json!({"syslog-address": "x"})),
            "Log driver json-file disallows options: syslog-address".into(),
        ),
        (log("syslog", json!({"syslog-address": "tcp://1.2.3.4:1"})), String::new()),
        (log("splunk", json!({"splunk-url": "u"})), "Log driver splunk requires options: splunk-token".into()),
        (
            log("awsfirelens", json!({})),
            "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be \
             configured in one of the containers."
                .into(),
        ),
        (
            json!({"firelensConfiguration": {"type": "fluentbit"}}),
            "When a firelensConfiguration object is specified, at least one container has to be configured with the \
             awsfirelens log driver."
                .into(),
        ),
        (
            json!({"firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "file"}}}),
            setting("firelensConfiguration"),
        ),
        (
            json!({"firelensConfiguration": {"type": "fluentbit",
                "options": {"config-file-type": "s3", "config-file-value": "s3://b/k"}}}),
            "Invalid arn syntax.".into(),
        ),
        (
            json!({"firelensConfiguration": {"type": "fluentbit",
                "options": {"config-file-type": "s3", "config-file-value": "arn:aws:s3:::b"}}}),
            "Invalid arn syntax.".into(),
        ),
    ] {
        container(patch, &expected);
    }
    let router =
        json!({"firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}}});
    pair(log("awsfirelens", json!({"Name": "stdout"})), router.clone(), "");
    let mut both = router.clone();
    super::merge(&mut both, log("awsfirelens", json!({})));
    pair(both, router, "At most one container can have a firelensConfiguration object.");
    let router = |arn: &str| {
        json!({"firelensConfiguration": {"type": "fluentbit",
            "options": {"config-file-type": "s3", "config-file-value": arn}}})
    };
    pair(log("awsfirelens", json!({})), router("arn:aws:s3:::b/a/k.conf"), "");
}

#[test]
fn secret_log_options() {
    let log = |driver: &str, options: Value, secrets: &[&str]| {
        let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name, "valueFrom": "p"})).collect();
        json!({"logConfiguration": {"logDriver": driver, "options": options, "secretOptions": secrets}})
    };
    let awslogs = json!({"awslogs-region": "r"});
    for (given, expected) in [
        (log("splunk", json!({"splunk-url": "u"}), &["splunk-token"]), String::new()),
        (log("awslogs", awslogs.clone(), &["awslogs-group"]), String::new()),
        (
            log("splunk", json!({"splunk-url": "u"}), &["token"]),
            "Log driver splunk requires options: splunk-token".into(),
        ),
        (log("splunk", json!({"splunk-url": "u"}), &[""]), setting("secretOptions")),
        (
            log("splunk", json!({"splunk-url": "u"}), &["splunk-token", "splunk-token"]),
            "Duplicate secret names found: splunk-token. Each secret name must be unique.".into(),
        ),
        (
            log("splunk", json!({"splunk-url": "u", "splunk-token": "t"}), &["splunk-token"]),
            "The secret option name must be unique and not shared with any log option set on the container, such as \
             'splunk-token'."
                .into(),
        ),
        (
            log("awslogs", awslogs.clone(), &["awslogs-group", "token"]),
            "Log driver awslogs disallows options: token".into(),
        ),
        (
            log(
                "awslogs",
                json!({"awslogs-region": "r", "awslogs-datetime-format": "%Y"}),
                &["awslogs-group", "awslogs-multiline-pattern"],
            ),
            "Log driver awslogs does not allow both awslogs-datetime-format and awslogs-multiline-pattern.".into(),
        ),
    ] {
        check(&document(json!({"executionRoleArn": "role"}), given), &expected);
    }
    check(
        &document(json!({}), log("splunk", json!({"splunk-url": "u"}), &["splunk-token"])),
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
    );
}

#[test]
fn volumes_and_mounts() {
    let volume = |patch: Value| {
        let mut volume = json!({"name": "data"});
        super::merge(&mut volume, patch);
        json!({"volumes": [volume]})
    };
    let bad = |member: &str| format!("Invalid '{member}' setting for volume 'data'.");
    let efs = |patch: Value| {
        let mut efs = json!({"fileSystemId": "fs-12345678"});
        super::merge(&mut efs, patch);
        volume(json!({"efsVolumeConfiguration": efs}))
    };
    for (patch, expected) in [
        (volume(json!({})), String::new()),
        (volume(json!({"host": {}})), String::new()),
        (volume(json!({"host": {"sourcePath": "/data"}})), String::new()),
        (volume(json!({"host": {"sourcePath": ""}})), "host.sourcePath should not be blank.".into()),
        (volume(json!({"name": ""})), "Volume.name should not be null or empty.".into()),
        (volume(json!({"name": "a/b"})), "Volume.name contains invalid characters.".into()),
        (
            volume(json!({"host": {"sourcePath": "/a"}, "dockerVolumeConfiguration": {}})),
            "Volume 'data' must have no more than one kind of configuration.".into(),
        ),
        (volume(json!({"dockerVolumeConfiguration": {"scope": "shared", "autoprovision": true}})), String::new()),
        (volume(json!({"dockerVolumeConfiguration": {"scope": "task", "autoprovision": true}})), bad("autoprovision")),
        (volume(json!({"dockerVolumeConfiguration": {"driver": ""}})), bad("driver")),
        (efs(json!({})), String::new()),
        (efs(json!({"fileSystemId": "12345678"})), bad("fileSystemId")),
        (efs(json!({"transitEncryptionPort": 2999})), bad("transitEncryptionPort")),
        (efs(json!({"transitEncryption": "ENABLED", "transitEncryptionPort": 2999})), String::new()),
        (efs(json!({"authorizationConfig": {"accessPointId": "fsap-1"}})), bad("transitEncryption")),
        (
            efs(json!({"rootDirectory": "/x", "transitEncryption": "ENABLED",
                "authorizationConfig": {"accessPointId": "fsap-1"}})),
            bad("rootDirectory"),
        ),
        (efs(json!({"transitEncryption": "ENABLED", "authorizationConfig": {"iam": "ENABLED"}})), bad("iam")),
        (volume(json!({"s3filesVolumeConfiguration": {"fileSystemArn": "x"}})), bad("fileSystemArn")),
        (volume(json!({"s3filesVolumeConfiguration": {"fileSystemArn": "arn:aws:s3files:x"}})), bad("taskRoleArn")),
        (
            volume(
                json!({"fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "share",
                "authorizationConfig": {"credentialsParameter": "name", "domain": "d"}}}),
            ),
            bad("authorizationConfig"),
        ),
        (
            json!({"volumes": [{"name": "a"}, {"name": "a"}]}),
            "Volume.name must be unique within a task definition: 'a' is used more than once.".into(),
        ),
        (
            json!({"volumes": [{"name": "a", "configuredAtLaunch": true}, {"name": "b", "configuredAtLaunch": true}]}),
            "Only one volume of a task definition can be configured at launch.".into(),
        ),
    ] {
        task(patch, &expected);
    }
    let mount = |source: Value, path: &str| json!({"mountPoints": [{"sourceVolume": source, "containerPath": path}]});
    let data = volume(json!({}));
    check(&document(data.clone(), mount(json!("data"), "/data")), "");
    check(&document(data.clone(), mount(json!("data"), "data")), &setting("containerPath"));
    check(&document(data.clone(), mount(json!("data"), "")), &setting("containerPath"));
    check(&document(data.clone(), mount(json!("other"), "/data")), "Unknown volume 'other'.");
    check(&document(data, mount(Value::Null, "/data")), "Unknown volume 'null'.");
    pair(json!({"volumesFrom": [{"sourceContainer": "side", "readOnly": true}]}), json!({}), "");
    for unknown in ["app", "ghost", ""] {
        container(
            json!({"volumesFrom": [{"sourceContainer": unknown}]}),
            &format!("Unknown container '{unknown}' in volumesFrom of container 'app'."),
        );
    }
}

#[test]
fn dependencies_between_containers() {
    let on = |name: &str, condition: &str| json!({"dependsOn": [{"containerName": name, "condition": condition}]});
    pair(on("side", "START"), json!({}), "");
    pair(on("side", "COMPLETE"), json!({"essential": false}), "");
    let essential = "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container";
    pair(on("side", "COMPLETE"), json!({}), essential);
    pair(on("side", "SUCCESS"), json!({"essential": true}), essential);
    pair(on("ghost", "START"), json!({}), "Cannot depend on container + 'ghost' because it does not exist");
    pair(
        on("side", "HEALTHY"),
        json!({}),
        "Cannot depend on container 'side' with condition HEALTHY because it has no health check",
    );
    pair(on("side", "HEALTHY"), json!({"healthCheck": {"command": ["CMD", "true"]}}), "");
    pair(on("app", "START"), json!({}), "Container dependencies should not have a cycle");
    pair(on("side", "START"), on("app", "START"), "Container dependencies should not have a cycle");
    let from = json!({"volumesFrom": [{"sourceContainer": "app"}]});
    pair(on("side", "START"), from, "Container dependencies should not have a cycle");
    pair(json!({"links": ["side:db"]}), json!({}), "");
    pair(json!({"links": ["side"]}), json!({"links": ["app"]}), "Container links should not have a cycle");
    pair(json!({"links": ["ghost"]}), json!({}), "Invalid link 'ghost' of container 'app'.");
    pair(json!({"links": ["side:"]}), json!({}), "Invalid link 'side:' of container 'app'.");
    check(
        &document(json!({"networkMode": "host"}), json!({"links": ["app"]})),
        "Links are not supported when networkMode=host.",
    );
}

#[test]
fn accelerators_and_proxies() {
    let need = |requirement: Value| json!({"resourceRequirements": [requirement]});
    let shared = json!({"type": "GPU", "sharingStrategy": {"nvidiaMps": {"memory": 1024}}});
    for (requirement, valid) in [
        (json!({"type": "GPU", "value": "1"}), true),
        (json!({"type": "GPU", "value": "ALL"}), true),
        (shared.clone(), true),
        (json!({"type": "GPU", "value": "0"}), false),
        (json!({"type": "GPU", "value": "some"}), false),
        (json!({"type": "GPU"}), false),
        (json!({"type": "GPU", "value": "1", "sharingStrategy": {"nvidiaMps": {"memory": 1}}}), false),
        (json!({"type": "NeuronDevice", "value": "ALL"}), true),
        (json!({"type": "NeuronDevice", "value": "1"}), false),
        (json!({"type": "InferenceAccelerator", "value": "ghost"}), false),
    ] {
        container(need(requirement), &if valid { String::new() } else { setting("resourceRequirements") });
    }
    pair(
        need(json!({"type": "GPU", "value": "1"})),
        need(shared),
        "All containers with a GPU requirement must use the same form of it.",
    );
    let neuron = || need(json!({"type": "NeuronDevice", "value": "ALL"}));
    pair(neuron(), neuron(), "NeuronDevice can be required by one container only.");
    let proxy = |container: &str, properties: Value| {
        json!({"networkMode": "awsvpc",
            "proxyConfiguration": {"type": "APPMESH", "containerName": container, "properties": properties}})
    };
    let pairs = json!([{"name": "AppPorts", "value": "80"}, {"name": "ProxyIngressPort", "value": "1"},
        {"name": "ProxyEgressPort", "value": "2"}, {"name": "IgnoredUID", "value": "3"}]);
    task(proxy("app", pairs.clone()), "");
    task(proxy("ghost", pairs.clone()), "proxyConfiguration names container 'ghost', which does not exist.");
    task(
        proxy("app", json!([])),
        "proxyConfiguration requires properties: AppPorts, ProxyIngressPort, ProxyEgressPort, IgnoredUID or IgnoredGID",
    );
    let named = json!([{"name": "AppPorts", "value": "http"}, {"name": "ProxyIngressPort", "value": "1"},
        {"name": "ProxyEgressPort", "value": "2"}, {"name": "IgnoredUID", "value": "3"}]);
    task(proxy("app", named), "proxyConfiguration has the invalid value 'http' for property AppPorts");
    let mut bridge = proxy("app", pairs);
    bridge["networkMode"] = json!("bridge");
    task(bridge, "proxyConfiguration requires network mode awsvpc.");
}

#[test]
fn fargate_rules() {
    let no = |member: &str| format!("Fargate compatible task definitions do not support {member}");
    let role =
        |purpose: &str| format!("Fargate requires task definition to have execution role ARN to support {purpose}.");
    for (patch, expected) in [
        (json!({}), String::new()),
        (json!({"cpu": "1 vCPU", "memory": "2 GB"}), String::new()),
        (json!({"cpu": null}), "Fargate requires that 'cpu' be defined at the task level.".into()),
        (json!({"memory": null}), "Fargate requires that 'memory' be defined at the task level.".into()),
        (json!({"memory": "513"}), "No Fargate configuration exists for given values.".into()),
        (json!({"cpu": "32768", "memory": "65536"}), "No Fargate configuration exists for given values.".into()),
        (json!({"networkMode": "bridge"}), "Fargate only supports network mode ‘awsvpc’.".into()),
        (json!({"networkMode": null}), "Fargate only supports network mode ‘awsvpc’.".into()),
        (json!({"requiresCompatibilities": ["EC2", "FARGATE"]}), String::new()),
        (json!({"pidMode": "task"}), String::new()),
        (
            json!({"pidMode": "host"}),
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is \
             'task'."
                .into(),
        ),
        (json!({"ipcMode": "none"}), "Tasks using the Fargate launch type do not support ipcMode.".into()),
        (json!({"volumes": [{"name": "a"}]}), String::new()),
        (json!({"volumes": [{"name": "a", "host": {"sourcePath": "/a"}}]}), no("sourcePath")),
        (json!({"volumes": [{"name": "a", "dockerVolumeConfiguration": {}}]}), no("dockerVolumeConfiguration")),
        (
            json!({"placementConstraints": [{"type": "memberOf", "expression": "agentConnected == true"}]}),
            no("placementConstraints"),
        ),
        (
            json!({"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}),
            "No Fargate configuration exists for given values.".into(),
        ),
    ] {
        check(&fargate(patch, json!({})), &expected);
    }
    let ecr = "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1";
    let log = |driver: &str, options: Value| json!({"logConfiguration": {"logDriver": driver, "options": options}});
    let group = json!({"awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p"});
    for (patch, expected) in [
        (json!({"privileged": true}), no("privileged")),
        (json!({"privileged": false}), String::new()),
        (json!({"disableNetworking": true}), no("disableNetworking")),
        (json!({"dockerSecurityOptions": ["no-new-privileges"]}), no("dockerSecurityOptions")),
        (json!({"resourceRequirements": [{"type": "GPU", "value": "1"}]}), no("resourceRequirements")),
        (json!({"linuxParameters": {"devices": [{"hostPath": "/dev/fuse"}]}}), no("devices")),
        (json!({"linuxParameters": {"sharedMemorySize": 64}}), no("sharedMemorySize")),
        (json!({"linuxParameters": {"maxSwap": 0}}), no("maxSwap")),
        (json!({"linuxParameters": {"swappiness": 1}}), no("swappiness")),
        (json!({"linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]}}}), String::new()),
        (json!({"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}), no("adding the capability NET_ADMIN")),
        (json!({"ulimits": [{"name": "core", "softLimit": 0, "hardLimit": 0}]}), no("ulimits other than nofile")),
        (json!({"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 1_048_577}]}), setting("ulimits")),
        (json!({"stopTimeout": 121}), setting("stopTimeout")),
        (json!({"stopTimeout": 1}), setting("stopTimeout")),
        (json!({"startTimeout": 120}), String::new()),
        (json!({"image": ecr}), role("ECR images")),
        (log("json-file", json!({})), no("log driver json-file")),
        (log("awslogs", group.clone()), role("log driver awslogs")),
        (
            log("awslogs", json!({"awslogs-group": "g", "awslogs-region": "r"})),
            "Log driver awslogs requires options: awslogs-stream-prefix".into(),
        ),
    ] {
        check(&fargate(json!({}), patch), &expected);
    }
    let with_role = json!({"executionRoleArn": "arn:aws:iam::000000000000:role/r"});
    check(&fargate(with_role.clone(), json!({"image": ecr})), "");
    check(&fargate(with_role, log("awslogs", group)), "");
}

#[test]
fn a_document_has_at_most_64_kib() {
    let with = |length: usize| document(json!({}), json!({"command": ["x".repeat(length)]}));
    let overhead = serde_json::to_string(&with(0)).unwrap().len();
    check(&with(65_536 - overhead), "");
    check(&with(65_537 - overhead), "Actual length: '65537'. Max allowed length is '65536' bytes.");
}
