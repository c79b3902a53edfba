//! `valueFrom`: where the value of a task's secret is.

use crate::parameter::reference::{ParameterReference, Place};
use crate::secret::reference::SecretReference;

/// A value that a task refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueFrom {
    /// Of Secrets Manager: the reference, which is asked for in its own region.
    Secret {
        /// As it was written.
        text: String,
        /// Its region.
        region: String,
    },
    /// Of Parameter Store.
    Parameter {
        /// What is asked for: a name, or an ARN as it was written.
        name: String,
        /// Where.
        region: String,
    },
}

/// Why a text refers to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueFromError {
    /// An ARN of Secrets Manager that is none.
    #[error(
        "an invalid ARN format for the AWS Secrets Manager secret was specified. Specify a valid ARN and try again."
    )]
    Secret,
    /// Another ARN that is none of a parameter, or a name that is none.
    #[error("an invalid ARN format for the SSM parameter was specified. Specify a valid ARN and try again.")]
    Parameter,
}

impl ValueFrom {
    /// Reads a `valueFrom` of a task in `region`.
    ///
    /// # Errors
    /// [`ValueFromError`].
    pub fn parse(text: &str, region: &str) -> Result<Self, ValueFromError> {
        if text.starts_with("arn:") && text.split(':').nth(2) == Some("secretsmanager") {
            let reference: SecretReference = text.parse().map_err(|_| ValueFromError::Secret)?;
            let region = reference.secret.split(':').nth(3).unwrap_or(region).to_owned();
            return Ok(Self::Secret { text: text.to_owned(), region });
        }
        let reference: ParameterReference = text.parse().map_err(|_| ValueFromError::Parameter)?;
        let region = match reference.place {
            Some(Place { region, .. }) => region,
            None => region.to_owned(),
        };
        Ok(Self::Parameter { name: text.to_owned(), region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_secrets_manager_or_in_parameter_store() {
        let secret = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:db-AbCdEf";
        let parameter = "arn:aws:ssm:eu-west-1:000000000000:parameter/shop/db";
        let of_secret = |text: &str| Ok(ValueFrom::Secret { text: text.to_owned(), region: "eu-west-1".into() });
        let of_parameter =
            |name: &str, region: &str| Ok(ValueFrom::Parameter { name: name.to_owned(), region: region.to_owned() });
        let member = format!("{secret}:password::");
        let broken = format!("{secret}:password");
        for (text, expected) in [
            (secret, of_secret(secret)),
            (&member, of_secret(&member)),
            (&broken, Err(ValueFromError::Secret)),
            (parameter, of_parameter(parameter, "eu-west-1")),
            ("/shop/db", of_parameter("/shop/db", "us-east-1")),
            ("db:3", of_parameter("db:3", "us-east-1")),
            ("arn:aws:s3:::bucket/x", Err(ValueFromError::Parameter)),
            ("", Err(ValueFromError::Parameter)),
        ] {
            assert_eq!(ValueFrom::parse(text, "us-east-1"), expected, "{text}");
        }
    }
}
