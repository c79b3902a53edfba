//! Sessions: the control plane keeps them, because a session runs a command in a container of a task.

use async_trait::async_trait;
use gantry_api::ssm::{
    DescribeSessionsRequest, DescribeSessionsResponse, GetConnectionStatusRequest, GetConnectionStatusResponse,
    ResumeSessionRequest, ResumeSessionResponse, StartSessionRequest, StartSessionResponse, TerminateSessionRequest,
    TerminateSessionResponse, fault,
};
use gantry_api::{Caller, Fault};

use super::Ssm;

/// Keeps sessions.
#[async_trait]
#[expect(missing_docs, reason = "the methods are the operations of the same names")]
pub trait Sessions: Send + Sync {
    async fn start(&self, caller: &Caller, input: StartSessionRequest) -> Result<StartSessionResponse, Fault>;
    async fn resume(&self, caller: &Caller, input: ResumeSessionRequest) -> Result<ResumeSessionResponse, Fault>;
    async fn terminate(
        &self,
        caller: &Caller,
        input: TerminateSessionRequest,
    ) -> Result<TerminateSessionResponse, Fault>;
    async fn describe(
        &self,
        caller: &Caller,
        input: DescribeSessionsRequest,
    ) -> Result<DescribeSessionsResponse, Fault>;
    async fn connection_status(
        &self,
        caller: &Caller,
        input: GetConnectionStatusRequest,
    ) -> Result<GetConnectionStatusResponse, Fault>;
}

fn kept(ssm: &Ssm) -> Result<&dyn Sessions, Fault> {
    ssm.sessions.as_deref().ok_or_else(|| fault::target_not_connected("This server keeps no sessions."))
}

pub(super) async fn start_session(
    ssm: &Ssm,
    caller: &Caller,
    input: StartSessionRequest,
) -> Result<StartSessionResponse, Fault> {
    kept(ssm)?.start(caller, input).await
}

pub(super) async fn resume_session(
    ssm: &Ssm,
    caller: &Caller,
    input: ResumeSessionRequest,
) -> Result<ResumeSessionResponse, Fault> {
    kept(ssm)?.resume(caller, input).await
}

pub(super) async fn terminate_session(
    ssm: &Ssm,
    caller: &Caller,
    input: TerminateSessionRequest,
) -> Result<TerminateSessionResponse, Fault> {
    kept(ssm)?.terminate(caller, input).await
}

pub(super) async fn describe_sessions(
    ssm: &Ssm,
    caller: &Caller,
    input: DescribeSessionsRequest,
) -> Result<DescribeSessionsResponse, Fault> {
    kept(ssm)?.describe(caller, input).await
}

pub(super) async fn get_connection_status(
    ssm: &Ssm,
    caller: &Caller,
    input: GetConnectionStatusRequest,
) -> Result<GetConnectionStatusResponse, Fault> {
    kept(ssm)?.connection_status(caller, input).await
}
