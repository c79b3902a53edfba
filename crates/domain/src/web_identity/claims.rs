//! What the claims of a token say to whoever has seen that they are its issuer's: who it is for, whether it counts now,
//! and the condition keys, session tags and source identity that follow from it.
//!
//! A claim that decides something is read by its exact name. Condition keys know no case: a claim whose name differs
//! from another's, or from one of those, in case alone becomes no key.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::tags::Tags;

/// How far the clocks of issuer and server may be apart.
const SKEW_SECONDS: i64 = 60;
/// Letters in a subject.
const SUBJECT_LENGTH_MAX: usize = 255;
/// Dates further away are nonsense, and no calculation should overflow with one.
const SECONDS_MAX: i64 = 1 << 50;
/// Session tags: an object, or the same flattened into claims below this name.
const TAGS: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
/// Claims that become no condition keys, or keys of another name or making.
const NOT_KEYS: [&str; 10] = ["iss", "sub", "aud", "oaud", "azp", "amr", "exp", "nbf", "iat", SOURCE_IDENTITY];

/// The provider that an account registered for the issuer.
#[derive(Debug, Clone, Copy)]
pub struct Provider<'a> {
    /// As in its ARN.
    pub name: &'a str,
    /// For whom its tokens count.
    pub client_ids: &'a [String],
}

/// Who came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebIdentity {
    /// What the issuer calls them.
    pub subject: String,
    /// The one of the provider's client ids that the token is for.
    pub audience: String,
    /// Condition keys and their values.
    pub keys: Vec<(String, String)>,
    /// Tags of the session.
    pub tags: BTreeMap<String, String>,
    /// Those that go on to the sessions this one begins.
    pub transitive_tag_keys: Vec<String>,
    /// `aws:SourceIdentity`
    pub source_identity: Option<String>,
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Every token must have it.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// It is of another type than it must be, or out of its range.
    #[error("the claim {0} is malformed")]
    Malformed(&'static str),
    /// It is for somebody else.
    #[error("the token is for none of the provider's client ids")]
    Audience,
    /// It does not count any more. Seconds since the epoch.
    #[error("the token expired at {expired_at}, now is {now}")]
    Expired {
        /// When it was looked at.
        now: i64,
        /// Its `exp`.
        expired_at: i64,
    },
    /// It does not count yet, or is said to be issued in the future.
    #[error("the claim {0} is in the future")]
    Future(&'static str),
    /// What it says about the session is nothing that a session can have.
    #[error("the claim {0} is not usable")]
    Rejected(&'static str),
}

/// Reads the claims of a token of `provider`'s issuer. `now`: seconds since the epoch.
///
/// # Errors
/// The first [`Refusal`].
pub fn read(now: i64, provider: &Provider<'_>, claims: &Map<String, Value>) -> Result<WebIdentity, Refusal> {
    let subject = match claims.get("sub") {
        None | Some(Value::Null) => return Err(Refusal::Missing("sub")),
        Some(Value::String(text)) if (1..=SUBJECT_LENGTH_MAX).contains(&text.chars().count()) => text.clone(),
        Some(_) => return Err(Refusal::Malformed("sub")),
    };
    let audiences = audiences(claims)?;
    check_times(now, claims)?;
    let accepted: Vec<&str> = audiences.whom().filter(|id| provider.client_ids.iter().any(|own| own == id)).collect();
    let audience = (*accepted.first().ok_or(Refusal::Audience)?).to_owned();
    let (tags, transitive_tag_keys) = session_tags(claims)?;
    let source_identity = source_identity(claims)?;

    let mut keys = vec![(format!("{}:sub", provider.name), subject.clone())];
    let mut add = |claim: &str, value: &str| keys.push((format!("{}:{claim}", provider.name), value.to_owned()));
    accepted.iter().for_each(|id| add("aud", id));
    if let Some(party) = audiences.party {
        add("azp", party);
        audiences.listed.iter().for_each(|id| add("oaud", id));
    }
    texts(claims.get("amr")).iter().for_each(|method| add("amr", method));
    for (claim, value) in further(claims) {
        texts(Some(value)).iter().for_each(|text| add(claim, text));
    }
    Ok(WebIdentity { subject, audience, keys, tags, transitive_tag_keys, source_identity })
}

/// Whom a token is for.
struct Audiences<'a> {
    listed: Vec<&'a str>,
    party: Option<&'a str>,
}

impl<'a> Audiences<'a> {
    /// The party that a token was issued to stands for its audience, as with the real service.
    fn whom(&self) -> impl Iterator<Item = &'a str> {
        let listed = if self.party.is_some() { &[][..] } else { &self.listed };
        self.party.into_iter().chain(listed.iter().copied())
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Audiences<'_>, Refusal> {
    let listed = match claims.get("aud") {
        None | Some(Value::Null) => return Err(Refusal::Missing("aud")),
        Some(Value::String(one)) => vec![&**one],
        Some(Value::Array(several)) => {
            let texts: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
            texts.ok_or(Refusal::Malformed("aud"))?
        }
        Some(_) => return Err(Refusal::Malformed("aud")),
    };
    let party = match claims.get("azp") {
        None | Some(Value::Null) => None,
        Some(Value::String(party)) => Some(&**party),
        Some(_) => return Err(Refusal::Malformed("azp")),
    };
    Ok(Audiences { listed, party })
}

fn check_times(now: i64, claims: &Map<String, Value>) -> Result<(), Refusal> {
    let expired_at = seconds(claims, "exp")?.ok_or(Refusal::Missing("exp"))?;
    let issued_at = seconds(claims, "iat")?.ok_or(Refusal::Missing("iat"))?;
    let counts_from = seconds(claims, "nbf")?;
    if now >= expired_at + SKEW_SECONDS {
        return Err(Refusal::Expired { now, expired_at });
    }
    if issued_at > now + SKEW_SECONDS {
        return Err(Refusal::Future("iat"));
    }
    if counts_from.is_some_and(|from| from > now + SKEW_SECONDS) {
        return Err(Refusal::Future("nbf"));
    }
    Ok(())
}

/// A date of a token, without its fraction.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Refusal> {
    let value = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    // A conversion to an integer saturates.
    let whole = value.as_i64().or_else(|| value.as_f64().map(|number| number as i64));
    let usable = whole.filter(|whole| (0..=SECONDS_MAX).contains(whole));
    usable.map(Some).ok_or(Refusal::Malformed(name))
}

/// The claims that are keys of their own name.
fn further(claims: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for claim in claims.keys() {
        *times.entry(claim.to_lowercase()).or_default() += 1;
    }
    let is_key = move |claim: &str| {
        let lower = claim.to_lowercase();
        times.get(&lower) == Some(&1) && !NOT_KEYS.contains(&&*lower) && !lower.starts_with(TAGS)
    };
    claims.iter().map(|(claim, value)| (&**claim, value)).filter(move |(claim, _)| is_key(claim))
}

/// The texts of a scalar or of a list of scalars; what is nested has none.
fn texts(value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Some(Value::Array(several)) => several.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The tags of the session, and the transitive ones among their keys.
fn session_tags(claims: &Map<String, Value>) -> Result<(BTreeMap<String, String>, Vec<String>), Refusal> {
    let rejected = || Refusal::Rejected(TAGS);
    let mut tags: Vec<(&str, &Value)> = Vec::new();
    let mut transitive: Vec<&Value> = Vec::new();
    for (claim, value) in claims {
        let Some(below) = claim.strip_prefix(TAGS) else { continue };
        match (below, below.strip_prefix("/principal_tags/")) {
            ("", _) => {
                let object = value.as_object().ok_or_else(rejected)?;
                let nested = object.get("principal_tags").map(|tags| tags.as_object().ok_or_else(rejected));
                tags.extend(nested.transpose()?.into_iter().flatten().map(|(key, value)| (&**key, value)));
                transitive.extend(object.get("transitive_tag_keys"));
            }
            ("/transitive_tag_keys", _) => transitive.push(value),
            (_, Some(key)) => tags.push((key, value)),
            _ => return Err(rejected()),
        }
    }
    let pairs: Option<Vec<(Option<&str>, Option<&str>)>> =
        tags.into_iter().map(|(key, value)| Some((Some(key), Some(tag_value(value)?)))).collect();
    let tags: BTreeMap<String, String> = Tags::parse(pairs.ok_or_else(rejected)?).map_err(|_| rejected())?.into();
    let mut keys = BTreeSet::new();
    for value in transitive {
        for key in value.as_array().ok_or_else(rejected)? {
            let key = key.as_str().filter(|key| tags.contains_key(*key)).ok_or_else(rejected)?;
            keys.insert(key.to_owned());
        }
    }
    Ok((tags, keys.into_iter().collect()))
}

/// A tag has one value, alone or in a list.
fn tag_value(value: &Value) -> Option<&str> {
    match value {
        Value::Array(several) => several.first().filter(|_| several.len() == 1)?.as_str(),
        value => value.as_str(),
    }
}

fn source_identity(claims: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    let is_identity = |text: &str| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
        (2..=64).contains(&text.len()) && text.chars().all(letters)
    };
    match claims.get(SOURCE_IDENTITY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_identity(text) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Rejected(SOURCE_IDENTITY)),
    }
}

#[cfg(test)]
mod tests;
