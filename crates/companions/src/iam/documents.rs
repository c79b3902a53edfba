//! Policy documents: held against the grammar when they come in, percent-encoded when they go out, and the principals
//! of trust policies remembered by their ids.

use std::collections::BTreeMap;

use gantry_api::Fault;
use gantry_domain::policy::{Document, Kind, PolicyError, PrincipalPattern, Problem, significant_length};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::fault;
use super::picture::Account;
use super::rows::Role;

/// Characters a managed policy may have.
const MANAGED_LENGTH_MAX: usize = 6144;
/// Characters a trust policy may have.
const TRUST_LENGTH_MAX: usize = 4096;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A document as answers carry it.
pub(super) fn encode(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// Checks an inline policy.
pub(super) fn check_identity(text: &str) -> Result<(), Fault> {
    Document::parse(text, Kind::Identity).map(|_| ()).map_err(|error| refused(&error))
}

/// Checks a managed policy.
pub(super) fn check_managed(text: &str) -> Result<(), Fault> {
    check_identity(text)?;
    if significant_length(text) > MANAGED_LENGTH_MAX {
        return Err(fault::quota("PolicySize", MANAGED_LENGTH_MAX));
    }
    Ok(())
}

/// Checks a trust policy.
pub(super) fn check_trust(text: &str) -> Result<(), Fault> {
    Document::parse(text, Kind::Trust).map_err(|error| refused(&error))?;
    if significant_length(text) > TRUST_LENGTH_MAX {
        return Err(fault::quota("ACLSizePerRole", TRUST_LENGTH_MAX));
    }
    Ok(())
}

/// The users and roles of this account that a trust policy names, with their ids.
pub(super) fn trusted_ids(picture: &Account, account: &str, trust: &str) -> Result<BTreeMap<String, String>, Fault> {
    let mut ids = BTreeMap::new();
    for arn in named_principals(trust) {
        match picture.id_of(account, &arn) {
            Some(id) => ids.insert(arn, id),
            None => return Err(fault::malformed(format!("Invalid principal in policy: \"AWS\":\"{arn}\""))),
        };
    }
    Ok(ids)
}

impl Account {
    /// The trust policy of a role as it is to be read now: users and roles that are gone, or were made again, stand
    /// there with the id they had.
    pub(super) fn trust(&self, account: &str, role: &Role) -> String {
        let gone = role.trusted_ids.iter().filter(|(arn, id)| self.id_of(account, arn).as_ref() != Some(*id));
        gone.fold(role.trust.clone(), |text, (arn, id)| text.replace(&format!("\"{arn}\""), &format!("\"{id}\"")))
    }

    /// The id of the user or role with this ARN.
    fn id_of(&self, account: &str, arn: &str) -> Option<String> {
        let resource = arn.strip_prefix("arn:aws:iam::")?.strip_prefix(account)?.strip_prefix(':')?;
        let name = resource.rsplit('/').next()?.to_lowercase();
        match resource.split('/').next()? {
            "user" => self.users.get(&name).filter(|user| user.arn(account) == arn).map(|user| user.id.clone()),
            "role" => self.roles.get(&name).filter(|role| role.arn(account) == arn).map(|role| role.id.clone()),
            _ => None,
        }
    }
}

/// The users and roles that a trust policy names by ARN, those of other accounts too.
fn named_principals(trust: &str) -> Vec<String> {
    let Ok(document) = Document::parse(trust, Kind::Trust) else { return Vec::new() };
    let arn = |pattern: &PrincipalPattern| match pattern {
        PrincipalPattern::Arn(arn) if !arn.starts_with("arn:aws:sts:") => Some(arn.clone()),
        _ => None,
    };
    document.principals().filter_map(arn).collect()
}

/// The service's sentence for a text that is not a policy.
fn refused(error: &PolicyError) -> Fault {
    fault::malformed(match &error.problem {
        Problem::NotJson(_) | Problem::TooLong(_) => "This policy contains invalid Json".to_owned(),
        Problem::Missing("Action") => "Policy statement must contain actions.".to_owned(),
        Problem::Missing("Resource") => "Policy statement must contain resources.".to_owned(),
        Problem::Missing("Principal") => "Missing required field Principal".to_owned(),
        Problem::Forbidden("Principal" | "NotPrincipal") => {
            "Policy document should not specify a principal.".to_owned()
        }
        Problem::Forbidden(field) => format!("Has prohibited field {field}"),
        Problem::Version(_) => "Policy document must be version 2012-10-17 or greater.".to_owned(),
        Problem::SidNotUnique(_) => "Statement IDs (SID) in a single policy must be unique.".to_owned(),
        Problem::Principal(principal) => format!("Invalid principal in policy: \"AWS\":\"{principal}\""),
        _ => format!("Syntax errors in policy: {error}"),
    })
}
