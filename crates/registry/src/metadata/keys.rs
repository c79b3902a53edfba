//! The keys of the registry's rows. The only place that spells them.

use gantry_domain::arn::Scope;

use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};
use crate::prefix::RepositoryPrefix;

/// The keys of one repository.
#[derive(Debug, Clone)]
pub struct RepositoryKeys {
    scope: Scope,
    name: RepositoryName,
}

impl RepositoryKeys {
    /// Keys of the repository `name` of the registry `scope`.
    pub fn new(scope: &Scope, name: &RepositoryName) -> Self {
        Self { scope: scope.clone(), name: name.clone() }
    }

    /// The registry.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The repository.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The repository's ARN.
    pub fn arn(&self) -> String {
        repository_arn(&self.scope, &self.name)
    }

    /// The scope of the repository's uploads in the content store.
    pub fn upload_scope(&self) -> String {
        format!("{}/{}/{}", self.scope.account, self.scope.region, self.name)
    }

    pub(crate) fn repository(&self) -> String {
        format!("{}{}", repositories_prefix(&self.scope), self.name)
    }

    pub(crate) fn images(&self) -> String {
        self.prefix("images")
    }

    pub(crate) fn image(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.images())
    }

    pub(crate) fn tags(&self) -> String {
        self.prefix("tags")
    }

    pub(crate) fn tag(&self, tag: &Tag) -> String {
        format!("{}{tag}", self.tags())
    }

    pub(crate) fn blobs(&self) -> String {
        self.prefix("blobs")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.blobs())
    }

    pub(crate) fn uses(&self, digest: &Digest) -> String {
        format!("{}{digest}/", self.prefix("uses"))
    }

    pub(crate) fn used_by(&self, digest: &Digest, by: &Digest) -> String {
        format!("{}{by}", self.uses(digest))
    }

    pub(crate) fn referrers(&self, subject: &Digest) -> String {
        format!("{}{subject}/", self.prefix("referrers"))
    }

    pub(crate) fn referrer(&self, subject: &Digest, digest: &Digest) -> String {
        format!("{}{digest}", self.referrers(subject))
    }

    pub(crate) fn holder(&self, digest: &Digest) -> String {
        format!("{}{}/{}/{}", holders_prefix(digest), self.scope.account, self.scope.region, self.name)
    }

    /// The prefixes of everything that goes with the repository.
    pub(crate) fn all(&self) -> [String; 5] {
        ["images", "tags", "blobs", "uses", "referrers"].map(|kind| self.prefix(kind))
    }

    fn prefix(&self, kind: &str) -> String {
        format!("/ecr/{}/{}/{kind}/{}:", self.scope.account, self.scope.region, self.name)
    }
}

pub(crate) fn repositories_prefix(scope: &Scope) -> String {
    format!("/ecr/{}/{}/repositories/", scope.account, scope.region)
}

pub(crate) fn templates_prefix(scope: &Scope) -> String {
    format!("/ecr/{}/{}/templates/", scope.account, scope.region)
}

pub(crate) fn template_key(scope: &Scope, prefix: &RepositoryPrefix) -> String {
    format!("{}{prefix}", templates_prefix(scope))
}

pub(crate) fn holders_prefix(digest: &Digest) -> String {
    format!("/ecr/holders/{digest}/")
}

/// The repository that a holder row speaks of. `rest` is the key after [`holders_prefix`].
pub(crate) fn parse_holder(rest: &str) -> Option<RepositoryKeys> {
    let mut parts = rest.splitn(3, '/');
    let (account, region, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(RepositoryKeys::new(&Scope::new(account, region), &name.parse().ok()?))
}

fn repository_arn(scope: &Scope, name: &RepositoryName) -> String {
    format!("arn:{}:ecr:{}:{}:repository/{name}", scope.partition(), scope.region, scope.account)
}
