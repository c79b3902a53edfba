//! The tasks that EventBridge runs: RunTask from inside, allowed what the role of the target is allowed.

use async_trait::async_trait;
use gantry_api::{Caller, Fault};
use gantry_companions::events::deliver::RunTasks;
use gantry_protocol::inside::Inside;
use serde_json::Value;

/// ECS, as it is called from inside.
pub(crate) struct TasksFromInside(pub(crate) Inside);

#[async_trait]
impl RunTasks for TasksFromInside {
    async fn run_task(&self, caller: &Caller, input: Value) -> Result<Value, Fault> {
        let output = self.0.call(caller, "RunTask", input.to_string().as_bytes()).await?;
        serde_json::from_slice(&output).map_err(|error| {
            Fault::new("InternalFailure", 500, "The answer of RunTask cannot be read.").caused_by(error)
        })
    }
}
