//! Systems Manager, as far as ECS leans on it. An operation is a function of its family's module.
//!
//! - [`activations`]: activations, with which machines join as managed instances (ECS Anywhere).
//! - [`instances`]: the managed instances.
//! - [`parameters`]: Parameter Store.
//! - [`sessions`]: sessions of ECS Exec.
//! - [`tags`]: of managed instances and parameters.

mod activations;
mod fault;
mod instances;
mod parameters;
mod sessions;
mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::ssm::{
    self, AddTagsToResourceRequest, AddTagsToResourceResult, CreateActivationRequest, CreateActivationResult,
    DeleteActivationRequest, DeleteActivationResult, DeleteParameterRequest, DeleteParameterResult,
    DeleteParametersRequest, DeleteParametersResult, DeregisterManagedInstanceRequest, DeregisterManagedInstanceResult,
    DescribeActivationsRequest, DescribeActivationsResult, DescribeInstanceInformationRequest,
    DescribeInstanceInformationResult, DescribeParametersRequest, DescribeParametersResult, GetParameterHistoryRequest,
    GetParameterHistoryResult, GetParameterRequest, GetParameterResult, GetParametersByPathRequest,
    GetParametersByPathResult, GetParametersRequest, GetParametersResult, LabelParameterVersionRequest,
    LabelParameterVersionResult, ListTagsForResourceRequest, ListTagsForResourceResult, PutParameterRequest,
    PutParameterResult, RemoveTagsFromResourceRequest, RemoveTagsFromResourceResult, UnlabelParameterVersionRequest,
    UnlabelParameterVersionResult, UpdateManagedInstanceRoleRequest, UpdateManagedInstanceRoleResult,
};
use gantry_api::ssm::{
    DescribeSessionsRequest, DescribeSessionsResponse, GetConnectionStatusRequest, GetConnectionStatusResponse,
    ResumeSessionRequest, ResumeSessionResponse, StartSessionRequest, StartSessionResponse, TerminateSessionRequest,
    TerminateSessionResponse,
};
use gantry_api::{Caller, Fault};

use crate::machines::Machines;
use parameters::{delete, describe, history, labels, put, read};

pub use parameters::Parameters;

pub use sessions::Sessions;

/// Whether a machine's agent is connected, and since when it is or is not (milliseconds since the epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// It is.
    pub connected: bool,
    /// When that last changed.
    pub since_ms: u64,
}

/// Knows which machines are there.
pub trait Presences: Send + Sync {
    /// By machine id, those of an account and region whose agents were ever connected.
    fn presences(&self, account: &str, region: &str) -> BTreeMap<String, Presence>;
}

/// The service. Clones share it.
#[derive(Clone)]
pub struct Ssm {
    machines: Machines,
    presences: Arc<dyn Presences>,
    sessions: Option<Arc<dyn Sessions>>,
    parameters: Parameters,
}

impl Ssm {
    /// The service over the machines that joined and the parameters.
    pub fn new(machines: Machines, presences: Arc<dyn Presences>, parameters: Parameters) -> Self {
        Self { machines, presences, sessions: None, parameters }
    }

    /// The same with somebody who keeps sessions.
    #[must_use]
    pub fn with_sessions(mut self, sessions: Arc<dyn Sessions>) -> Self {
        self.sessions = Some(sessions);
        self
    }
}

/// Carries out each operation with the function of the same name in its family's module.
macro_rules! operations {
    ($($family:ident::$name:ident($input:ident) -> $output:ident),* $(,)?) => {
        impl ssm::Ssm for Ssm {
            $(async fn $name(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                $family::$name(self, caller, input).await
            })*
        }
    };
}

operations!(
    activations::create_activation(CreateActivationRequest) -> CreateActivationResult,
    activations::delete_activation(DeleteActivationRequest) -> DeleteActivationResult,
    activations::describe_activations(DescribeActivationsRequest) -> DescribeActivationsResult,
    delete::delete_parameter(DeleteParameterRequest) -> DeleteParameterResult,
    delete::delete_parameters(DeleteParametersRequest) -> DeleteParametersResult,
    describe::describe_parameters(DescribeParametersRequest) -> DescribeParametersResult,
    history::get_parameter_history(GetParameterHistoryRequest) -> GetParameterHistoryResult,
    instances::deregister_managed_instance(DeregisterManagedInstanceRequest) -> DeregisterManagedInstanceResult,
    instances::describe_instance_information(DescribeInstanceInformationRequest) -> DescribeInstanceInformationResult,
    instances::update_managed_instance_role(UpdateManagedInstanceRoleRequest) -> UpdateManagedInstanceRoleResult,
    sessions::describe_sessions(DescribeSessionsRequest) -> DescribeSessionsResponse,
    sessions::get_connection_status(GetConnectionStatusRequest) -> GetConnectionStatusResponse,
    sessions::resume_session(ResumeSessionRequest) -> ResumeSessionResponse,
    sessions::start_session(StartSessionRequest) -> StartSessionResponse,
    sessions::terminate_session(TerminateSessionRequest) -> TerminateSessionResponse,
    labels::label_parameter_version(LabelParameterVersionRequest) -> LabelParameterVersionResult,
    labels::unlabel_parameter_version(UnlabelParameterVersionRequest) -> UnlabelParameterVersionResult,
    put::put_parameter(PutParameterRequest) -> PutParameterResult,
    read::get_parameter(GetParameterRequest) -> GetParameterResult,
    read::get_parameters(GetParametersRequest) -> GetParametersResult,
    read::get_parameters_by_path(GetParametersByPathRequest) -> GetParametersByPathResult,
    tags::add_tags_to_resource(AddTagsToResourceRequest) -> AddTagsToResourceResult,
    tags::list_tags_for_resource(ListTagsForResourceRequest) -> ListTagsForResourceResult,
    tags::remove_tags_from_resource(RemoveTagsFromResourceRequest) -> RemoveTagsFromResourceResult,
);
