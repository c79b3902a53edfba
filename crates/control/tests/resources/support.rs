//! A control plane on an in-memory store, and rows put there directly where no operation of this suite makes them.

use std::sync::Arc;

use gantry_api::{Caller, Fault, ecs};
use gantry_control::{Control, EcsService, Settings, SharedClock, SystemClock, keys};
use gantry_domain::arn::{ContainerInstanceId, Scope, TaskId};
use gantry_protocol::json::Json;
use gantry_store::{Memory, Txn};
use serde_json::{Value, json};

pub struct Server {
    pub control: Control,
    service: EcsService,
    caller: Caller,
}

impl Server {
    pub async fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock)).await
    }

    pub async fn with_clock(clock: SharedClock) -> Self {
        let control = Control::open(Memory::store(), clock, Settings::default()).await.unwrap();
        let caller = Caller::root("000000000000", "us-east-1");
        Self { service: EcsService::new(control.clone()), control, caller }
    }

    pub fn in_region(&self, region: &str) -> Self {
        let caller = Caller { region: region.into(), ..self.caller.clone() };
        Self { service: self.service.clone(), control: self.control.clone(), caller }
    }

    pub fn as_principal(&self, arn: &str) -> Self {
        let caller = Caller { principal_arn: arn.into(), ..self.caller.clone() };
        Self { service: self.service.clone(), control: self.control.clone(), caller }
    }

    pub async fn call_bytes(&self, operation: &str, body: &[u8]) -> Result<Value, Fault> {
        let answer = ecs::dispatch(&self.service, &self.caller, operation, &Json(body)).await.expect("an operation");
        answer.map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        self.call_bytes(operation, input.to_string().as_bytes()).await
    }

    pub async fn ok(&self, operation: &str, input: Value) -> Value {
        match self.call(operation, input.clone()).await {
            Ok(answer) => answer,
            Err(fault) => panic!("{operation} {input}: {fault}"),
        }
    }

    /// The call is refused with this code and sentence.
    pub async fn refused(&self, operation: &str, input: Value, code: &str, message: &str) {
        match self.call(operation, input.clone()).await {
            Ok(answer) => panic!("{operation} {input} was answered with {answer}"),
            Err(fault) => {
                assert_eq!((fault.code, fault.message.as_str()), (code, message), "{operation} {input}");
                assert_eq!(fault.status, 400);
            }
        }
    }

    /// Every page of a list.
    pub async fn pages(&self, operation: &str, mut input: Value, member: &str) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        loop {
            let answer = self.ok(operation, input.clone()).await;
            pages.push(answer[member].as_array().unwrap().clone());
            assert!(pages.len() < 1000, "{operation} does not come to an end");
            match &answer["nextToken"] {
                Value::Null => return pages,
                token => input["nextToken"] = token.clone(),
            }
        }
    }

    async fn put(&self, path: String, row: Value) {
        self.control.commit(Txn::new().put(path, row.to_string())).await.unwrap();
    }

    /// A container instance of cluster `default`, by a number.
    pub async fn instance(&self, number: u8, status: &str) -> String {
        let id = ContainerInstanceId::from_bytes([number; 16]);
        let row = json!({"status": status, "agent_connected": true, "connectivity_at": 0, "registered_at": 0,
            "resources": {"cpu": 1024, "memory": 1024}, "attributes": {"ecs.os-type": "linux", "ecs.capability.x": null},
            "version": 1});
        self.put(keys::instance(&scope(), "default", id), row).await;
        scope().container_instance_arn("default", id)
    }

    /// A task of cluster `default` that runs `family:revision`.
    pub async fn task(&self, number: u8, definition: &str, status: &str) -> String {
        let id = TaskId::from_bytes([number; 16]);
        let desired = if status == "STOPPED" { "STOPPED" } else { "RUNNING" };
        let row = json!({"task_definition": definition, "life": {"last": status, "desired": desired, "version": 1,
            "created": 0}, "group": "family:web", "launch_type": "FARGATE", "reserved": {"cpu": 0, "memory": 0},
            "containers": [], "health": "UNKNOWN", "capacity_provider": "FARGATE_SPOT"});
        self.put(keys::task(&scope(), "default", id), row).await;
        scope().task_arn("default", id)
    }

    pub async fn forget_task(&self, number: u8) {
        let path = keys::task(&scope(), "default", TaskId::from_bytes([number; 16]));
        self.control.commit(Txn::new().delete(path)).await.unwrap();
    }

    /// A service of cluster `default`.
    pub async fn service(&self, name: &str, status: &str) -> String {
        let row = json!({"status": status, "launch_type": "EC2", "created_at": 0, "created_by": "x", "request": "x",
            "desired_count": 1, "deployment_configuration": {}, "health_check_grace_period_seconds": 0,
            "propagate_tags": "NONE", "enable_ecs_managed_tags": false, "availability_zone_rebalancing": "DISABLED",
            "deployments": []});
        let key = keys::ServiceKey::service(scope(), "default".parse().unwrap(), name.parse().unwrap());
        self.put(key.path(), row).await;
        key.arn()
    }

    /// Registers a minimal task definition.
    pub async fn register(&self, family: &str) -> Value {
        let input = json!({"family": family, "containerDefinitions": [{"name": "app", "image": "a", "memory": 6}]});
        self.ok("RegisterTaskDefinition", input).await["taskDefinition"].clone()
    }
}

pub fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

pub const INVALID: &str = "InvalidParameterException";
pub const CLIENT: &str = "ClientException";
