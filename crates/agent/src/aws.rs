//! A small signed client for the few AWS JSON operations that the agent calls.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_api::{ecr, ecs, logs, task_values::TaskValues};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    answer,
    clock::Clock,
    config::Credentials,
    identity::IdentityError,
    sigv4::{Request, Scope, sign},
};

/// Bound on one call; the control plane answers in milliseconds or not at all.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// The values of a task may come from a bucket, which has half a minute.
const VALUES_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// Of an answer; the longest have the environment files of a task. One that is cut off here is not understood.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Clone)]
pub(crate) struct AwsClient {
    door: Door,
    region: String,
    signer: Arc<dyn Signer>,
    clock: Clock,
}

/// In whose name calls are made.
#[async_trait]
pub(crate) trait Signer: Send + Sync {
    /// Credentials that are good now.
    async fn credentials(&self) -> Result<Credentials, AwsError>;

    /// The control plane does not accept them (any more).
    fn refused(&self);
}

/// The control plane's port: where unsigned requests go, and signed ones.
#[derive(Clone)]
pub(crate) struct Door {
    http: reqwest::Client,
    endpoint: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AwsError {
    #[error("control plane not reachable")]
    Unreachable(#[source] reqwest::Error),
    /// The control plane said no.
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
    #[error("{operation} was answered with something else than its output")]
    Malformed { operation: &'static str },
    #[error("no credentials")]
    NoCredentials(#[source] Box<IdentityError>),
    #[error(transparent)]
    RoleRefused(#[from] RoleRefused),
}

/// The control plane cannot take a role of a task on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ECS was unable to assume the role that was provided for this task")]
pub(crate) struct RoleRefused;

impl AwsError {
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unreachable(_) | Self::Malformed { .. } | Self::NoCredentials(_) | Self::RoleRefused(_) => None,
        }
    }

    /// Whether the control plane does not accept the credentials (any more).
    fn is_about_credentials(&self) -> bool {
        let about = ["UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "ExpiredToken"];
        self.code().is_some_and(|code| about.contains(&code))
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            // Being refused credentials says nothing about the call.
            Self::Unreachable(_) | Self::Malformed { .. } | Self::NoCredentials(_) => true,
            Self::RoleRefused(_) => false,
            Self::Refused { code, .. } => {
                matches!(code.as_str(), "ThrottlingException" | "ServiceUnavailableException" | "ServerException")
                    || code.starts_with("InternalFailure")
            }
        }
    }
}

impl Door {
    pub(crate) fn new(endpoint: &str) -> Result<Self, reqwest::Error> {
        // Whoever embeds the agent may have chosen a provider already; then theirs stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().timeout(CALL_TIMEOUT).no_proxy().build()?;
        Ok(Self { http, endpoint: endpoint.to_owned() })
    }

    /// Says something without a signature.
    pub(crate) async fn post<I: Serialize, O: DeserializeOwned>(
        &self,
        path: &'static str,
        input: &I,
    ) -> Result<O, AwsError> {
        let malformed = || AwsError::Malformed { operation: path };
        let body = serde_json::to_vec(input).map_err(|_| malformed())?;
        let call = self.http.post(format!("{}{path}", self.endpoint)).header("content-type", "application/json");
        read(call.body(body), path).await
    }
}

impl AwsClient {
    pub(crate) fn new(door: Door, region: &str, signer: Arc<dyn Signer>, clock: Clock) -> Self {
        Self { door, region: region.to_owned(), signer, clock }
    }

    /// The same in somebody else's name.
    pub(crate) fn signed_by(&self, signer: Arc<dyn Signer>) -> Self {
        Self { signer, ..self.clone() }
    }

    pub(crate) async fn register_container_instance(
        &self,
        input: &ecs::RegisterContainerInstanceRequest,
    ) -> Result<ecs::RegisterContainerInstanceResponse, AwsError> {
        self.ecs("RegisterContainerInstance", input).await
    }

    pub(crate) async fn create_cluster(&self, name: &str) -> Result<(), AwsError> {
        let input = ecs::CreateClusterRequest { cluster_name: Some(name.to_owned()), ..Default::default() };
        self.ecs::<_, ecs::CreateClusterResponse>("CreateCluster", &input).await.map(drop)
    }

    pub(crate) async fn get_task_protection(
        &self,
        input: &ecs::GetTaskProtectionRequest,
    ) -> Result<ecs::GetTaskProtectionResponse, AwsError> {
        self.ecs("GetTaskProtection", input).await
    }

    pub(crate) async fn update_task_protection(
        &self,
        input: &ecs::UpdateTaskProtectionRequest,
    ) -> Result<ecs::UpdateTaskProtectionResponse, AwsError> {
        self.ecs("UpdateTaskProtection", input).await
    }

    pub(crate) async fn list_tags(&self, resource_arn: &str) -> Result<Vec<ecs::Tag>, AwsError> {
        let input = ecs::ListTagsForResourceRequest { resource_arn: Some(resource_arn.to_owned()) };
        let output: ecs::ListTagsForResourceResponse = self.ecs("ListTagsForResource", &input).await?;
        Ok(output.tags.unwrap_or_default())
    }

    async fn ecs<I: Serialize, O: DeserializeOwned>(&self, name: &'static str, input: &I) -> Result<O, AwsError> {
        let scope = Scope { region: &self.region, service: "ecs" };
        self.call(&scope, "AmazonEC2ContainerServiceV20141113", name, input).await
    }

    /// User, password and end of validity (milliseconds since the epoch) of the registry in `region`.
    pub(crate) async fn ecr_authorization(&self, region: &str) -> Result<(String, String, u64), AwsError> {
        let operation = "GetAuthorizationToken";
        let scope = Scope { region, service: "ecr" };
        let input = ecr::GetAuthorizationTokenRequest::default();
        let output: ecr::GetAuthorizationTokenResponse =
            self.call(&scope, "AmazonEC2ContainerRegistry_V20150921", operation, &input).await?;
        let malformed = || AwsError::Malformed { operation };
        let data = output.authorization_data.and_then(|all| all.into_iter().next()).ok_or_else(malformed)?;
        let token = STANDARD.decode(data.authorization_token.unwrap_or_default()).map_err(|_| malformed())?;
        let token = String::from_utf8(token).map_err(|_| malformed())?;
        let (user, password) = token.split_once(':').ok_or_else(malformed)?;
        let expires_ms = data.expires_at.map_or(0, |at| (at.0 * 1000.0) as u64);
        Ok((user.to_owned(), password.to_owned(), expires_ms))
    }

    pub(crate) async fn create_log_group(&self, region: &str, group: &str) -> Result<(), AwsError> {
        let input = logs::CreateLogGroupRequest { log_group_name: Some(group.to_owned()), ..Default::default() };
        self.logs(region, "CreateLogGroup", &input).await
    }

    pub(crate) async fn create_log_stream(&self, region: &str, group: &str, stream: &str) -> Result<(), AwsError> {
        let input = logs::CreateLogStreamRequest {
            log_group_name: Some(group.to_owned()),
            log_stream_name: Some(stream.to_owned()),
        };
        self.logs(region, "CreateLogStream", &input).await
    }

    pub(crate) async fn put_log_events(&self, region: &str, input: &logs::PutLogEventsRequest) -> Result<(), AwsError> {
        self.logs(region, "PutLogEvents", input).await
    }

    async fn logs<I: Serialize>(&self, region: &str, name: &'static str, input: &I) -> Result<(), AwsError> {
        let _: serde_json::Value = self.call(&Scope { region, service: "logs" }, "Logs_20140328", name, input).await?;
        Ok(())
    }

    async fn call<I: Serialize, O: DeserializeOwned>(
        &self,
        scope: &Scope<'_>,
        target: &str,
        operation: &'static str,
        input: &I,
    ) -> Result<O, AwsError> {
        let malformed = || AwsError::Malformed { operation };
        let body = serde_json::to_vec(input).map_err(|_| malformed())?;
        let headers = vec![
            ("host", host_of(&self.door.endpoint).to_owned()),
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("{target}.{operation}")),
        ];
        let request = Request { method: "POST", path: "/", query: &[], headers: headers.clone(), body: &body };
        let credentials = self.signer.credentials().await?;
        let added = sign(request, scope, &credentials, self.clock.now_ms());
        let mut call = self.door.http.post(format!("{}/", self.door.endpoint));
        for (name, value) in headers.into_iter().skip(1).chain(added) {
            call = call.header(name, value);
        }
        let answer = read(call.body(body), operation).await;
        if answer.as_ref().is_err_and(AwsError::is_about_credentials) {
            self.signer.refused();
        }
        answer
    }

    /// The values at `path` that a task of this host refers to.
    pub(crate) async fn task_values(&self, path: &str, cluster: &str, task: &str) -> Result<TaskValues, AwsError> {
        let path = format!("{path}/{cluster}/{task}");
        let headers = vec![("host", host_of(&self.door.endpoint).to_owned())];
        let request = Request { method: "GET", path: &path, query: &[], headers, body: b"" };
        let credentials = self.signer.credentials().await?;
        let added = sign(request, &Scope { region: &self.region, service: "ecs" }, &credentials, self.clock.now_ms());
        let mut call = self.door.http.get(format!("{}{path}", self.door.endpoint)).timeout(VALUES_TIMEOUT);
        for (name, value) in added {
            call = call.header(name, value);
        }
        let answer = read(call, "TaskValues").await;
        if answer.as_ref().is_err_and(AwsError::is_about_credentials) {
            self.signer.refused();
        }
        answer
    }

    /// URL and headers of the signed request that opens the connection at `path`.
    pub(crate) async fn sign_upgrade(&self, path: &str) -> Result<(String, Vec<(&'static str, String)>), AwsError> {
        let headers = vec![("host", host_of(&self.door.endpoint).to_owned())];
        let request = Request { method: "GET", path, query: &[], headers, body: b"" };
        let scope = Scope { region: &self.region, service: "ecs" };
        let credentials = self.signer.credentials().await?;
        let added = sign(request, &scope, &credentials, self.clock.now_ms());
        Ok((format!("{}{path}", self.door.endpoint.replacen("http", "ws", 1)), added))
    }

    /// The connection was refused: perhaps because of the credentials.
    pub(crate) fn upgrade_refused(&self) {
        self.signer.refused();
    }
}

/// Sends a call and reads its answer.
async fn read<O: DeserializeOwned>(call: reqwest::RequestBuilder, operation: &'static str) -> Result<O, AwsError> {
    let malformed = || AwsError::Malformed { operation };
    let answer = call.send().await.map_err(AwsError::Unreachable)?;
    let status = answer.status();
    let bytes = answer::body(answer, ANSWER_BYTES_MAX).await.map_err(AwsError::Unreachable)?;
    if status.is_success() {
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        return serde_json::from_slice(bytes).map_err(|_| malformed());
    }
    let refusal: Refusal = serde_json::from_slice(&bytes).unwrap_or_default();
    let code = refusal.code.rsplit('#').next().unwrap_or_default().to_owned();
    let code = if code.is_empty() && status.is_server_error() { "InternalFailure".to_owned() } else { code };
    Err(AwsError::Refused { code, message: refusal.message })
}

/// Body of an awsJson error.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    code: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// `host[:port]` of a base URL.
fn host_of(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
