//! Systems Manager's operations on the sessions of ECS Exec.

use async_trait::async_trait;
use gantry_api::{
    Caller, Fault,
    ssm::{
        DescribeSessionsRequest, DescribeSessionsResponse, GetConnectionStatusRequest, GetConnectionStatusResponse,
        ResumeSessionRequest, ResumeSessionResponse, StartSessionRequest, StartSessionResponse,
        TerminateSessionRequest, TerminateSessionResponse,
    },
};
use gantry_companions::ssm::Sessions;
use gantry_control::{Control, exec::sessions};

/// Sessions, as the control plane keeps them.
pub(crate) struct SessionsOfTasks(pub(crate) Control);

#[async_trait]
impl Sessions for SessionsOfTasks {
    async fn start(&self, caller: &Caller, input: StartSessionRequest) -> Result<StartSessionResponse, Fault> {
        sessions::start(&self.0, caller, input).await
    }

    async fn resume(&self, caller: &Caller, input: ResumeSessionRequest) -> Result<ResumeSessionResponse, Fault> {
        sessions::resume(&self.0, caller, input).await
    }

    async fn terminate(
        &self,
        caller: &Caller,
        input: TerminateSessionRequest,
    ) -> Result<TerminateSessionResponse, Fault> {
        sessions::terminate(&self.0, caller, input).await
    }

    async fn describe(
        &self,
        caller: &Caller,
        input: DescribeSessionsRequest,
    ) -> Result<DescribeSessionsResponse, Fault> {
        sessions::describe(&self.0, caller, &input)
    }

    async fn connection_status(
        &self,
        caller: &Caller,
        input: GetConnectionStatusRequest,
    ) -> Result<GetConnectionStatusResponse, Fault> {
        Ok(sessions::connection_status(&self.0, caller, input))
    }
}
