//! Which part of the server a request is for.

use std::{convert::Infallible, sync::Arc};

use axum::{body::Body, response::IntoResponse};
use bytes::Bytes;
use gantry_api::Fault;
use gantry_api::{Caller, Origin};
use gantry_protocol::endpoint::Endpoint;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceExt;

use super::own::{self, Own};

/// Everything behind the port.
pub(crate) struct Site {
    /// The AWS APIs.
    pub(crate) endpoint: Endpoint,
    /// `/v2/` and what belongs to it.
    pub(crate) registry: axum::Router,
    /// `/gantry/`.
    pub(crate) own: Own,
    /// `/agent/`; gets the authenticated `Caller` as an extension.
    pub(crate) agents: axum::Router,
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
            _ if path.starts_with("/agent/") => self.agent(request).await,
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
        let answer = match Limited::new(body, own::BODY_BYTES_MAX).collect().await {
            Ok(body) => self.own.call(&self.endpoint, &parts, &body.to_bytes(), &request_id).await,
            Err(error) => Err(Fault::new("RequestEntityTooLarge", 413, error.to_string())),
        };
        match answer {
            Ok(body) => text(StatusCode::OK, "application/json", String::from_utf8_lossy(&body).into_owned()),
            Err(fault) => refusal(&fault),
        }
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

fn refusal(fault: &Fault) -> Response<Body> {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = gantry_protocol::json::fault_body(fault);
    text(status, "application/json", String::from_utf8_lossy(&body).into_owned())
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

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body));
    (status, [(CONTENT_TYPE, content_type)], Body::new(body)).into_response()
}
