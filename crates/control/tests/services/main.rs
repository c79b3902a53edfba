//! Services through the door that the server uses: JSON in, JSON out, model constraints checked. How they come to their
//! desired count is in the simulated world of `testkit`.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

mod daemons;
mod deployments;
mod operations;
mod placement;
#[path = "../resources/support.rs"]
mod support;

use gantry_control::reconcile::{Reconciler, Services, Wake};
use serde_json::{Value, json};
use support::Server;

/// A cluster `default` with the task definition `web:1`.
async fn server() -> Server {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    server.register("web").await;
    server
}

async fn create(server: &Server, name: &str, desired: i32) -> Value {
    let input = json!({"serviceName": name, "taskDefinition": "web", "desiredCount": desired});
    server.ok("CreateService", input).await["service"].clone()
}

async fn describe(server: &Server, name: &str) -> Value {
    server.ok("DescribeServices", json!({"services": [name], "include": ["TAGS"]})).await["services"][0].clone()
}

/// Reconciles every service until there is nothing to do at once.
async fn settle(server: &Server) {
    let reconciler = Services::new(server.control.clone());
    for key in reconciler.keys() {
        while reconciler.reconcile(&key).await.unwrap() == Wake::Again {}
    }
}
