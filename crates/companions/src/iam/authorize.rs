//! The policies of principals, for the front door and everybody else who decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gantry_api::{Caller, PrincipalKind, Session};
use gantry_domain::Timestamp;
use gantry_domain::policy::{Document, Identity, Kind, Principal, PrincipalPolicies};
use gantry_protocol::principals::{Authority, Principals};
use parking_lot::RwLock;

use super::picture::Account;
use super::rows::{Grants, Role, User};
use super::{Iam, names};

/// Authorities kept; more empty the cache.
const AUTHORITIES_MAX: usize = 16_384;

/// Authorities that were put together before, by access key: policies are parsed once per change of IAM.
#[derive(Default)]
pub(super) struct Authorities {
    known: RwLock<HashMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    generation: u64,
    principal_arn: String,
    session: Option<Arc<Session>>,
    authority: Arc<Authority>,
}

impl Principals for Iam {
    fn authority(&self, caller: &Caller) -> Arc<Authority> {
        if caller.kind == PrincipalKind::Root {
            let principal = Principal::root(caller.account.clone());
            return Arc::new(Authority { principal, policies: PrincipalPolicies::default() });
        }
        let picture = self.inner.view.read();
        let known = self.inner.authorities.known.read().get(&caller.access_key_id).cloned();
        if let Some(known) = known
            && known.generation == picture.generation
            && known.principal_arn == caller.principal_arn
            && known.session == caller.session
        {
            return known.authority;
        }
        let empty = Account::default();
        let account = picture.account(&caller.account).unwrap_or(&empty);
        let authority = Arc::new(account.authority(caller));
        let mut cache = self.inner.authorities.known.write();
        if cache.len() >= AUTHORITIES_MAX {
            cache.clear();
        }
        let known = Known {
            generation: picture.generation,
            principal_arn: caller.principal_arn.clone(),
            session: caller.session.clone(),
            authority: Arc::clone(&authority),
        };
        cache.insert(caller.access_key_id.clone(), known);
        authority
    }
}

impl Account {
    fn authority(&self, caller: &Caller) -> Authority {
        let account = &caller.account;
        let (mut principal, mut policies) = match caller.role_name() {
            Some(name) => self.role_authority(caller, name),
            None => self.user_authority(caller),
        };
        if let Some(session) = &caller.session {
            principal.tags.extend(session.tags.clone());
            if !(session.policies.is_empty() && session.policy_arns.is_empty()) {
                let managed = |arn: &String| self.managed_document(account, arn);
                let by_arn = session.policy_arns.iter().filter_map(managed);
                policies.session = Some(session.policies.iter().filter_map(|text| parse(text)).chain(by_arn).collect());
            }
        }
        Authority { principal, policies }
    }

    fn user_authority(&self, caller: &Caller) -> (Principal, PrincipalPolicies) {
        let (account, arn) = (&caller.account, caller.principal_arn.clone());
        let name = arn.rsplit('/').next().unwrap_or_default().to_lowercase();
        let user = self.users.get(&name).filter(|user| user.arn(account) == arn);
        let id = user.map(|user| user.id.clone()).unwrap_or_default();
        let tags = user.map(|user| user.tags.clone()).unwrap_or_default();
        let policies = user.map(|user| self.user_policies(account, user)).unwrap_or_default();
        (Principal { identity: Identity::User { arn, id }, tags }, policies)
    }

    fn role_authority(&self, caller: &Caller, name: &str) -> (Principal, PrincipalPolicies) {
        let (account, arn) = (&caller.account, caller.principal_arn.clone());
        let role = self.roles.get(&name.to_lowercase());
        let role_arn = match role {
            Some(role) => role.arn(account),
            None => format!("arn:aws:iam::{account}:role/{name}"),
        };
        let session = arn.rsplit('/').next().unwrap_or_default();
        let id = match (&caller.session, role) {
            (Some(session), _) => session.principal_id.clone(),
            (None, Some(role)) => format!("{}:{session}", role.id),
            (None, None) => String::new(),
        };
        let tags = role.map(|role| role.tags.clone()).unwrap_or_default();
        let policies = role.map(|role| self.role_policies(account, role)).unwrap_or_default();
        (Principal { identity: Identity::RoleSession { arn, role_arn, id }, tags }, policies)
    }

    /// The documents of a holder: inline and attached ones.
    pub(super) fn documents(&self, account: &str, grants: &Grants) -> impl Iterator<Item = Arc<Document>> {
        let inline = grants.inline.values().filter_map(|text| parse(text));
        let attached = grants.attached.iter().filter_map(move |arn| self.managed_document(account, arn));
        inline.chain(attached)
    }

    /// The document in force of a managed policy.
    fn managed_document(&self, account: &str, arn: &str) -> Option<Arc<Document>> {
        parse(self.managed(account, arn)?.document())
    }

    /// Everything that says what a user may do.
    pub(super) fn user_policies(&self, account: &str, user: &User) -> PrincipalPolicies {
        let groups = user.groups.iter().filter_map(|name| self.groups.get(name)).map(|group| &group.grants);
        PrincipalPolicies {
            identity: groups.chain([&user.grants]).flat_map(|grants| self.documents(account, grants)).collect(),
            boundary: self.boundary(account, user.boundary.as_deref()),
            session: None,
        }
    }

    /// Everything that says what a role may do, without session policies.
    pub(super) fn role_policies(&self, account: &str, role: &Role) -> PrincipalPolicies {
        PrincipalPolicies {
            identity: self.documents(account, &role.grants).collect(),
            boundary: self.boundary(account, role.boundary.as_deref()),
            session: None,
        }
    }

    /// A boundary that is not there allows nothing.
    fn boundary(&self, account: &str, arn: Option<&str>) -> Option<Arc<Document>> {
        arn.map(|arn| self.managed_document(account, arn).unwrap_or_else(deny_everything))
    }
}

/// Documents were checked when they came in. One that cannot be read any more may not be passed over: it may deny.
fn parse(text: &str) -> Option<Arc<Document>> {
    match Document::parse(text, Kind::Identity) {
        Ok(document) => Some(Arc::new(document)),
        Err(error) => {
            tracing::error!(%error, "a stored policy cannot be read; its holder may do nothing");
            Some(deny_everything())
        }
    }
}

fn deny_everything() -> Arc<Document> {
    fixed(r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#)
}

fn fixed(text: &str) -> Arc<Document> {
    Arc::new(Document::parse(text, Kind::Identity).expect("a constant policy is one"))
}

/// A role as `AssumeRole` needs it.
pub(crate) struct AssumableRole {
    pub(crate) account: String,
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) id: String,
    /// The trust policy as it is to be read now.
    pub(crate) trust: String,
    pub(crate) session_seconds_max: u64,
    pub(crate) tags: BTreeMap<String, String>,
}

/// What the token service asks.
impl Iam {
    /// The role with this ARN, of any account.
    pub(crate) fn assumable_role(&self, arn: &str) -> Option<AssumableRole> {
        let (account, resource) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
        let name = resource.rsplit('/').next()?;
        self.look(account, |picture| {
            let role = picture.role(name).ok().filter(|role| role.arn(account) == arn)?;
            Some(AssumableRole {
                account: account.to_owned(),
                arn: arn.to_owned(),
                name: role.name.clone(),
                id: role.id.clone(),
                trust: picture.trust(account, role),
                session_seconds_max: u64::from(role.session_seconds_max),
                tags: role.tags.clone(),
            })
        })
    }

    /// The role of this name.
    pub(crate) fn role_named(&self, account: &str, name: &str) -> Option<AssumableRole> {
        let arn = self.arn_of(account, "role", name)?;
        self.assumable_role(&arn)
    }

    /// Whether there is such a policy for principals of `account`.
    pub(crate) fn has_managed_policy(&self, account: &str, arn: &str) -> bool {
        self.look(account, |picture| picture.managed(account, arn).is_some())
    }

    /// `aws:userid` of a caller.
    pub(crate) fn user_id(&self, caller: &Caller) -> String {
        match &self.authority(caller).principal.identity {
            Identity::User { id, .. } | Identity::RoleSession { id, .. } => id.clone(),
            _ => caller.account.clone(),
        }
    }

    /// The account that a key belongs to.
    pub(crate) fn account_of_key(&self, access_key_id: &str) -> Option<String> {
        let of_user = self.inner.view.read().key_owner(access_key_id).map(|(account, _)| account.to_owned());
        of_user.or_else(|| names::account_of_temporary_key(access_key_id))
    }

    /// The time as evaluation wants it.
    pub(crate) fn now_timestamp(&self) -> Timestamp {
        (self.inner.clock)()
    }

    /// Seconds since the epoch.
    pub(crate) fn now_seconds(&self) -> u64 {
        self.now() / 1000
    }
}

/// What the front door asks.
impl Iam {
    /// The tags of a user, role, instance profile or provider, or of a customer's policy.
    pub fn resource_tags(&self, arn: &str) -> BTreeMap<String, String> {
        let Some((account, resource)) = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(':')) else {
            return BTreeMap::new();
        };
        let name = resource.rsplit('/').next().unwrap_or_default();
        self.look(account, |picture| match resource.split('/').next().unwrap_or_default() {
            "user" => picture.user(name).map(|user| user.tags.clone()).unwrap_or_default(),
            "role" => picture.role(name).map(|role| role.tags.clone()).unwrap_or_default(),
            "instance-profile" => picture.profile(name).map(|profile| profile.tags.clone()).unwrap_or_default(),
            "oidc-provider" => {
                picture.oidc_provider(account, arn).map(|provider| provider.tags.clone()).unwrap_or_default()
            }
            "policy" => picture.policy(account, arn).map(|policy| policy.tags.clone()).unwrap_or_default(),
            _ => BTreeMap::new(),
        })
    }

    /// The ARN of the permissions boundary of a `user` or `role` by its name.
    pub fn boundary_of(&self, account: &str, kind: &str, name: &str) -> Option<String> {
        self.look(account, |picture| match kind {
            "user" => picture.user(name).ok().and_then(|user| user.boundary.clone()),
            "role" => picture.role(name).ok().and_then(|role| role.boundary.clone()),
            _ => None,
        })
    }

    /// The ARN of a `user`, `group`, `role` or `instance-profile` by its name.
    pub fn arn_of(&self, account: &str, kind: &str, name: &str) -> Option<String> {
        self.look(account, |picture| match kind {
            "user" => picture.user(name).ok().map(|user| user.arn(account)),
            "group" => picture.group(name).ok().map(|group| group.arn(account)),
            "role" => picture.role(name).ok().map(|role| role.arn(account)),
            "instance-profile" => picture.profile(name).ok().map(|profile| profile.arn(account)),
            _ => None,
        })
    }
}
