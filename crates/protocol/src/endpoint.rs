//! The front door of the AWS APIs: one HTTP request in, one answer out.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gantry_api::{Caller, Fault, Origin, PrincipalKind, ServiceInfo};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use tracing::{debug, error};

use crate::{
    access::{Access, Facts},
    identity::Keys,
    json,
    principals::Principals,
    query::{self, Form},
    route::{self, Target},
    services::{Input, Service},
    sigv4::{self, Checked, SigningKeys},
};

/// Largest body that any operation needs, but for layer parts.
const BODY_BYTES_MAX: usize = 4 << 20;
/// `UploadLayerPart` carries up to 20 MiB of a layer as base64.
const LAYER_PART_BYTES_MAX: usize = 32 << 20;
/// How much of a body that is too large is read and dropped, so that the client gets to read the answer.
const DISCARDED_BYTES_MAX: usize = 256 << 20;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Something that is told of every request, for metrics.
pub trait Observer: Send + Sync {
    /// A request to `service`.`operation` was answered with `status` after `seconds`.
    fn request(&self, service: &'static str, operation: &'static str, status: u16, seconds: f64);
}

/// All mounted services behind one port.
pub struct Endpoint {
    services: Vec<Arc<dyn Service>>,
    keys: Arc<dyn Keys>,
    principals: Arc<dyn Principals>,
    facts: Arc<dyn Facts>,
    signing_keys: SigningKeys,
    observer: Arc<dyn Observer>,
}

/// A request after routing.
struct Routed<'a> {
    service: &'a dyn Service,
    operation: String,
    form: Option<Form>,
}

impl Endpoint {
    /// An endpoint for `services`, believing `keys`, allowing what the policies of `principals` allow.
    pub fn new(
        services: Vec<Arc<dyn Service>>,
        keys: Arc<dyn Keys>,
        principals: Arc<dyn Principals>,
        facts: Arc<dyn Facts>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { services, keys, principals, facts, signing_keys: SigningKeys::default(), observer }
    }

    fn access(&self) -> Access<'_> {
        Access { principals: self.principals.as_ref(), facts: self.facts.as_ref() }
    }

    /// Proves who sent a request to a door of Gantry's own, and that they may do `action` (with its prefix) on the
    /// resource that `resource` names for them.
    pub fn admit(
        &self,
        parts: &Parts,
        body: &[u8],
        service: &ServiceInfo,
        request_id: &str,
        action: &str,
        resource: impl FnOnce(&Caller) -> String,
    ) -> Result<Caller, Fault> {
        let caller = self.authenticate(parts, body, service, request_id)?;
        self.access().authorize_one(&caller, service, action, resource(&caller))?;
        Ok(caller)
    }

    /// Answers an AWS API request. Never fails: every refusal is an answer.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let started = Instant::now();
        let request_id = uuid::Uuid::new_v4().to_string();
        let (parts, body) = request.into_parts();
        let body = match read_body(&parts, body).await {
            Ok(body) => body,
            Err(fault) => return render_fault(self.service_hint(&parts), &fault, &request_id),
        };
        let routed = match self.route(&parts, &body) {
            Ok(routed) => routed,
            Err(fault) => return render_fault(self.service_hint(&parts), &fault, &request_id),
        };
        let info = routed.service.info();
        let known = info.operations.iter().find(|known| known.name == routed.operation).map(|known| known.name);
        let answer = self.answer(&parts, &body, &routed, known, &request_id).await;
        let response = match answer {
            Ok(bytes) => render(info, StatusCode::OK, bytes, &request_id),
            Err(fault) => {
                log_fault(&fault, info, &routed.operation, &request_id);
                render_fault(Some(info), &fault, &request_id)
            }
        };
        self.observer.request(
            info.name,
            known.unwrap_or_default(),
            response.status().as_u16(),
            started.elapsed().as_secs_f64(),
        );
        response
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: &[u8],
        routed: &Routed<'_>,
        operation: Option<&'static str>,
        request_id: &str,
    ) -> Result<Vec<u8>, Fault> {
        let info = routed.service.info();
        let caller = match operation {
            Some("AssumeRoleWithWebIdentity") if info.name == "sts" => nobody(parts, request_id),
            _ => self.authenticate(parts, body, info, request_id)?,
        };
        let operation = operation.ok_or_else(|| route::unknown_operation(info, &routed.operation))?;
        let input = match &routed.form {
            Some(form) => Input::Query(form),
            None => Input::Json(body),
        };
        self.access().authorize(&caller, info, operation, input)?;
        let answered = routed.service.call(&caller, operation, input).await;
        answered.unwrap_or_else(|| Err(route::unknown_operation(info, &routed.operation)))
    }

    /// Proves who sent a request to `service`.
    pub fn authenticate(
        &self,
        parts: &Parts,
        body: &[u8],
        service: &ServiceInfo,
        request_id: &str,
    ) -> Result<Caller, Fault> {
        let body_sha256 = hex::encode(Sha256::digest(body));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let checked = Checked { body_sha256: &body_sha256, signing_name: service.signing_name, now };
        let verified = sigv4::verify(parts, checked, self.keys.as_ref(), &self.signing_keys)
            .map_err(|error| error.fault(service))?;
        Ok(Caller {
            account: verified.key.account.clone(),
            region: verified.region,
            principal_arn: verified.key.principal_arn.clone(),
            kind: verified.key.kind,
            access_key_id: verified.access_key_id,
            request_id: request_id.to_string(),
            session: verified.key.session.clone(),
            origin: origin(parts),
        })
    }

    fn route(&self, parts: &Parts, body: &[u8]) -> Result<Routed<'_>, Fault> {
        match route::target(&parts.headers) {
            Some(Target::Json { prefix, operation }) => {
                let service = self
                    .find(|info| !info.query && !prefix.is_empty() && info.target_prefix == prefix)
                    .ok_or_else(|| route::unknown_service(prefix))?;
                Ok(Routed { service, operation: operation.to_string(), form: None })
            }
            Some(Target::Query) => self.route_form(body),
            // A presigned GET of a Query service carries its parameters in the query string.
            None if parts.uri.query().is_some_and(|query| query.contains("Action=")) => {
                self.route_form(parts.uri.query().unwrap_or_default().as_bytes())
            }
            None => {
                let not_ours = || Fault::new("UnknownOperationException", 404, "This is not a request of an AWS API.");
                let path = parts.uri.path();
                let found = self.services.iter().find_map(|service| {
                    let operation = route::by_path(service.info(), path).filter(|_| parts.method == Method::POST)?;
                    Some(Routed { service: service.as_ref(), operation: operation.to_owned(), form: None })
                });
                found.ok_or_else(not_ours)
            }
        }
    }

    fn route_form(&self, body: &[u8]) -> Result<Routed<'_>, Fault> {
        let form = Form::parse(body).map_err(|text| Fault::new("MalformedQueryString", 400, text))?;
        let version = form.get("Version").unwrap_or_default();
        let service = self
            .find(|info| info.query && info.api_version == version)
            .ok_or_else(|| route::unknown_service(&format!("the API version '{version}'")))?;
        let missing = || Fault::new("MissingAction", 400, "The request must contain the parameter Action.");
        let operation = form.get("Action").ok_or_else(missing)?.to_string();
        Ok(Routed { service, operation, form: Some(form) })
    }

    fn find(&self, wanted: impl Fn(&ServiceInfo) -> bool) -> Option<&dyn Service> {
        self.services.iter().map(AsRef::as_ref).find(|service| wanted(service.info()))
    }

    /// The service whose error format a request expects that could not be routed.
    fn service_hint(&self, parts: &Parts) -> Option<&'static ServiceInfo> {
        let query = matches!(route::target(&parts.headers), Some(Target::Query));
        query.then(|| self.services.iter().map(|service| service.info()).find(|info| info.query)).flatten()
    }
}

/// The sender of a call that is not signed because it carries a proof of its own. Has no account and no policies.
fn nobody(parts: &Parts, request_id: &str) -> Caller {
    Caller {
        account: String::new(),
        region: "us-east-1".to_string(),
        principal_arn: String::new(),
        kind: PrincipalKind::User,
        access_key_id: String::new(),
        request_id: request_id.to_string(),
        session: None,
        origin: origin(parts),
    }
}

/// How a request came in: what the connection knows, and who the client says it is.
fn origin(parts: &Parts) -> Origin {
    let connection = parts.extensions.get::<Origin>().cloned().unwrap_or_default();
    let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    // HTTP/2 has it in the URI.
    let host = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    Origin { user_agent: user_agent.map(str::to_owned), host: host.map(str::to_owned), ..connection }
}

async fn read_body<B>(parts: &Parts, body: B) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let layer_part = matches!(route::target(&parts.headers), Some(Target::Json { operation: "UploadLayerPart", .. }));
    let limit = if layer_part { LAYER_PART_BYTES_MAX } else { BODY_BYTES_MAX };
    let mut limited = Limited::new(body, DISCARDED_BYTES_MAX);
    let announced = limited.size_hint().lower();
    let mut received = Vec::with_capacity(usize::try_from(announced).unwrap_or(limit).min(limit));
    let mut too_large = announced > limit as u64;
    let reading = async {
        while let Some(frame) = limited.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            too_large |= received.len() + data.len() > limit;
            if !too_large {
                received.extend_from_slice(&data);
            }
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    };
    let outcome = tokio::time::timeout(BODY_TIME_MAX, reading).await;
    match outcome {
        _ if too_large => {
            Err(Fault::new("RequestEntityTooLarge", 413, format!("The request body is larger than {limit} bytes.")))
        }
        Ok(Ok(())) => Ok(Bytes::from(received)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Fault::new("RequestEntityTooLarge", 413, "The request body is too large."))
        }
        Ok(Err(error)) => Err(Fault::new("IncompleteBody", 400, "The request body ended early.").caused_by(error)),
        Err(_) => Err(Fault::new("RequestTimeout", 408, "The request body did not arrive in time.")),
    }
}

fn log_fault(fault: &Fault, service: &ServiceInfo, operation: &str, request_id: &str) {
    let cause = fault.cause.as_ref().map(|cause| chain(cause.as_ref())).unwrap_or_default();
    if fault.status >= 500 {
        error!(request_id, service = service.name, operation, code = fault.code, cause, "request failed");
    } else {
        debug!(
            request_id,
            service = service.name,
            operation,
            code = fault.code,
            message = fault.message,
            cause,
            "refused"
        );
    }
}

/// An error with everything behind it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        out += ": ";
        out += &error.to_string();
        source = error.source();
    }
    out
}

fn render_fault(service: Option<&ServiceInfo>, fault: &Fault, request_id: &str) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match service {
        Some(info) if info.query => {
            let body = query::fault_body(fault, info.xml_namespace, request_id);
            render(info, status, body, request_id)
        }
        _ => {
            let mut response = respond(status, json::CONTENT_TYPE, json::fault_body(fault), request_id);
            // Where SDKs look that speak with services which are addressed by paths.
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(fault.code));
            response
        }
    }
}

fn render(info: &ServiceInfo, status: StatusCode, body: Vec<u8>, request_id: &str) -> Response<Full<Bytes>> {
    respond(status, if info.query { query::CONTENT_TYPE } else { json::CONTENT_TYPE }, body, request_id)
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>, request_id: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", request_id);
    }
    response
}
