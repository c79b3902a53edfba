//! `ListTaskDefinitions`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListTaskDefinitionsRequest, ListTaskDefinitionsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListTaskDefinitionsRequest,
) -> Result<ListTaskDefinitionsResponse, Fault> {
    Err(Fault::not_implemented("ListTaskDefinitions"))
}
