//! `GET …/_gantry/prepared/DIGEST`: what is prepared of an image, for our agents. An extension in the sense of the
//! distribution specification; the blobs that it names are pulled like any others. `GET …/_gantry/preparation/DIGEST`
//! tells people how far that is.

use axum::response::Response;
use http::StatusCode;

use super::access::Action;
use super::{Call, answer};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::name::RepositoryName;

pub(super) async fn get(call: &Call, name: &RepositoryName, image: &Digest) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchGetImage).await?;
    match call.registry.prepared_image(&keys, image).await? {
        Some(prepared) => Ok(answer::json(StatusCode::OK, &prepared)),
        None => Err(RegistryError::ManifestUnknown),
    }
}

pub(super) async fn state(call: &Call, name: &RepositoryName, image: &Digest) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchGetImage).await?;
    Ok(answer::json(StatusCode::OK, &call.registry.preparation(&keys, image).await?))
}
