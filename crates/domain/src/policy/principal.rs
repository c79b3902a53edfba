//! Who calls, and the principals that policies name.

use std::{borrow::Cow, collections::BTreeMap};

use super::error::Problem;
use crate::arn::is_account;

/// The principal behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who it is.
    pub identity: Identity,
    /// `aws:PrincipalTag/…`: the tags of the user, or of the role with those of the session above them.
    pub tags: BTreeMap<String, String>,
}

/// The kinds of principals, each with what its policies and condition keys need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account itself.
    Root {
        /// Twelve digits.
        account: String,
    },
    /// A user.
    User {
        /// `arn:aws:iam::ACCOUNT:user/PATH/NAME`
        arn: String,
        /// `AIDA…`
        id: String,
    },
    /// A role, by way of a session.
    RoleSession {
        /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`
        arn: String,
        /// `arn:aws:iam::ACCOUNT:role/PATH/ROLE`
        role_arn: String,
        /// `AROA…:SESSION`
        id: String,
    },
    /// A session that GetFederationToken began.
    FederatedUser {
        /// `arn:aws:sts::ACCOUNT:federated-user/NAME`
        arn: String,
    },
    /// Somebody an identity provider vouches for, who is about to assume a role.
    WebIdentity {
        /// `arn:aws:iam::ACCOUNT:oidc-provider/HOST`, or a well-known provider's host.
        provider: String,
        /// What the provider calls them.
        subject: String,
    },
    /// A service on its own behalf.
    Service {
        /// For instance `ecs-tasks.amazonaws.com`.
        name: String,
    },
    /// Nobody.
    Anonymous,
}

impl Principal {
    /// A principal without tags.
    pub fn new(identity: Identity) -> Self {
        Self { identity, tags: BTreeMap::new() }
    }

    /// The root of `account`.
    pub fn root(account: impl Into<String>) -> Self {
        Self::new(Identity::Root { account: account.into() })
    }

    /// The account it belongs to; services and strangers have none.
    pub fn account(&self) -> Option<&str> {
        match &self.identity {
            Identity::Root { account } => Some(account),
            Identity::User { arn, .. } | Identity::RoleSession { arn, .. } | Identity::FederatedUser { arn } => {
                account_of(arn)
            }
            Identity::WebIdentity { .. } | Identity::Service { .. } | Identity::Anonymous => None,
        }
    }

    /// What messages call it: its ARN, for a role's session the session's.
    pub fn arn(&self) -> Cow<'_, str> {
        match &self.identity {
            Identity::Root { account } => format!("arn:aws:iam::{account}:root").into(),
            Identity::User { arn, .. } | Identity::RoleSession { arn, .. } | Identity::FederatedUser { arn } => {
                arn.into()
            }
            Identity::WebIdentity { provider, subject } => format!("{provider}:{subject}").into(),
            Identity::Service { name } => name.into(),
            Identity::Anonymous => "anonymous".into(),
        }
    }

    /// Whether it is the root of the account.
    pub fn is_root(&self) -> bool {
        matches!(self.identity, Identity::Root { .. })
    }

    /// `aws:PrincipalArn`: as [`Self::arn`], but for a session its role.
    pub(super) fn principal_arn(&self) -> Option<Cow<'_, str>> {
        match &self.identity {
            Identity::RoleSession { role_arn, .. } => Some(role_arn.into()),
            Identity::Root { .. } | Identity::User { .. } | Identity::FederatedUser { .. } => Some(self.arn()),
            Identity::WebIdentity { .. } | Identity::Service { .. } | Identity::Anonymous => None,
        }
    }

    /// `aws:PrincipalType`
    pub(super) fn principal_type(&self) -> Option<&'static str> {
        match &self.identity {
            Identity::Root { .. } => Some("Account"),
            Identity::User { .. } => Some("User"),
            Identity::RoleSession { .. } => Some("AssumedRole"),
            Identity::FederatedUser { .. } | Identity::WebIdentity { .. } => Some("FederatedUser"),
            Identity::Service { .. } => None,
            Identity::Anonymous => Some("Anonymous"),
        }
    }

    /// `aws:userid`
    pub(super) fn user_id(&self) -> Option<Cow<'_, str>> {
        match &self.identity {
            Identity::Root { account } => Some(account.into()),
            Identity::User { id, .. } | Identity::RoleSession { id, .. } => Some(id.into()),
            Identity::FederatedUser { arn } => Some(format!("{}:{}", account_of(arn)?, arn.rsplit_once('/')?.1).into()),
            Identity::WebIdentity { .. } | Identity::Service { .. } | Identity::Anonymous => None,
        }
    }

    /// `aws:username`
    pub(super) fn user_name(&self) -> Option<&str> {
        let Identity::User { arn, .. } = &self.identity else { return None };
        arn.rsplit_once('/').map(|(_, name)| name)
    }
}

fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

/// How a statement came to mean a principal; a later one counts for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grantee {
    /// By its account: left to the account's own policies.
    Account,
    /// By the role of its session.
    Role,
    /// By itself, or as anybody.
    Direct,
}

/// A principal as a policy names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrincipalPattern {
    /// `*`: anybody.
    Anyone,
    /// Everybody in an account: its number, or the ARN of its root.
    Account(String),
    /// The ARN of a user, a role, or a session of one.
    Arn(String),
    /// `AIDA…` or `AROA…`: a user or role whatever it is called now.
    UniqueId(String),
    /// A service.
    Service(String),
    /// An identity provider.
    Federated(String),
}

impl PrincipalPattern {
    /// A value of `Principal: {TYPE: …}`.
    pub(super) fn parse(kind: &str, text: &str) -> Result<Self, Problem> {
        let plain = !text.is_empty() && !text.contains(['*', '?']);
        let pattern = match kind {
            "AWS" if text == "*" => Some(Self::Anyone),
            "AWS" => aws(text),
            "Service" => {
                (plain && text.contains('.') && !text.contains([':', '/'])).then(|| Self::Service(text.to_owned()))
            }
            "Federated" => plain.then(|| Self::Federated(text.to_owned())),
            _ => return Err(Problem::PrincipalType(kind.to_owned())),
        };
        pattern.ok_or_else(|| Problem::Principal(text.to_owned()))
    }

    /// How this names `principal`, if it does.
    pub(super) fn grantee(&self, principal: &Principal) -> Option<Grantee> {
        let grantee = match (self, &principal.identity) {
            (Self::Anyone, _) => Grantee::Direct,
            (Self::Account(account), _) if principal.account() == Some(account) => Grantee::Account,
            (Self::Arn(named), Identity::User { arn, .. } | Identity::FederatedUser { arn }) if named == arn => {
                Grantee::Direct
            }
            (Self::Arn(named), Identity::RoleSession { arn, .. }) if named == arn => Grantee::Direct,
            (Self::Arn(named), Identity::RoleSession { role_arn, .. }) if named == role_arn => Grantee::Role,
            (Self::UniqueId(named), Identity::User { id, .. }) if named == id => Grantee::Direct,
            (Self::UniqueId(named), Identity::RoleSession { id, .. })
                if Some(named.as_str()) == id.split(':').next() =>
            {
                Grantee::Role
            }
            (Self::Service(named), Identity::Service { name }) if named == name => Grantee::Direct,
            (Self::Federated(named), Identity::WebIdentity { provider, .. }) if is_provider(named, provider) => {
                Grantee::Direct
            }
            _ => return None,
        };
        Some(grantee)
    }
}

/// Whether `named`, an ARN or a host, is the provider.
fn is_provider(named: &str, provider: &str) -> bool {
    let host = |text: &str| text.split_once(":oidc-provider/").map_or(text.to_owned(), |(_, host)| host.to_owned());
    named == provider || (!named.starts_with("arn:") && named == host(provider))
}

fn aws(text: &str) -> Option<PrincipalPattern> {
    if is_account(text) {
        return Some(PrincipalPattern::Account(text.to_owned()));
    }
    let is_id = |text: &str| text.len() >= 16 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if (text.starts_with("AIDA") || text.starts_with("AROA")) && is_id(text) {
        return Some(PrincipalPattern::UniqueId(text.to_owned()));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts[..] else { return None };
    if !partition.starts_with("aws") || !is_account(account) || text.contains(['*', '?']) {
        return None;
    }
    let named =
        |prefix: &str| resource.strip_prefix(prefix).is_some_and(|name| !name.is_empty() && !name.ends_with('/'));
    match service {
        "iam" if resource == "root" => Some(PrincipalPattern::Account(account.to_owned())),
        "iam" if named("user/") || named("role/") => Some(PrincipalPattern::Arn(text.to_owned())),
        "sts" if named("federated-user/") => Some(PrincipalPattern::Arn(text.to_owned())),
        "sts" if named("assumed-role/") && resource.matches('/').count() == 2 => {
            Some(PrincipalPattern::Arn(text.to_owned()))
        }
        _ => None,
    }
}

/// `Principal` or `NotPrincipal` of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Principals {
    /// `NotPrincipal`
    pub(super) not: bool,
    pub(super) patterns: Vec<PrincipalPattern>,
}

impl Principals {
    /// How the statement means `principal`, if it does.
    pub(super) fn grantee(&self, principal: &Principal) -> Option<Grantee> {
        if self.not {
            return (!self.lists_every_form_of(principal)).then_some(Grantee::Direct);
        }
        self.patterns.iter().filter_map(|pattern| pattern.grantee(principal)).max()
    }

    /// A `NotPrincipal` spares whom it lists, and a principal is its account, its role and its session at once: one
    /// form left out, and the statement still hits it.
    fn lists_every_form_of(&self, principal: &Principal) -> bool {
        if self.patterns.contains(&PrincipalPattern::Anyone) {
            return true;
        }
        let lists = |grantee| self.patterns.iter().any(|pattern| pattern.grantee(principal) == Some(grantee));
        match &principal.identity {
            Identity::Root { .. } => lists(Grantee::Account),
            Identity::User { .. } | Identity::FederatedUser { .. } => lists(Grantee::Direct) && lists(Grantee::Account),
            Identity::RoleSession { .. } => lists(Grantee::Direct) && lists(Grantee::Role) && lists(Grantee::Account),
            Identity::WebIdentity { .. } | Identity::Service { .. } => lists(Grantee::Direct),
            Identity::Anonymous => false,
        }
    }
}
