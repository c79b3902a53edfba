//! IAM in memory, indexed for the questions that every request asks. The store's watch keeps it current.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gantry_store::{Event, Model, Revision};

use super::aws_managed::{self, AwsManaged};
use super::fault;
use super::rows::{Group, InstanceProfile, OidcProvider, PREFIX, Policy, Role, Row, User};
use gantry_api::Fault;

/// All accounts.
#[derive(Default)]
pub(crate) struct Picture {
    accounts: HashMap<String, Account>,
    /// Access key → account and user, both as in the rows' keys.
    keys: HashMap<String, (String, String)>,
    /// Counts the changes that this picture has seen: what was computed from it is good while this stays.
    pub(crate) generation: u64,
}

/// One account. The maps are by name in lower case.
#[derive(Default)]
pub(crate) struct Account {
    /// The revision of its last change.
    pub(super) epoch: Revision,
    pub(crate) users: BTreeMap<String, Arc<User>>,
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) roles: BTreeMap<String, Arc<Role>>,
    pub(crate) policies: BTreeMap<String, Arc<Policy>>,
    pub(crate) profiles: BTreeMap<String, Arc<InstanceProfile>>,
    pub(crate) oidc_providers: BTreeMap<String, Arc<OidcProvider>>,
}

/// A managed policy of either owner.
pub(crate) enum Managed<'a> {
    Customer(&'a Arc<Policy>),
    Aws(&'static AwsManaged),
}

impl Managed<'_> {
    /// The document in force.
    pub(crate) fn document(&self) -> &str {
        match self {
            Managed::Customer(policy) => policy.document(),
            Managed::Aws(policy) => &policy.document,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Managed::Customer(policy) => &policy.name,
            Managed::Aws(policy) => policy.name(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Managed::Customer(policy) => &policy.path,
            Managed::Aws(policy) => policy.path(),
        }
    }
}

impl Picture {
    /// The account; nothing when it has never had anything.
    pub(crate) fn account(&self, account: &str) -> Option<&Account> {
        self.accounts.get(account)
    }

    /// The account and user of a long-term key.
    pub(crate) fn key_owner(&self, access_key_id: &str) -> Option<(&str, &Arc<User>)> {
        let (account, user) = self.keys.get(access_key_id)?;
        Some((account, self.accounts.get(account)?.users.get(user)?))
    }

    fn change(&mut self, account: &str, kind: &str, name: &str, event: &Event) {
        let entry = self.accounts.entry(account.to_owned()).or_default();
        match kind {
            "users" => {
                for key in entry.users.get(name).into_iter().flat_map(|user| &user.keys) {
                    self.keys.remove(&key.id);
                }
                set(&mut entry.users, name, event);
                for key in entry.users.get(name).into_iter().flat_map(|user| &user.keys) {
                    self.keys.insert(key.id.clone(), (account.to_owned(), name.to_owned()));
                }
            }
            "groups" => set(&mut entry.groups, name, event),
            "roles" => set(&mut entry.roles, name, event),
            "policies" => set(&mut entry.policies, name, event),
            "instance-profiles" => set(&mut entry.profiles, name, event),
            "oidc-providers" => set(&mut entry.oidc_providers, name, event),
            _ => {}
        }
    }
}

impl Model for Picture {
    fn apply(&mut self, event: &Event) {
        let Some((account, rest)) = event.key().strip_prefix(PREFIX).and_then(|key| key.split_once('/')) else {
            return;
        };
        self.generation += 1;
        match (rest.split_once('/'), event) {
            (Some((kind, name)), event) => self.change(account, kind, name, event),
            (None, Event::Put(kv)) if rest == "epoch" => {
                self.accounts.entry(account.to_owned()).or_default().epoch = kv.mod_revision;
            }
            (None, _) => {}
        }
    }
}

fn set<R: Row>(rows: &mut BTreeMap<String, Arc<R>>, name: &str, event: &Event) {
    let row = match event {
        Event::Put(kv) => serde_json::from_slice::<R>(&kv.value)
            .inspect_err(|error| tracing::error!(key = &*kv.key, %error, "cannot read what IAM keeps"))
            .ok(),
        Event::Delete { .. } => None,
    };
    match row {
        Some(row) => rows.insert(name.to_owned(), Arc::new(row)),
        None => rows.remove(name),
    };
}

/// Look-ups with the fault that says what is missing.
impl Account {
    pub(super) fn user(&self, name: &str) -> Result<&Arc<User>, Fault> {
        self.users.get(&name.to_lowercase()).ok_or_else(|| fault::no_user(name))
    }

    pub(super) fn group(&self, name: &str) -> Result<&Arc<Group>, Fault> {
        self.groups.get(&name.to_lowercase()).ok_or_else(|| fault::no_group(name))
    }

    pub(super) fn role(&self, name: &str) -> Result<&Arc<Role>, Fault> {
        self.roles.get(&name.to_lowercase()).ok_or_else(|| fault::no_role(name))
    }

    pub(super) fn profile(&self, name: &str) -> Result<&Arc<InstanceProfile>, Fault> {
        self.profiles.get(&name.to_lowercase()).ok_or_else(|| fault::no_profile(name))
    }

    /// The provider `arn`, which is told exactly.
    pub(super) fn oidc_provider(&self, account: &str, arn: &str) -> Result<&Arc<OidcProvider>, Fault> {
        let name = arn.split_once(":oidc-provider/").map_or("", |(_, name)| name);
        let found = self.oidc_providers.get(&name.to_lowercase()).filter(|provider| provider.arn(account) == arn);
        found.ok_or_else(|| fault::no_provider(arn))
    }

    /// The customer's own policy `arn`.
    pub(super) fn policy(&self, account: &str, arn: &str) -> Option<&Arc<Policy>> {
        let resource = arn.strip_prefix("arn:aws:iam::")?.strip_prefix(account)?.strip_prefix(":policy/")?;
        let name = resource.rsplit('/').next()?;
        self.policies.get(&name.to_lowercase()).filter(|policy| policy.arn(account) == arn)
    }

    /// The managed policy `arn` of either owner.
    pub(crate) fn managed(&self, account: &str, arn: &str) -> Option<Managed<'_>> {
        match aws_managed::find(arn) {
            Some(policy) => Some(Managed::Aws(policy)),
            None => self.policy(account, arn).map(Managed::Customer),
        }
    }

    /// How many users, groups and roles have the policy attached, and how many have it as their boundary.
    pub(super) fn uses(&self, arn: &str) -> (usize, usize) {
        let grants = (self.users.values().map(|user| &user.grants))
            .chain(self.groups.values().map(|group| &group.grants))
            .chain(self.roles.values().map(|role| &role.grants));
        let boundaries =
            (self.users.values().map(|user| &user.boundary)).chain(self.roles.values().map(|role| &role.boundary));
        (
            grants.filter(|grants| grants.attached.contains(arn)).count(),
            boundaries.filter(|boundary| boundary.as_deref() == Some(arn)).count(),
        )
    }
}
