//! The policies of a parameter: when it goes by itself.
//!
//! Of the three kinds, `Expiration` has effect. The two that only send notices are refused by name.

use serde::Deserialize;
use serde_json::Value;

use crate::Timestamp;
use crate::iso8601;

/// Policies that one parameter may have.
const POLICIES_MAX: usize = 10;

/// Why policies are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not a JSON array of policies.
    #[error("is not a list of policies")]
    Malformed,
    /// A kind that has no effect here, or that there is not.
    #[error("has a policy of type {0}")]
    Type(String),
    /// An attribute is missing or wrong.
    #[error("has a wrong {0}")]
    Attribute(&'static str),
    /// The same kind twice.
    #[error("has two policies of type {0}")]
    Twice(String),
    /// More than a parameter may have.
    #[error("has more than {POLICIES_MAX} policies")]
    TooMany,
}

/// A policy as it was given, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// JSON.
    pub text: String,
    /// `Expiration`.
    pub kind: String,
    /// When the parameter goes.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    r#type: Option<String>,
    version: Option<String>,
    attributes: Option<Value>,
}

/// Reads the policies of a request: `[{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"…"}}]`. An empty
/// list, or one of an empty policy, takes those away that there are.
///
/// # Errors
/// [`PolicyError`].
pub fn parse(text: &str, now: Timestamp) -> Result<Vec<Policy>, PolicyError> {
    let given: Vec<Value> = serde_json::from_str(text).map_err(|_| PolicyError::Malformed)?;
    if given.len() > POLICIES_MAX {
        return Err(PolicyError::TooMany);
    }
    let mut policies: Vec<Policy> = Vec::new();
    for value in given {
        if value.as_object().is_some_and(serde_json::Map::is_empty) {
            continue;
        }
        let policy = one(&value, now)?;
        if policies.iter().any(|other| other.kind == policy.kind) {
            return Err(PolicyError::Twice(policy.kind));
        }
        policies.push(policy);
    }
    Ok(policies)
}

fn one(value: &Value, now: Timestamp) -> Result<Policy, PolicyError> {
    let given: Given = serde_json::from_value(value.clone()).map_err(|_| PolicyError::Malformed)?;
    let kind = given.r#type.ok_or(PolicyError::Malformed)?;
    if kind != "Expiration" {
        return Err(PolicyError::Type(kind));
    }
    if given.version.as_deref() != Some("1.0") {
        return Err(PolicyError::Attribute("Version"));
    }
    let attributes = given.attributes.unwrap_or_default();
    let at = attributes.get("Timestamp").and_then(Value::as_str).and_then(iso8601::parse);
    let at = at.filter(|at| *at > now).ok_or(PolicyError::Attribute("Timestamp"))?;
    Ok(Policy { text: value.to_string(), kind, expires_at: at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_expires_when_its_policy_says() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let expiration =
            r#"{"Attributes":{"Timestamp":"2030-01-01T00:00:00.000Z"},"Type":"Expiration","Version":"1.0"}"#;
        let whole = format!("[{expiration}]");
        let policies = parse(&whole, now);
        let expected = Policy {
            text: expiration.to_owned(),
            kind: "Expiration".to_owned(),
            expires_at: Timestamp::from_seconds(1_893_456_000),
        };
        assert_eq!(policies, Ok(vec![expected]));
        assert_eq!(parse("[{}]", now), Ok(Vec::new()));
        assert_eq!(parse("[]", now), Ok(Vec::new()));
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let now = Timestamp::from_seconds(1_900_000_000);
        let of_type = |kind: &str| PolicyError::Type(kind.to_owned());
        for (text, error) in [
            ("nonsense", PolicyError::Malformed),
            ("{}", PolicyError::Malformed),
            (r#"[{"Version":"1.0"}]"#, PolicyError::Malformed),
            (r#"[{"Type":"NoChangeNotification","Version":"1.0","Attributes":{}}]"#, of_type("NoChangeNotification")),
            (r#"[{"Type":"Expiration","Version":"2.0"}]"#, PolicyError::Attribute("Version")),
            (r#"[{"Type":"Expiration","Version":"1.0"}]"#, PolicyError::Attribute("Timestamp")),
            (
                r#"[{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"2020-01-01T00:00:00Z"}}]"#,
                PolicyError::Attribute("Timestamp"),
            ),
        ] {
            assert_eq!(parse(text, now), Err(error), "{text}");
        }
    }
}
