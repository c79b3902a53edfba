//! Users, groups and roles as holders of policies: inline ones and attached ones work the same way for all three.

use std::collections::BTreeSet;

use gantry_api::iam::AttachedPolicy;
use gantry_api::{Empty, Fault};
use gantry_domain::policy::significant_length;

use super::documents;
use super::paging::{Asked, Page};
use super::picture::Account;
use super::roles::check_modifiable;
use super::rows::{Grants, Group, Role, Row, User};
use super::{Iam, fault};

/// Managed policies that one holder may have attached.
const ATTACHED_MAX: usize = 20;

/// What has policies.
pub(super) trait Holder: Row + Clone {
    /// In messages, for example `role`.
    const NOUN: &'static str;
    /// Characters that its inline policies may have together.
    const INLINE_LENGTH_MAX: usize;
    /// The one with this name.
    fn find<'a>(picture: &'a Account, name: &str) -> Result<&'a Self, Fault>;
    /// Its policies.
    fn grants(&self) -> &Grants;
    /// Its policies, to be changed.
    fn grants_mut(&mut self) -> &mut Grants;
    /// Whether users may change it.
    fn check_modifiable(&self) -> Result<(), Fault> {
        Ok(())
    }
}

macro_rules! holder {
    ($row:ident, $noun:literal, $most:literal, $find:ident $(, $check:expr)?) => {
        impl Holder for $row {
            const NOUN: &'static str = $noun;
            const INLINE_LENGTH_MAX: usize = $most;
            fn find<'a>(picture: &'a Account, name: &str) -> Result<&'a Self, Fault> {
                picture.$find(name).map(|row| &**row)
            }
            fn grants(&self) -> &Grants {
                &self.grants
            }
            fn grants_mut(&mut self) -> &mut Grants {
                &mut self.grants
            }
            $(fn check_modifiable(&self) -> Result<(), Fault> {
                $check(self)
            })?
        }
    };
}

holder!(User, "user", 2048, user);
holder!(Group, "group", 5120, group);
holder!(Role, "role", 10240, role, check_modifiable);

impl Iam {
    /// Changes the policies of a holder.
    async fn change_grants<H: Holder>(
        &self,
        account: &str,
        name: &str,
        change: impl Fn(&Account, &mut H) -> Result<(), Fault>,
    ) -> Result<Empty, Fault> {
        self.change(account, |picture, changes| {
            let before = H::find(picture, name)?;
            before.check_modifiable()?;
            let mut after = before.clone();
            change(picture, &mut after)?;
            if after.grants() != before.grants() {
                changes.put(&after);
            }
            Ok(Empty {})
        })
        .await
    }

    /// `Put…Policy`.
    pub(super) async fn put_inline<H: Holder>(
        &self,
        account: &str,
        name: &str,
        policy: &str,
        document: &str,
    ) -> Result<Empty, Fault> {
        documents::check_identity(document)?;
        self.change_grants::<H>(account, name, |_, holder| {
            holder.grants_mut().inline.insert(policy.to_owned(), document.to_owned());
            let length: usize = holder.grants().inline.values().map(|document| significant_length(document)).sum();
            if length > H::INLINE_LENGTH_MAX {
                return Err(fault::inline_too_long(H::NOUN, holder.name(), H::INLINE_LENGTH_MAX));
            }
            Ok(())
        })
        .await
    }

    /// `Get…Policy`: the holder's name as it was made, and the document as answers carry it.
    pub(super) fn get_inline<H: Holder>(
        &self,
        account: &str,
        name: &str,
        policy: &str,
    ) -> Result<(String, String), Fault> {
        self.look(account, |picture| {
            let holder = H::find(picture, name)?;
            let document = holder.grants().inline.get(policy);
            let document = document.ok_or_else(|| fault::no_inline_policy(H::NOUN, policy))?;
            Ok((holder.name().to_owned(), documents::encode(document)))
        })
    }

    /// `Delete…Policy`.
    pub(super) async fn delete_inline<H: Holder>(
        &self,
        account: &str,
        name: &str,
        policy: &str,
    ) -> Result<Empty, Fault> {
        self.change_grants::<H>(account, name, |_, holder| {
            let removed = holder.grants_mut().inline.remove(policy);
            removed.map(|_| ()).ok_or_else(|| fault::no_inline_policy(H::NOUN, policy))
        })
        .await
    }

    /// `List…Policies`.
    pub(super) fn list_inline<H: Holder>(
        &self,
        account: &str,
        name: &str,
        asked: Asked,
    ) -> Result<Page<String>, Fault> {
        let question = format!("inline {} {account} {name}", H::KIND);
        self.look(account, |picture| {
            let names = H::find(picture, name)?.grants().inline.keys();
            asked.page(&question, names.map(|name| (name.clone(), name.clone())))
        })
    }

    /// `Attach…Policy`. Attaching what is attached is no mistake.
    pub(super) async fn attach<H: Holder>(&self, account: &str, name: &str, arn: &str) -> Result<Empty, Fault> {
        self.change_grants::<H>(account, name, |picture, holder| {
            if picture.managed(account, arn).is_none() {
                return Err(fault::not_attachable(arn));
            }
            let attached: &mut BTreeSet<String> = &mut holder.grants_mut().attached;
            attached.insert(arn.to_owned());
            if attached.len() > ATTACHED_MAX {
                return Err(fault::quota(&format!("PoliciesPer{}", capitalized(H::NOUN)), ATTACHED_MAX));
            }
            Ok(())
        })
        .await
    }

    /// `Detach…Policy`.
    pub(super) async fn detach<H: Holder>(&self, account: &str, name: &str, arn: &str) -> Result<Empty, Fault> {
        self.change_grants::<H>(account, name, |_, holder| {
            if holder.grants_mut().attached.remove(arn) { Ok(()) } else { Err(fault::not_attached(arn)) }
        })
        .await
    }

    /// `ListAttached…Policies`.
    pub(super) fn list_attached<H: Holder>(
        &self,
        account: &str,
        name: &str,
        path_prefix: Option<&str>,
        asked: Asked,
    ) -> Result<Page<AttachedPolicy>, Fault> {
        let prefix = path_prefix.unwrap_or("/");
        let question = format!("attached {} {account} {name} {prefix}", H::KIND);
        self.look(account, |picture| {
            let attached = H::find(picture, name)?.grants().attached.iter();
            let policies = attached.filter_map(|arn| Some((arn, picture.managed(account, arn)?)));
            let shown = policies.filter(|(_, policy)| policy.path().starts_with(prefix)).map(|(arn, policy)| {
                let name = Some(policy.name().to_owned());
                (arn.clone(), AttachedPolicy { policy_arn: Some(arn.clone()), policy_name: name })
            });
            asked.page(&question, shown)
        })
    }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
