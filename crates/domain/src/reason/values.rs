//! Why a task did not get what it refers to: secrets, parameters, environment files, credentials of registries. FARGATE
//! wraps the sentences of the agent in its own.

use super::RoleNotAssumed;
use crate::secret::value_from::ValueFromError;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuesFailure {
    /// The task has no execution role to ask with.
    NoRole,
    /// The execution role is not there or does not trust tasks.
    NotAssumed {
        /// Its ARN.
        role: String,
    },
    /// A reference that is none.
    Reference(ValueFromError),
    /// A secret.
    Secret {
        /// Where.
        region: String,
        /// As referred to.
        reference: String,
        /// What Secrets Manager said.
        error: ServiceError,
    },
    /// Parameter Store refused.
    Parameters {
        /// Where.
        region: String,
        /// What it said.
        error: ServiceError,
    },
    /// Parameters that are not there.
    NoParameters {
        /// Where.
        region: String,
        /// As referred to.
        names: Vec<String>,
    },
    /// Credentials of a registry that are none.
    Credentials,
    /// An environment file.
    File {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
        /// What happened.
        error: String,
    },
    /// The configuration of a log router.
    RouterConfiguration {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
        /// What happened.
        error: String,
    },
}

/// What a service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// For example `AccessDeniedException`.
    pub code: String,
    /// Its words.
    pub message: String,
}

/// What FARGATE says before what went wrong with secrets. Nothing is repeated: the services are in this program.
const OF_SECRETS: &str = "unable to pull secrets or registry auth: execution resource retrieval failed: ";
const RETRIED: &str = "service call has been retried 0 time(s): ";

impl ValuesFailure {
    /// The message of the `ResourceInitializationError`, as the platform words it.
    pub fn message(&self, fargate: bool) -> String {
        let secret = |words: String| {
            if fargate { format!("{OF_SECRETS}unable to retrieve secret from asm: {RETRIED}{words}") } else { words }
        };
        let parameters = |region: &str, words: String| {
            if fargate {
                format!("{OF_SECRETS}unable to retrieve secrets from ssm: {RETRIED}{words}")
            } else {
                format!("fetching secret data from SSM Parameter Store in {region}: {words}")
            }
        };
        match self {
            Self::NoRole if fargate => format!("{OF_SECRETS}unable to find execution role credentials"),
            Self::NoRole => "unable to find execution role credentials".to_owned(),
            Self::NotAssumed { role } => secret(RoleNotAssumed::Task(role.clone()).to_string()),
            Self::Reference(error @ ValueFromError::Secret) => secret(error.to_string()),
            Self::Reference(error @ ValueFromError::Parameter) => error.to_string(),
            Self::Secret { region, reference, error } => of_secret(region, reference, error, fargate),
            Self::Parameters { region, error } => parameters(region, format!("{}: {}", error.code, error.message)),
            Self::NoParameters { region, names } => {
                parameters(region, format!("invalid parameters: {}", names.join(",")))
            }
            Self::Credentials => secret(
                "asm fetching authorization data: the secret is not a JSON object with username and password"
                    .to_owned(),
            ),
            Self::File { bucket, key, error } => {
                let words = format!("unable to download env file with key {key} from bucket {bucket}, error: {error}");
                if fargate {
                    format!("failed to download env files: file download command: non empty error stream: {words}")
                } else {
                    words
                }
            }
            // There is none on FARGATE.
            Self::RouterConfiguration { bucket, key, error } => format!(
                "unable to download firelens s3 config file: unable to download s3 config {key} from bucket {bucket}: \
                 {error}"
            ),
        }
    }
}

fn of_secret(region: &str, reference: &str, error: &ServiceError, fargate: bool) -> String {
    // What comes after the ARN is Gantry's to read, not the service's.
    let arn: Vec<&str> = reference.split(':').take(7).collect();
    let arn = arn.join(":");
    let words = match error.code.as_str() {
        // The value was there; the member was not.
        "InvalidParameterException" => error.message.clone(),
        "ResourceNotFoundException" if !fargate => format!(
            "ResourceNotFoundException: The task can't retrieve the secret with ARN '{arn}' from AWS Secrets Manager. \
             Check whether the secret exists in the specified Region"
        ),
        code => format!("{code}: {}", error.message),
    };
    if fargate {
        let fetched = format!("failed to fetch secret {arn} from secrets manager: {words}");
        format!("{OF_SECRETS}unable to retrieve secret from asm: {RETRIED}{fetched}")
    } else {
        format!("fetching secret data from AWS Secrets Manager in region {region}: secret {arn}: {words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_has_its_own_words() {
        let denied = ServiceError { code: "AccessDeniedException".into(), message: "User: x is not authorized".into() };
        let reference = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf:password::".to_owned();
        let secret = ValuesFailure::Secret { region: "us-east-1".into(), reference, error: denied };
        assert_eq!(
            secret.message(false),
            "fetching secret data from AWS Secrets Manager in region us-east-1: secret \
             arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf: AccessDeniedException: User: x is not \
             authorized"
        );
        assert_eq!(
            secret.message(true),
            "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret \
             from asm: service call has been retried 0 time(s): failed to fetch secret \
             arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf from secrets manager: \
             AccessDeniedException: User: x is not authorized"
        );
        let names = vec!["a".to_owned(), "b".to_owned()];
        let none = ValuesFailure::NoParameters { region: "us-east-1".into(), names };
        assert_eq!(
            none.message(false),
            "fetching secret data from SSM Parameter Store in us-east-1: invalid parameters: a,b"
        );
        let router = ValuesFailure::RouterConfiguration {
            bucket: "conf".into(),
            key: "a/extra.conf".into(),
            error: "NoSuchKey: The specified key does not exist.".into(),
        };
        assert_eq!(
            router.message(false),
            "unable to download firelens s3 config file: unable to download s3 config a/extra.conf from bucket conf: \
             NoSuchKey: The specified key does not exist."
        );
    }
}
