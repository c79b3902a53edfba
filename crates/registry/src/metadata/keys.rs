//! The keys of the registry's rows. The only place that spells them.

use gantry_domain::arn::{Scope, is_account};
use gantry_store::Revision;

use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};
use crate::prefix::RepositoryPrefix;
use crate::replication::config::Destination;

/// The keys of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// The repository's policy, alone under its prefix.
    pub(crate) fn policy(&self) -> String {
        self.prefix("policies")
    }

    pub(crate) fn images(&self) -> String {
        self.prefix("images")
    }

    pub(crate) fn image(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.images())
    }

    /// How many images there are, by the first digit of their digests.
    pub(crate) fn image_counts(&self) -> String {
        self.prefix("image-counts")
    }

    /// Each of those counts.
    pub(crate) fn all_image_counts(&self) -> Vec<String> {
        let prefix = self.image_counts();
        ('0'..='9').chain('a'..='f').map(|digit| format!("{prefix}{digit}")).collect()
    }

    /// The count that an image is in.
    pub(crate) fn image_count(&self, digest: &Digest) -> String {
        format!("{}{}", self.image_counts(), digest.hex().get(..1).unwrap_or_default())
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

    pub(crate) fn checked(&self, tag: &Tag) -> String {
        format!("{}{tag}", self.prefix("upstream"))
    }

    /// What the upstream of an image that was pulled through knows to be about it.
    pub(crate) fn upstream_referrers(&self, image: &Digest) -> String {
        format!("{}{image}", self.prefix("upstream-referrers"))
    }

    pub(crate) fn holder(&self, digest: &Digest) -> String {
        format!("{}{}/{}/{}", holders_prefix(digest), self.scope.account, self.scope.region, self.name)
    }

    /// The history of every tag.
    pub(crate) fn history(&self) -> String {
        self.prefix("history")
    }

    /// The history of one tag. A tag never contains `/`.
    pub(crate) fn tag_history(&self, tag: &Tag) -> String {
        format!("{}{tag}/", self.history())
    }

    pub(crate) fn history_entry(&self, tag: &Tag, number: u64) -> String {
        format!("{}{number:010}", self.tag_history(tag))
    }

    /// A change that was planned at `revision`. `unique` tells it from others that were.
    pub(crate) fn change(&self, revision: Revision, unique: u64) -> String {
        let Scope { account, region, .. } = &self.scope;
        format!("{CHANGES_PREFIX}{account}/{region}/{}:{revision:016x}{unique:016x}", self.name)
    }

    /// What is prepared of an image.
    pub(crate) fn prepared(&self, image: &Digest) -> String {
        format!("{}{image}", self.prefix("prepared"))
    }

    /// That preparing an image was given up, and why.
    pub(crate) fn unprepared(&self, image: &Digest) -> String {
        format!("{}{image}", self.prefix("unprepared"))
    }

    /// A layer that was prepared for some image.
    pub(crate) fn prepared_layer(&self, layer: &Digest) -> String {
        format!("{}{layer}", self.prefix("prepared-layers"))
    }

    /// That an image is to be prepared.
    pub(crate) fn to_prepare(&self, image: &Digest) -> String {
        let Scope { account, region, .. } = &self.scope;
        format!("{TO_PREPARE_PREFIX}{account}/{region}/{}:{image}", self.name)
    }

    /// How far the signing of an image is, by signing profile.
    pub(crate) fn signings(&self, image: &Digest) -> String {
        format!("{}{image}/", self.prefix("signings"))
    }

    /// The same for one profile.
    pub(crate) fn signing(&self, image: &Digest, profile: &str) -> String {
        format!("{}{profile}", self.signings(image))
    }

    /// That an image is to be signed.
    pub(crate) fn to_sign(&self, image: &Digest) -> String {
        let Scope { account, region, .. } = &self.scope;
        format!("{TO_SIGN_PREFIX}{account}/{region}/{}:{image}", self.name)
    }

    /// How far the replication of an image is, by destination.
    pub(crate) fn replicated(&self, digest: &Digest) -> String {
        format!("{}{digest}/", self.prefix("replicated"))
    }

    /// What the change of `revision` means for a destination.
    pub(crate) fn replication_work(&self, revision: Revision, destination: &Destination) -> String {
        let Scope { account, region, .. } = &self.scope;
        format!("{REPLICATION_WORK}{account}/{region}/{}:{revision:016x}/{}", self.name, destination.key())
    }

    /// The repository's lifecycle policy.
    pub(crate) fn lifecycle(&self) -> String {
        self.global(LIFECYCLE_PREFIX)
    }

    /// The last preview of a lifecycle policy.
    pub(crate) fn preview(&self) -> String {
        self.global(PREVIEWS_PREFIX)
    }

    pub(crate) fn preview_results(&self) -> String {
        self.prefix("preview")
    }

    pub(crate) fn preview_result(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.preview_results())
    }

    /// The single rows that go with the repository.
    pub(crate) fn singles(&self) -> [String; 2] {
        [self.lifecycle(), self.preview()]
    }

    /// A row of the repository among those of all registries.
    fn global(&self, prefix: &str) -> String {
        format!("{prefix}{}/{}/{}", self.scope.account, self.scope.region, self.name)
    }

    /// Scans of the repository's images.
    pub(crate) fn scans(&self) -> String {
        self.scan_rows("scans")
    }

    /// The scan of one image.
    pub(crate) fn scan(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.scans())
    }

    /// An image whose scan has not ended.
    pub(crate) fn scan_queued(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.scan_rows("scan-queue"))
    }

    /// Findings, in pages named by the last of each; those of one round go together.
    pub(crate) fn findings(&self, digest: &Digest, round: u64) -> String {
        format!("{}{digest}/{round:010}/", self.scan_rows("findings"))
    }

    /// What is installed in an image, in pieces; those of one round go together.
    pub(crate) fn inventory(&self, digest: &Digest, round: u64) -> String {
        format!("{}{digest}/{round:010}/", self.scan_rows("inventories"))
    }

    /// The prefixes of everything that goes with the repository.
    pub(crate) fn all(&self) -> Vec<String> {
        let own = [
            "images",
            "tags",
            "blobs",
            "uses",
            "referrers",
            "history",
            "preview",
            "upstream",
            "policies",
            "replicated",
            "prepared",
            "prepared-layers",
            "unprepared",
            "signings",
            "image-counts",
            "upstream-referrers",
        ]
        .map(|kind| self.prefix(kind));
        let scans = ["scans", "scan-queue", "findings", "inventories"].map(|kind| self.scan_rows(kind));
        own.into_iter().chain(scans).collect()
    }

    /// Rows that are walked through for all registries together.
    fn scan_rows(&self, kind: &str) -> String {
        format!("/ecr/{kind}/{}/{}/{}:", self.scope.account, self.scope.region, self.name)
    }

    fn prefix(&self, kind: &str) -> String {
        format!("/ecr/{}/{}/{kind}/{}:", self.scope.account, self.scope.region, self.name)
    }
}

pub(crate) fn repositories_prefix(scope: &Scope) -> String {
    format!("/ecr/{}/{}/repositories/", scope.account, scope.region)
}

/// How many repositories there are.
pub(crate) fn repository_count_key(scope: &Scope) -> String {
    format!("/ecr/{}/{}/repository-count", scope.account, scope.region)
}

pub(crate) fn rules_prefix(scope: &Scope) -> String {
    format!("/ecr/{}/{}/pull-through-rules/", scope.account, scope.region)
}

pub(crate) fn rule_key(scope: &Scope, prefix: &RepositoryPrefix) -> String {
    format!("{}{prefix}", rules_prefix(scope))
}

pub(crate) fn registry_policy_key(scope: &Scope) -> String {
    format!("/ecr/{}/{}/registry-policy", scope.account, scope.region)
}

pub(crate) fn templates_prefix(scope: &Scope) -> String {
    format!("/ecr/{}/{}/templates/", scope.account, scope.region)
}

pub(crate) fn template_key(scope: &Scope, prefix: &RepositoryPrefix) -> String {
    format!("{}{prefix}", templates_prefix(scope))
}

/// What is to be done at the destinations of all registries. It does not go with its repository: its images may have
/// to be deleted elsewhere.
pub(crate) const REPLICATION_WORK: &str = "/ecr/replication/";

/// The repository and the destination of a row of replication work.
pub(crate) fn parse_replication_work(key: &str) -> Option<(RepositoryKeys, Destination)> {
    let (repository, rest) = key.strip_prefix(REPLICATION_WORK)?.split_once(':')?;
    let (_revision, destination) = rest.split_once('/')?;
    Some((parse_holder(repository)?, Destination::from_key(destination)?))
}

pub(crate) fn replication_key(scope: &Scope) -> String {
    format!("/ecr/{}/{}/replication-configuration", scope.account, scope.region)
}

/// The backfills of all registries.
pub(crate) const BACKFILLS: &str = "/ecr/backfills/";

pub(crate) fn backfills_prefix(scope: &Scope) -> String {
    format!("{BACKFILLS}{}/{}/", scope.account, scope.region)
}

pub(crate) fn backfill_key(scope: &Scope, id: &str) -> String {
    format!("{}{id}", backfills_prefix(scope))
}

/// The registry and the id of a backfill, by its key.
pub(crate) fn parse_backfill(key: &str) -> Option<(Scope, &str)> {
    let mut parts = key.strip_prefix(BACKFILLS)?.splitn(3, '/');
    let (account, region, id) = (parts.next()?, parts.next()?, parts.next()?);
    Some((Scope::new(account, region), id))
}

/// Which backfills of a registry run.
pub(crate) fn backfills_running_key(scope: &Scope) -> String {
    format!("/ecr/{}/{}/backfills-running", scope.account, scope.region)
}

/// What came of the images of a backfill.
pub(crate) fn backfill_results(scope: &Scope, id: &str) -> String {
    format!("/ecr/{}/{}/backfill-results/{id}/", scope.account, scope.region)
}

pub(crate) fn holders_prefix(digest: &Digest) -> String {
    format!("/ecr/holders/{digest}/")
}

/// A row of a repository, as its key names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedKey {
    pub(crate) repository: RepositoryKeys,
    pub(crate) kind: RowKind,
}

/// The kinds of rows that speak of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowKind {
    Repository,
    Image(Digest),
    Tag(Tag),
    Link(Digest),
    /// The manifest `by` refers to `of`.
    Use {
        of: Digest,
        by: Digest,
    },
    /// The manifest `by` names `of` as its subject.
    Referrer {
        of: Digest,
        by: Digest,
    },
}

/// Where the rows of all repositories begin.
pub(crate) fn rows_prefix() -> &'static str {
    "/ecr/"
}

/// What a key says; none for keys of other kinds.
pub(crate) fn parse_row_key(key: &str) -> Option<ParsedKey> {
    let mut parts = key.strip_prefix(rows_prefix())?.splitn(4, '/');
    let (account, region, kind, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (name, rest) = rest.split_once(':').unwrap_or((rest, ""));
    let two = || {
        let (of, by) = rest.split_once('/')?;
        Some((of.parse().ok()?, by.parse().ok()?))
    };
    let kind = match kind {
        _ if !is_account(account) => return None,
        "repositories" => RowKind::Repository,
        "images" => RowKind::Image(rest.parse().ok()?),
        "tags" => RowKind::Tag(rest.parse().ok()?),
        "blobs" => RowKind::Link(rest.parse().ok()?),
        "uses" => two().map(|(of, by)| RowKind::Use { of, by })?,
        "referrers" => two().map(|(of, by)| RowKind::Referrer { of, by })?,
        _ => return None,
    };
    Some(ParsedKey { repository: RepositoryKeys::new(&Scope::new(account, region), &name.parse().ok()?), kind })
}

impl std::fmt::Display for ParsedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repository.upload_scope())?;
        match &self.kind {
            RowKind::Repository => Ok(()),
            RowKind::Tag(tag) => write!(f, ":{tag}"),
            RowKind::Image(digest) | RowKind::Link(digest) => write!(f, "@{digest}"),
            RowKind::Use { of, .. } | RowKind::Referrer { of, .. } => write!(f, "@{of}"),
        }
    }
}

/// The repository that a holder row speaks of. `rest` is the key after [`holders_prefix`].
pub(crate) fn parse_holder(rest: &str) -> Option<RepositoryKeys> {
    let mut parts = rest.splitn(3, '/');
    let (account, region, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(RepositoryKeys::new(&Scope::new(account, region), &name.parse().ok()?))
}

/// All scans there are.
pub(crate) const SCANS_PREFIX: &str = "/ecr/scans/";
/// All scans that have not ended.
pub(crate) const SCAN_QUEUE_PREFIX: &str = "/ecr/scan-queue/";

/// The image that a row below one of these prefixes speaks of. `rest` is the key after the prefix.
pub(crate) fn parse_scanned(rest: &str) -> Option<(RepositoryKeys, Digest)> {
    // A name has no colon, a digest has one.
    let (repository, digest) = rest.split_once(':')?;
    Some((parse_holder(repository)?, digest.parse().ok()?))
}

/// A setting of a registry.
pub(crate) fn setting_key(scope: &Scope, name: &str) -> String {
    format!("/ecr/{}/{}/settings/{name}", scope.account, scope.region)
}

/// Where the images of all repositories are that wait to be prepared.
pub(crate) const TO_PREPARE_PREFIX: &str = "/ecr/prepare/";

/// The image that a row below [`TO_PREPARE_PREFIX`] names. A repository's name contains no colon.
pub(crate) fn parse_to_prepare(key: &str) -> Option<(RepositoryKeys, Digest)> {
    let (repository, image) = key.strip_prefix(TO_PREPARE_PREFIX)?.split_once(':')?;
    Some((parse_holder(repository)?, image.parse().ok()?))
}

/// Where the images of all repositories are that wait to be signed.
pub(crate) const TO_SIGN_PREFIX: &str = "/ecr/sign/";

/// The image that a row below [`TO_SIGN_PREFIX`] names.
pub(crate) fn parse_to_sign(key: &str) -> Option<(RepositoryKeys, Digest)> {
    parse_scanned(key.strip_prefix(TO_SIGN_PREFIX)?)
}

/// Which images of a registry are to be signed.
pub(crate) fn signing_configuration_key(scope: &Scope) -> String {
    format!("/ecr/{}/{}/signing", scope.account, scope.region)
}

/// Where the lifecycle policies of all repositories are.
pub(crate) const LIFECYCLE_PREFIX: &str = "/ecr/lifecycle/";
/// Where the previews of all repositories are.
pub(crate) const PREVIEWS_PREFIX: &str = "/ecr/previews/";
/// Where the changes of all repositories are. They do not go with their repository: its deletion is one of them.
pub(crate) const CHANGES_PREFIX: &str = "/ecr/changes/";
/// Hex digits of a change's id: the revision at which it was planned, and a unique number.
const CHANGE_ID_LENGTH: usize = 32;

/// The part of a change's key that its repository's changes share.
pub(crate) fn change_lane(key: &str) -> Option<&str> {
    let (lane, _) = key.split_at_checked(key.len().checked_sub(CHANGE_ID_LENGTH)?)?;
    lane.starts_with(CHANGES_PREFIX).then_some(lane)
}

/// The revision at which a change was planned: smaller than that of its transaction.
pub(crate) fn planned_at(key: &str) -> Option<Revision> {
    let id = &key[change_lane(key)?.len()..];
    Revision::from_str_radix(id.get(..16)?, 16).ok()
}

/// The repository and the id of a change, by its key.
pub(crate) fn parse_change(key: &str) -> Option<(RepositoryKeys, &str)> {
    let lane = change_lane(key)?;
    let repository = lane.strip_prefix(CHANGES_PREFIX)?.strip_suffix(':')?;
    Some((parse_holder(repository)?, &key[lane.len()..]))
}

fn repository_arn(scope: &Scope, name: &RepositoryName) -> String {
    format!("arn:{}:ecr:{}:{}:repository/{name}", scope.partition(), scope.region, scope.account)
}
