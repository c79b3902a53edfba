//! `ListTasks`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListTasksRequest, ListTasksResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListTasksRequest,
) -> Result<ListTasksResponse, Fault> {
    Err(Fault::not_implemented("ListTasks"))
}
