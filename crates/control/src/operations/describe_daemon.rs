//! `DescribeDaemon`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeDaemonRequest, DescribeDaemonResponse},
};

use crate::{
    Control, control,
    daemons::{find, wire},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeDaemonRequest,
) -> Result<DescribeDaemonResponse, Fault> {
    let key = find::key(&control::scope(caller), input.daemon_arn.as_deref())?;
    let view = control.read();
    let row = find::present(&view, &key)?;
    Ok(DescribeDaemonResponse { daemon: Some(wire::detail(&view, &key, row)) })
}
