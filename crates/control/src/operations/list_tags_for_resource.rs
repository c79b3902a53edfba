//! `ListTagsForResource`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListTagsForResourceRequest, ListTagsForResourceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    Err(Fault::not_implemented("ListTagsForResource"))
}
