//! The OCI distribution API, `/v2/`: what docker, podman, skopeo, containerd and crane speak.
//!
//! The life of a request: the path becomes a [`path::Route`]; the credentials become a principal; the principal is
//! allowed the action or not; only then is anything looked up. Responses carry the digest, length and errors the
//! specification asks for. Nothing is redirected, and `Location` is always relative, so proxies cannot confuse it.

mod access;
mod answer;
mod blobs;
mod lists;
mod manifests;
mod path;
mod prepared;
mod query;
mod range;
mod referrers;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use gantry_api::Caller;
use gantry_domain::arn::Scope;
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::access::Target;
use crate::changes::Actor;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::name::RepositoryName;
use crate::registry::Registry;

pub use access::download_link;

use access::Action;
use path::{Resource, Route};
use query::Query;

/// The routes of `/v2/`.
pub fn router(registry: Arc<Registry>) -> Router {
    let serve = any(serve);
    Router::new()
        .route("/v2", serve.clone())
        .route("/v2/", serve.clone())
        .route("/v2/{*rest}", serve)
        .with_state(registry)
}

/// One request, as the handlers see it.
struct Call {
    registry: Arc<Registry>,
    caller: Caller,
    /// The registry the request is about.
    scope: Scope,
    head: Parts,
    query: Query,
}

impl Call {
    /// The keys of the repository, once the principal may do `action` there.
    async fn allow(&self, name: &RepositoryName, action: Action) -> Result<RepositoryKeys, RegistryError> {
        let keys = RepositoryKeys::new(&self.scope, name);
        self.registry.check_rate(&self.caller, action.name())?;
        self.registry.authorize(&self.caller, action.name().into(), Target::Repository(&keys)).await?;
        Ok(keys)
    }

    /// The same when either of two permissions will do; a refusal speaks of the first.
    async fn allow_either(
        &self,
        name: &RepositoryName,
        first: Action,
        second: Action,
    ) -> Result<RepositoryKeys, RegistryError> {
        match self.allow(name, first).await {
            Err(refused @ RegistryError::Denied(_)) => self.allow(name, second).await.map_err(|_| refused),
            allowed => allowed,
        }
    }

    /// The same for a push, which makes the repository when it is missing and a creation template says so.
    async fn allow_push(&self, name: &RepositoryName, action: Action) -> Result<RepositoryKeys, RegistryError> {
        let keys = self.allow(name, action).await?;
        if let Some(template) = self.registry.template_for_push(&keys).await? {
            self.allow(name, Action::CreateRepository).await?;
            self.registry.repository_create_by_itself(&keys, Some(&template)).await?;
        }
        Ok(keys)
    }

    /// On whose behalf.
    fn actor(&self) -> Actor {
        Actor::client(&self.caller.principal_arn)
    }

    fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}

async fn serve(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let resource = path::parse(head.uri.path());
    let label = resource.as_ref().map_or("invalid", |resource| resource.route.label());
    let (host, method) = (head.headers.get(http::header::HOST).cloned(), head.method.clone());
    let mut response = match handle(registry, resource, head, body).await {
        Ok(response) => response,
        Err(refused) => answer::refusal(&refused, host.as_ref()),
    };
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    let status = response.status().as_u16().to_string();
    metrics::counter!("gantry_registry_requests_total", "route" => label, "method" => method_label(&method), "status" => status)
        .increment(1);
    response
}

async fn handle(
    registry: Arc<Registry>,
    resource: Result<Resource, RegistryError>,
    head: Parts,
    body: Body,
) -> Result<Response, RegistryError> {
    let query = Query::parse(head.uri.query().unwrap_or_default());
    // A download link needs no credentials: it is its own.
    if let Ok(Resource { route: Route::Blob(digest), name: Some(name) }) = &resource
        && head.method == Method::GET
        && let Some(keys) = access::verify_download_link(&registry, name, digest, &query)?
    {
        return blobs::download(&registry, &keys, digest, &head).await;
    }
    let (caller, scope) = match access::authenticate(&registry, &head) {
        Ok(authenticated) => authenticated,
        Err(refused) => return Ok(access::refuse_early(&refused, &head, body).await),
    };
    let Resource { route, name } = resource?;
    let call = Call { registry, caller, scope, head, query };
    match (route, name) {
        (Route::Base, _) => Ok(answer::json(http::StatusCode::OK, &serde_json::json!({}))),
        (Route::Catalog, _) => lists::catalog(&call).await,
        (route, Some(name)) => handle_repository(&call, body, route, &name).await,
        (_, None) => Err(RegistryError::Unsupported),
    }
}

async fn handle_repository(
    call: &Call,
    body: Body,
    route: Route,
    name: &RepositoryName,
) -> Result<Response, RegistryError> {
    let is = |method: &Method| call.head.method == *method;
    let reads = is(&Method::GET) || is(&Method::HEAD);
    match route {
        Route::Tags if reads => lists::tags(call, name).await,
        Route::Prepared(digest) if reads => prepared::get(call, name, &digest).await,
        Route::Preparation(digest) if reads => prepared::state(call, name, &digest).await,
        Route::Referrers(digest) if reads => referrers::list(call, name, &digest).await,
        Route::Manifest(reference) if reads => manifests::get(call, name, &reference).await,
        Route::Manifest(reference) if is(&Method::PUT) => manifests::put(call, body, name, &reference).await,
        Route::Manifest(reference) if is(&Method::DELETE) => manifests::delete(call, name, &reference).await,
        Route::Blob(digest) if reads => blobs::get(call, name, &digest).await,
        Route::Blob(digest) if is(&Method::DELETE) => blobs::delete(call, name, &digest).await,
        Route::Uploads if is(&Method::POST) => uploads::start(call, body, name).await,
        Route::Upload(id) if reads => uploads::status(call, name, &id).await,
        Route::Upload(id) if is(&Method::PATCH) => uploads::append(call, body, name, &id).await,
        Route::Upload(id) if is(&Method::PUT) => uploads::finish(call, body, name, &id).await,
        Route::Upload(id) if is(&Method::DELETE) => uploads::cancel(call, name, &id).await,
        _ => Err(RegistryError::Unsupported),
    }
}

/// Methods are the client's to choose; metrics keep to those we know.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
