//! How a parameter is referred to: by name or ARN, and with `:3` or `:label` a version of it.

/// What secrets of Secrets Manager are called when they are read as parameters.
const SECRET_PREFIX: &str = "/aws/reference/secretsmanager/";

/// A version that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By its number.
    Version(u64),
    /// By a label.
    Label(String),
}

/// Account and region of an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Twelve digits.
    pub account: String,
    /// For example `us-east-1`.
    pub region: String,
}

/// A parameter that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterReference {
    /// Where, when an ARN says so; then the name has no first slash.
    pub place: Option<Place>,
    /// As it was given, without selector.
    pub name: String,
    /// The version; the newest without.
    pub selector: Option<Selector>,
}

/// The text is not such a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reference of the form name[:version or label] or an ARN of a parameter")]
pub struct NotAReference;

impl ParameterReference {
    /// The part after the colon, as answers have it.
    pub fn selector_text(&self) -> Option<String> {
        self.selector.as_ref().map(|selector| match selector {
            Selector::Version(version) => format!(":{version}"),
            Selector::Label(label) => format!(":{label}"),
        })
    }
}

impl std::str::FromStr for ParameterReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let (place, rest) = match text.strip_prefix("arn:") {
            Some(arn) => {
                let parts: Vec<&str> = arn.splitn(5, ':').collect();
                let [_, "ssm", region, account, resource] = parts[..] else { return Err(NotAReference) };
                let name = resource.strip_prefix("parameter/").ok_or(NotAReference)?;
                (Some(Place { account: account.to_owned(), region: region.to_owned() }), name)
            }
            None => (None, text),
        };
        let (name, selector) = match rest.split_once(':') {
            None => (rest, None),
            Some((name, selector)) if !selector.is_empty() && !selector.contains(':') => (name, Some(selector)),
            Some(_) => return Err(NotAReference),
        };
        if name.is_empty() {
            return Err(NotAReference);
        }
        let selector = selector.map(|text| match text.parse() {
            Ok(version) => Selector::Version(version),
            Err(_) => Selector::Label(text.to_owned()),
        });
        Ok(Self { place, name: name.to_owned(), selector })
    }
}

/// The secret that a name of a parameter means; no secret for the names of parameters.
pub fn secret_of(name: &str) -> Option<&str> {
    name.strip_prefix(SECRET_PREFIX).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_or_an_arn_with_a_selector_or_without() {
        let plain = |name: &str, selector: Option<Selector>| {
            Ok(ParameterReference { place: None, name: name.to_owned(), selector })
        };
        let place = Some(Place { account: "000000000000".into(), region: "us-east-1".into() });
        let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/shop/db";
        for (text, expected) in [
            ("/shop/db", plain("/shop/db", None)),
            ("db:3", plain("db", Some(Selector::Version(3)))),
            ("db:prod", plain("db", Some(Selector::Label("prod".into())))),
            (arn, Ok(ParameterReference { place: place.clone(), name: "shop/db".into(), selector: None })),
            (
                &format!("{arn}:7"),
                Ok(ParameterReference { place, name: "shop/db".into(), selector: Some(Selector::Version(7)) }),
            ),
            ("db:", Err(NotAReference)),
            ("db:1:2", Err(NotAReference)),
            (":1", Err(NotAReference)),
            ("", Err(NotAReference)),
            ("arn:aws:ssm:us-east-1:000000000000:document/x", Err(NotAReference)),
            ("arn:aws:ssm", Err(NotAReference)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_read_as_parameters_below_their_own_path() {
        assert_eq!(secret_of("/aws/reference/secretsmanager/prod/db"), Some("prod/db"));
        assert_eq!(secret_of("/aws/reference/secretsmanager/"), None);
        assert_eq!(secret_of("/shop/db"), None);
    }
}
