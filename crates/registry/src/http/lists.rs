//! Lists: tags, and the repositories of the registry. Referrers have a file of their own.

use axum::response::Response;
use http::StatusCode;
use http::header::LINK;
use serde_json::json;

use super::access::Action;
use super::{Call, answer};
use crate::access::Target;
use crate::fault::RegistryError;
use crate::name::RepositoryName;

/// Entries of a page when the client does not say, and the most it may ask for. Longer lists have a `Link`.
pub(super) const PAGE_SIZE_MAX: usize = 1000;

pub(super) async fn tags(call: &Call, name: &RepositoryName) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::ListImages).await?;
    let asked = call.query.page_size()?;
    call.registry.repository(&keys).await?;
    let (tags, more) = match asked {
        Some(0) => (Vec::new(), false),
        asked => {
            let limit = asked.unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
            call.registry.metadata.tags(&keys, call.query.get("last"), limit).await?
        }
    };
    let tags: Vec<&str> = tags.iter().map(|(tag, _)| tag.as_str()).collect();
    let mut response = answer::json(StatusCode::OK, &json!({"name": name.as_str(), "tags": tags}));
    if let (true, Some(last)) = (more, tags.last()) {
        link(&mut response, &format!("/v2/{name}/tags/list"), asked, last);
    }
    Ok(response)
}

pub(super) async fn catalog(call: &Call) -> Result<Response, RegistryError> {
    let scope = &call.scope;
    let action = Action::DescribeRepositories.name();
    call.registry.authorize(&call.caller, action.into(), Target::Repositories(scope)).await?;
    let asked = call.query.page_size()?;
    let (repositories, more) = match asked {
        Some(0) => (Vec::new(), false),
        asked => {
            let limit = asked.unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
            call.registry.repositories(scope, call.query.get("last"), limit).await?
        }
    };
    let names: Vec<&str> = repositories.iter().map(|(name, _)| name.as_str()).collect();
    let mut response = answer::json(StatusCode::OK, &json!({"repositories": names}));
    if let (true, Some(last)) = (more, names.last()) {
        link(&mut response, "/v2/_catalog", asked, &last.replace('/', "%2F"));
    }
    Ok(response)
}

fn link(response: &mut Response, path: &str, asked: Option<usize>, last: &str) {
    let size = asked.map(|n| format!("n={n}&")).unwrap_or_default();
    answer::set(response, LINK, format_args!("<{path}?{size}last={last}>; rel=\"next\""));
}
