//! Uploads: start, append, ask, finish, cancel; and mounting, which is an upload that needs no bytes.

use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::access::Action;
use super::path::parse_digest;
use super::{Call, answer, range};
use crate::blobs::{Upload, WriteMode};
use crate::digest::{Algorithm, Digest};
use crate::fault::{LAYER_SIZE_MAX, RegistryError};
use crate::metadata::RepositoryKeys;
use crate::name::RepositoryName;
use crate::settings::Setting;

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// A blob of this size or less that comes in a single request is held in memory and written at once.
const WHOLE_IN_MEMORY_SIZE_MAX: u64 = 1024 * 1024;

/// `POST …/blobs/uploads/`: mounts, takes a whole blob, or begins an upload, by what the query says.
pub(super) async fn start(call: &Call, body: Body, name: &RepositoryName) -> Result<Response, RegistryError> {
    let keys = call.allow_push(name, Action::InitiateLayerUpload).await?;
    if let Some(digest) = call.query.get("mount") {
        let digest = parse_digest(digest)?;
        if mount(call, &keys, &digest).await? {
            return Ok(created(name, &digest));
        }
    } else if let Some(digest) = call.query.get("digest") {
        let digest = parse_digest(digest)?;
        return put_whole(call, body, &keys, &digest).await;
    }
    let algorithm = match call.query.get("digest-algorithm") {
        Some(text) => text.parse().map_err(|_| RegistryError::DigestInvalid(text.to_owned()))?,
        None => Algorithm::Sha256,
    };
    let id = call.registry.upload_start(&keys, algorithm).await?;
    Ok(progress(StatusCode::ACCEPTED, name, &id, 0))
}

/// Takes the blob from another repository, if the client may download it there. A client that may not, uploads.
async fn mount(call: &Call, keys: &RepositoryKeys, digest: &Digest) -> Result<bool, RegistryError> {
    let sources = match call.query.get("from") {
        None | Some("") => call.registry.blob_holders(keys, digest).await?,
        // A source that cannot exist is a source that does not have the blob.
        Some(from) => match from.parse::<RepositoryName>() {
            Ok(from) => vec![RepositoryKeys::new(keys.scope(), &from)],
            Err(_) => return Ok(false),
        },
    };
    if call.registry.setting(keys.scope(), Setting::BlobMounting).await? != "ENABLED" {
        return Ok(false);
    }
    for source in sources {
        match call.allow(source.name(), Action::GetDownloadUrlForLayer).await {
            Ok(source) if call.registry.blob_mount(keys, digest, &source).await? => return Ok(true),
            Ok(_) | Err(RegistryError::Denied(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// `POST …?digest=`: the whole blob in one request.
async fn put_whole(call: &Call, body: Body, keys: &RepositoryKeys, digest: &Digest) -> Result<Response, RegistryError> {
    let registry = &call.registry;
    match declared_length(&call.head.headers)? {
        Some(length) if length <= WHOLE_IN_MEMORY_SIZE_MAX => {
            let whole = Limited::new(body, WHOLE_IN_MEMORY_SIZE_MAX as usize).collect().await;
            let bytes = whole.map_err(|_| RegistryError::BadRequest("the body could not be read"))?.to_bytes();
            registry.blob_put(keys, digest, bytes).await?;
        }
        _ => {
            let id = registry.upload_start(keys, digest.algorithm()).await?;
            let mut upload = registry.upload_open(keys, &id, WriteMode::AllOrNothing).await?;
            if let Err(error) = receive(body, upload.as_mut()).await {
                let _ = upload.cancel().await;
                return Err(error);
            }
            registry.upload_commit(keys, &id, upload, digest).await?;
        }
    }
    Ok(created(keys.name(), digest))
}

/// `GET <upload>`: how far it is.
pub(super) async fn status(call: &Call, name: &RepositoryName, id: &str) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::UploadLayerPart).await?;
    let upload = call.registry.upload_open(&keys, id, WriteMode::Streaming).await?;
    Ok(progress(StatusCode::NO_CONTENT, name, id, upload.offset()))
}

/// `PATCH <upload>`: more bytes.
pub(super) async fn append(
    call: &Call,
    body: Body,
    name: &RepositoryName,
    id: &str,
) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::UploadLayerPart).await?;
    let chunk = Chunk::of(&call.head.headers)?;
    let mut upload = call.registry.upload_open(&keys, id, chunk.mode()).await?;
    chunk.begin(&keys, id, upload.as_ref())?;
    let received = receive(body, upload.as_mut()).await;
    let received = match received {
        Err(error) if chunk.mode() == WriteMode::Streaming => {
            // What arrived before the client went away counts; it can ask how much that was and go on.
            upload.acknowledge().await.map_err(|error| call.registry.upload_error(&keys, id, error))?;
            return Err(error);
        }
        received => received?,
    };
    chunk.end(received)?;
    let offset = upload.acknowledge().await.map_err(|error| call.registry.upload_error(&keys, id, error))?;
    Ok(progress(StatusCode::ACCEPTED, name, id, offset))
}

/// `PUT <upload>?digest=`: the last bytes, if any, and the end.
pub(super) async fn finish(
    call: &Call,
    body: Body,
    name: &RepositoryName,
    id: &str,
) -> Result<Response, RegistryError> {
    if has_body(&call.head.headers) {
        call.allow(name, Action::UploadLayerPart).await?;
    }
    let keys = call.allow(name, Action::CompleteLayerUpload).await?;
    let digest = call.query.get("digest").ok_or_else(|| RegistryError::DigestInvalid(String::new()))?;
    let digest = parse_digest(digest)?;
    let chunk = Chunk::of(&call.head.headers)?;
    // A last chunk that breaks off leaves the upload as it was: all of it comes again, or the rest after a look.
    let mut upload = call.registry.upload_open(&keys, id, WriteMode::AllOrNothing).await?;
    chunk.begin(&keys, id, upload.as_ref())?;
    let received = receive(body, upload.as_mut()).await?;
    chunk.end(received)?;
    call.registry.upload_commit(&keys, id, upload, &digest).await?;
    Ok(created(name, &digest))
}

/// `DELETE <upload>`
pub(super) async fn cancel(call: &Call, name: &RepositoryName, id: &str) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::UploadLayerPart).await?;
    let upload = call.registry.upload_open(&keys, id, WriteMode::Streaming).await?;
    upload.cancel().await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// What the headers say about the bytes to come.
struct Chunk {
    range: Option<Range<u64>>,
}

impl Chunk {
    fn of(headers: &HeaderMap) -> Result<Self, RegistryError> {
        let length = declared_length(headers)?;
        let Some(header) = headers.get(CONTENT_RANGE) else { return Ok(Self { range: None }) };
        let range = header.to_str().ok().and_then(range::chunk);
        let range = range.ok_or(RegistryError::BadRequest("invalid Content-Range"))?;
        let expected = range.end - range.start;
        match length {
            Some(received) if received != expected => Err(RegistryError::SizeInvalid { expected, received }),
            _ => Ok(Self { range: Some(range) }),
        }
    }

    /// A chunk that says where it belongs is taken whole or not at all; a stream is taken as far as it comes.
    fn mode(&self) -> WriteMode {
        if self.range.is_some() { WriteMode::AllOrNothing } else { WriteMode::Streaming }
    }

    fn begin(&self, keys: &RepositoryKeys, id: &str, upload: &dyn Upload) -> Result<(), RegistryError> {
        match &self.range {
            Some(range) if range.start != upload.offset() => {
                Err(RegistryError::upload_range(keys.scope(), keys.name(), id, upload.offset()))
            }
            _ => Ok(()),
        }
    }

    fn end(&self, received: u64) -> Result<(), RegistryError> {
        match self.range.as_ref().map(|range| range.end - range.start) {
            Some(expected) if expected != received => Err(RegistryError::SizeInvalid { expected, received }),
            _ => Ok(()),
        }
    }
}

/// Moves a body into an upload; returns its length.
async fn receive(mut body: Body, upload: &mut dyn Upload) -> Result<u64, RegistryError> {
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| RegistryError::BadRequest("the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            received += data.len() as u64;
            if upload.offset() + data.len() as u64 > LAYER_SIZE_MAX {
                return Err(RegistryError::LayerTooLarge);
            }
            upload.write(data).await?;
        }
    }
    metrics::counter!("gantry_registry_blob_bytes_received_total").increment(received);
    Ok(received)
}

/// Whether the request brings bytes, or may.
fn has_body(headers: &HeaderMap) -> bool {
    match answer::content_length(headers) {
        Some(length) => length > 0,
        None => headers.contains_key(http::header::TRANSFER_ENCODING),
    }
}

/// What `Content-Length` says, if it is there. More than a layer may have is refused before any of it is read.
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, RegistryError> {
    match answer::content_length(headers) {
        Some(length) if length > LAYER_SIZE_MAX => Err(RegistryError::LayerTooLarge),
        length => Ok(length),
    }
}

fn progress(status: StatusCode, name: &RepositoryName, id: &str, received: u64) -> Response {
    let mut response = answer::empty(status);
    answer::set(&mut response, LOCATION, format_args!("/v2/{name}/blobs/uploads/{id}"));
    answer::set(&mut response, RANGE, range::received(received));
    answer::set(&mut response, DOCKER_UPLOAD_UUID, id);
    response
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    let mut response = answer::empty(StatusCode::CREATED);
    answer::set(&mut response, LOCATION, format_args!("/v2/{name}/blobs/{digest}"));
    answer::set(&mut response, answer::DOCKER_CONTENT_DIGEST, digest);
    response
}
