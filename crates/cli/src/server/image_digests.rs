//! Tells the control plane which manifest a tag of our own registry stands for.

use futures_util::future::BoxFuture;
use gantry_control::ImageDigests;
use gantry_domain::arn::Scope;
use gantry_registry::metadata::{Metadata, RepositoryKeys};
use gantry_runtime::image::Reference;

/// Reads the registry's rows.
pub(crate) struct OwnImages {
    metadata: Metadata,
    /// `host[:port]` names of the registry, beside the `ACCOUNT.dkr.ecr.REGION.amazonaws.com` ones.
    hosts: Vec<String>,
}

impl OwnImages {
    /// Over the registry's rows.
    pub(crate) fn new(metadata: Metadata, hosts: Vec<String>) -> Self {
        Self { metadata, hosts }
    }

    /// Where the repositories of this host are, for tasks of `scope`; none when the host is another registry's.
    fn scope_of(&self, scope: &Scope, host: &str) -> Option<Scope> {
        if self.hosts.iter().any(|own| own == host) {
            return Some(scope.clone());
        }
        Scope::of_registry_host(host).filter(|named| named.account == scope.account)
    }
}

impl ImageDigests for OwnImages {
    fn digest<'a>(&'a self, scope: &'a Scope, image: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let reference = Reference::parse(image).ok()?;
            let scope = self.scope_of(scope, &reference.registry)?;
            let keys = RepositoryKeys::new(&scope, &reference.repository.parse().ok()?);
            let tag = reference.tag.as_deref().filter(|_| reference.digest.is_none())?.parse().ok()?;
            // A store that fails now fails the start of the tasks too: nothing is lost by going on.
            let row = self.metadata.tag(&keys, &tag).await.ok()??;
            Some(row.row.digest.to_string())
        })
    }
}
