use gantry_control::keys::ServiceKey;
use gantry_store::Txn;
use serde_json::json;

use crate::{server, support::scope};

#[tokio::test]
async fn a_revision_that_a_rollback_brings_back_is_shown_once() {
    let server = server().await;
    let deployment = |number: u64, revision: u64| {
        json!({"id": format!("ecs-svc/{number}"), "revision": revision, "service_deployment": "d", "created_at": 0,
            "updated_at": 0, "rollout": "IN_PROGRESS", "rollout_reason": "",
            "failures": {"failed_tasks": 0, "start_failures": 0, "early_exits": 0, "last_at": null}})
    };
    let row = json!({"status": "ACTIVE", "launch_type": "EC2", "created_at": 0, "created_by": "x", "request": "x",
        "scheduling": "DAEMON", "desired_count": 0, "deployment_configuration": {},
        "health_check_grace_period_seconds": 0, "propagate_tags": "NONE", "enable_ecs_managed_tags": false,
        "availability_zone_rebalancing": "DISABLED", "daemon": {"drain_percent": 25.0, "updated_at": 0},
        "deployments": [deployment(3, 1), deployment(2, 2), deployment(1, 1)]});
    let key = ServiceKey::daemon(scope(), "default".parse().unwrap(), "agent".parse().unwrap());
    server.control.commit(Txn::new().put(key.path(), row.to_string())).await.unwrap();
    let answer = server.ok("DescribeDaemon", json!({"daemonArn": key.arn()})).await;
    let revisions = answer["daemon"]["currentRevisions"].as_array().unwrap();
    let numbers: Vec<&str> =
        revisions.iter().map(|one| one["arn"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(numbers, [format!("{:019}", 1), format!("{:019}", 2)]);
}
