//! How the value of a secret is referred to: `ARN[:JSON-KEY:STAGE:VERSION]`, the form of `secrets[].valueFrom`.

/// A value of a secret, or one member of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReference {
    /// The ARN of the secret, with or without its suffix.
    pub secret: String,
    /// The member, when the value is a JSON object of which one member is meant.
    pub json_key: Option<String>,
    /// The stage; the current version when there is neither this nor a version.
    pub stage: Option<String>,
    /// The version.
    pub version: Option<String>,
}

/// The text is not such a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reference of the form arn:aws:secretsmanager:region:account:secret:name[:json-key:version-stage:version-id]"
)]
pub struct NotAReference;

impl std::str::FromStr for SecretReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let parts: Vec<&str> = text.split(':').collect();
        let (arn, rest) = parts.split_at_checked(7).ok_or(NotAReference)?;
        if !matches!(arn, ["arn", _, "secretsmanager", _, _, "secret", name] if !name.is_empty()) {
            return Err(NotAReference);
        }
        let given = |part: &&str| Some(*part).filter(|part| !part.is_empty()).map(str::to_owned);
        let (json_key, stage, version) = match rest {
            [] => (None, None, None),
            [key, stage, version] => (given(key), given(stage), given(version)),
            _ => return Err(NotAReference),
        };
        Ok(Self { secret: arn.join(":"), json_key, stage, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:prod/db-AbCdEf";

    #[test]
    fn a_reference_has_three_parts_after_the_arn_or_none() {
        let reference = |key: Option<&str>, stage: Option<&str>, version: Option<&str>| {
            let owned = |part: Option<&str>| part.map(str::to_owned);
            let secret = ARN.to_owned();
            Ok(SecretReference { secret, json_key: owned(key), stage: owned(stage), version: owned(version) })
        };
        for (rest, expected) in [
            ("", reference(None, None, None)),
            (":password::", reference(Some("password"), None, None)),
            (":password:AWSPREVIOUS:", reference(Some("password"), Some("AWSPREVIOUS"), None)),
            (":::v1", reference(None, None, Some("v1"))),
            (":password", Err(NotAReference)),
            (":a:b:c:d", Err(NotAReference)),
        ] {
            assert_eq!(format!("{ARN}{rest}").parse(), expected, "{rest}");
        }
        for text in ["", "db", "arn:aws:ssm:us-east-1:000000000000:parameter/x", "arn:aws:secretsmanager:r:a:secret:"] {
            assert_eq!(text.parse::<SecretReference>(), Err(NotAReference), "{text}");
        }
    }
}
