//! Connections of tasks, within bounds.

use std::{convert::Infallible, sync::Arc, sync::Weak, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Clients, TaskEndpoint,
    answer::Answer,
    credentials, faults, introspection, metadata, protection,
    route::{Route, Version, What, route},
    stats,
};
use crate::host::Host;

/// Connections of one listener at a time: others wait.
const CONNECTIONS_MAX: usize = 32;
/// Of the one for all tasks in host mode.
const CONNECTIONS_ON_HOST_MAX: usize = 256;
/// Reading a request and answering it may each take this long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A connection takes no new request after this time: a client that reads nothing keeps no place for ever.
pub(super) const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// After an accept that failed: descriptors have run out, most likely.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes connections for as long as the host is there.
pub(super) async fn listen(host: Weak<Host>, listener: TcpListener, clients: Clients) {
    let places = match clients {
        Clients::Task(_) | Clients::Operator => CONNECTIONS_MAX,
        Clients::TasksOfHost => CONNECTIONS_ON_HOST_MAX,
    };
    let places = Arc::new(Semaphore::new(places));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (host, clients) = (host.clone(), clients.clone());
                tokio::spawn(async move {
                    converse(host, stream, clients).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a task's connection was not taken");
                sleep(PAUSE).await;
            }
        }
    }
}

pub(super) async fn converse(host: Weak<Host>, stream: impl AsyncRead + AsyncWrite + Unpin, clients: Clients) {
    let service = service_fn(move |request| {
        let (host, clients) = (host.clone(), clients.clone());
        async move { Ok::<_, Infallible>(handle(host, clients, request).await) }
    });
    let mut http = http1::Builder::new();
    // A client that says that it has nothing more to say still wants its answer.
    http.half_close(true);
    http.timer(TokioTimer::new()).header_read_timeout(TIMEOUT).max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut ended = timeout(CONNECTION_TIME_MAX, &mut connection).await;
    if ended.is_err() {
        // What was asked already is still answered.
        connection.as_mut().graceful_shutdown();
        ended = timeout(2 * TIMEOUT, &mut connection).await;
    }
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a task's connection ended"),
        Err(_) => debug!("a task's connection lasted too long"),
    }
}

async fn handle(host: Weak<Host>, clients: Clients, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(host) = host.upgrade() else {
        return Answer::new(StatusCode::SERVICE_UNAVAILABLE, &"the agent ends").into_response();
    };
    let answered = timeout(TIMEOUT, answer(&host, &clients, request)).await;
    let late = |_| Answer::new(StatusCode::GATEWAY_TIMEOUT, &"the answer took too long");
    answered.unwrap_or_else(late).into_response()
}

async fn answer(host: &Arc<Host>, clients: &Clients, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
    if matches!(clients, Clients::Operator) {
        if !introspection::is_asked_by_name(&head.headers) {
            return Answer::new(StatusCode::FORBIDDEN, &"the host of a request is 127.0.0.1 or localhost");
        }
        return match (head.method == Method::GET, host.endpoints.operators.pays(host.now_ms())) {
            (true, true) => introspection::answer(host, &path, query.as_deref()).await,
            (true, false) => Answer::new(StatusCode::TOO_MANY_REQUESTS, &"too many requests"),
            (false, _) => Answer::new(StatusCode::NOT_FOUND, &"404 page not found"),
        };
    }
    let route = route(&path, query.as_deref());
    let asked = match &route {
        Route::Credentials { id, .. }
        | Route::Metadata { id, .. }
        | Route::Protection { id }
        | Route::Fault { id, .. } => host.endpoints.find(clients, id),
        Route::Redirect(to) => return Answer::redirect(to),
        Route::Unknown => return Answer::new(StatusCode::NOT_FOUND, &"404 page not found"),
    };
    // Who guesses ids uses up the allowance of the task that the listener is for, if it is for one.
    let payer = asked.clone().or_else(|| match clients {
        Clients::Task(endpoint) => endpoint.upgrade(),
        Clients::TasksOfHost | Clients::Operator => None,
    });
    if payer.is_some_and(|payer| !payer.allowance.pays(host.now_ms())) {
        return Answer::new(StatusCode::TOO_MANY_REQUESTS, &"too many requests");
    }
    match route {
        Route::Credentials { version, id } if head.method == Method::GET => {
            credentials::answer(host, asked.as_deref(), version, id)
        }
        Route::Metadata { version, id, what } if head.method == Method::GET => match asked {
            Some(endpoint) => metadata(host, &endpoint, version, id, what).await,
            None => unknown(version, id, what),
        },
        Route::Protection { .. } => match asked {
            Some(endpoint) => {
                let body = read(body).await;
                protection::answer(host, &endpoint, &head.method, body.as_deref()).await
            }
            None => protection::unknown(),
        },
        Route::Fault { kind, action, .. } if head.method == Method::POST => match asked {
            Some(endpoint) => {
                let body = read(body).await;
                faults::answer(host, &endpoint.task, kind, action, body.as_deref()).await
            }
            None => faults::unknown(),
        },
        _ => Answer::new(StatusCode::NOT_FOUND, &"404 page not found"),
    }
}

async fn metadata(host: &Arc<Host>, endpoint: &TaskEndpoint, version: Version, id: &str, what: What<'_>) -> Answer {
    let (Some(index), Some(state)) = (endpoint.container(id), endpoint.look().await) else {
        return unknown(version, id, what);
    };
    let task = &endpoint.task;
    let zone = host.zone();
    match what {
        What::Container => Answer::ok(&metadata::container(version, task, &state, index)),
        What::Task => Answer::ok(&metadata::task(version, task, &state, &zone)),
        What::TaskWithTags => {
            let mut shown = metadata::task(version, task, &state, &zone);
            endpoint.tags.add(host, &task.arn, &mut shown).await;
            Answer::ok(&shown)
        }
        What::Stats => Answer::ok(&stats::container(host, endpoint, &state, index, version).await),
        What::TaskStats => Answer::ok(&stats::task(host, endpoint, &state, version).await),
        What::Associations { name: None, .. } => Answer::ok(&serde_json::json!({"Associations": []})),
        What::Associations { kind, name: Some(name) } => {
            let message = format!("Unable to get association: no association of type {kind} named {name}");
            Answer::new(StatusCode::NOT_FOUND, &message)
        }
    }
}

/// Nobody that may be asked from here has this id.
fn unknown(version: Version, id: &str, what: What<'_>) -> Answer {
    let (status, number) = match version {
        Version::V3 => (StatusCode::INTERNAL_SERVER_ERROR, 3),
        Version::V4 => (StatusCode::NOT_FOUND, 4),
    };
    let of_task = matches!(what, What::Task | What::TaskWithTags | What::TaskStats);
    let message = if of_task {
        format!(
            "V{number} task metadata handler: unable to get task arn from request: unable to get task arn from v3 \
             endpoint ID: {id}"
        )
    } else {
        format!(
            "V{number} container metadata handler: unable to get container ID from request: unable to get docker ID \
             from v3 endpoint ID: {id}"
        )
    };
    Answer::new(status, &message)
}

/// Reads a body; none when it is too long or breaks off.
async fn read(body: Incoming) -> Option<Bytes> {
    Limited::new(body, BODY_BYTES_MAX).collect().await.ok().map(http_body_util::Collected::to_bytes)
}
