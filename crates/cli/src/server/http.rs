//! Which part of the server a request is for.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{body::Body, response::IntoResponse};
use bytes::Bytes;
use gantry_api::machine::{JOIN_PATH, SESSION_PATH};
use gantry_api::{Caller, Fault, Origin};
use gantry_companions::machines::Machines;
use gantry_protocol::endpoint::Endpoint;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceExt;

use super::own::{self, Own};

/// Largest body of a machine that joins or asks for credentials: nobody has proved anything yet.
const MACHINE_BYTES_MAX: usize = 16 * 1024;
/// Longest time for a body to arrive: a connection that waits for one takes the place of others.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Everything behind the port.
pub(crate) struct Site {
    /// The AWS APIs.
    pub(crate) endpoint: Endpoint,
    /// `/v2/` and what belongs to it.
    pub(crate) registry: axum::Router,
    /// `/gantry/`.
    pub(crate) own: Own,
    /// Machines that join, and their sessions.
    pub(crate) machines: Machines,
    /// `/agent/`; gets the authenticated `Caller` as an extension.
    pub(crate) agents: axum::Router,
    /// `/v1/data-channel/`: sessions of ECS Exec, whose clients show a token.
    pub(crate) data_channels: axum::Router,
    /// `/metrics`.
    pub(crate) metrics: PrometheusHandle,
}

impl Site {
    /// Answers one request.
    pub(crate) async fn handle(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        origin: Origin,
    ) -> Result<Response<Body>, Infallible> {
        request.extensions_mut().insert(origin);
        let path = request.uri().path();
        Ok(match path {
            "/healthz" => text(StatusCode::OK, "application/json", health()),
            "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4", self.metrics.render()),
            _ if path == "/v2" || path.starts_with("/v2/") || path.starts_with("/_registry/") => {
                forward(&self.registry, request).await
            }
            _ if path.starts_with("/gantry/") => self.own(request).await,
            JOIN_PATH | SESSION_PATH => self.machine(request).await,
            _ if path.starts_with("/agent/") => self.agent(request).await,
            _ if path.starts_with("/v1/data-channel/") => forward(&self.data_channels, request).await,
            "/" if request.method() == Method::GET && request.uri().query().is_none() => {
                text(StatusCode::OK, "text/plain; charset=utf-8", GREETING.to_string())
            }
            _ => self.endpoint.handle(request).await.map(Body::new),
        })
    }

    /// One of Gantry's own calls.
    async fn own(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let request_id = uuid::Uuid::new_v4().to_string();
        let answer = match read(body, own::BODY_BYTES_MAX).await {
            Ok(body) => self.own.call(&self.endpoint, &parts, &body, &request_id).await,
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(body) => text(StatusCode::OK, "application/json", body),
            Err(fault) => refusal(&fault),
        }
    }

    /// A machine that joins, or wants credentials. It proves who it is in the body.
    async fn machine(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let address = parts.extensions.get::<Origin>().and_then(|origin| origin.source_ip);
        let answer = if parts.method != Method::POST {
            Err(Fault::new("MethodNotAllowed", 405, "Machines POST."))
        } else {
            match read(body, MACHINE_BYTES_MAX).await {
                Ok(body) => self.machine_call(parts.uri.path(), &body, address).await,
                Err(fault) => Err(fault),
            }
        };
        match answer {
            Ok(body) => text(StatusCode::OK, "application/json", body),
            Err(fault) => {
                tracing::info!(code = %fault.code, ?address, "a machine was refused");
                refusal(&fault)
            }
        }
    }

    async fn machine_call(&self, path: &str, body: &[u8], address: Option<IpAddr>) -> Result<String, Fault> {
        let malformed = |error: serde_json::Error| Fault::new("SerializationException", 400, error.to_string());
        let encoded = if path == JOIN_PATH {
            let address = address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
            let request = serde_json::from_slice(body).map_err(malformed)?;
            serde_json::to_string(&self.machines.join(request, address).await?)
        } else {
            serde_json::to_string(&self.machines.begin_session(&serde_json::from_slice(body).map_err(malformed)?)?)
        };
        encoded.map_err(malformed)
    }

    /// An agent's connection: signed and authorized like a call of `ecs:Poll`, then handed on with its caller.
    async fn agent(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let request_id = uuid::Uuid::new_v4().to_string();
        let instances = |caller: &Caller| caller.arn("ecs", "container-instance/*");
        match self.endpoint.admit(&parts, b"", &gantry_api::ecs::SERVICE, &request_id, "ecs:Poll", instances) {
            Ok(caller) => {
                parts.extensions.insert(caller);
                forward(&self.agents, Request::from_parts(parts, body)).await
            }
            Err(fault) => refusal(&fault),
        }
    }
}

/// A whole body of at most `bytes_max`, if it comes in time.
async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Fault> {
    match tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Fault::new("RequestEntityTooLarge", 413, error.to_string())),
        Err(_) => Err(Fault::new("RequestTimeout", 408, "The body of the request took too long.")),
    }
}

fn refusal(fault: &Fault) -> Response<Body> {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = gantry_protocol::json::fault_body(fault);
    text(status, "application/json", body)
}

const GREETING: &str = "This is Gantry. Point the AWS CLI here: eval \"$(gantry env)\" && aws ecs list-clusters\n";

fn health() -> String {
    format!("{{\"status\":\"ok\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"))
}

async fn forward(router: &axum::Router, request: Request<Incoming>) -> Response<Body> {
    match router.clone().oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into());
    (status, [(CONTENT_TYPE, content_type)], Body::new(body)).into_response()
}
