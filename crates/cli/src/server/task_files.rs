//! Environment files of tasks and configurations of their log routers, in buckets of an S3-compatible service that the
//! operator names.

use gantry_api::Caller;
use gantry_companions::iam::Iam;
use gantry_domain::bucket::object;
use gantry_domain::environment_file::parse;
use gantry_domain::reason::ValuesFailure;

use super::buckets::Buckets;

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The buckets that have the files.
#[derive(Debug, Clone)]
pub(crate) struct TaskFiles(pub(crate) Buckets);

impl TaskFiles {
    /// The variables of the file of this ARN, for a caller who may read it.
    pub(crate) async fn variables(
        &self,
        iam: &Iam,
        caller: &Caller,
        arn: &str,
    ) -> Result<Vec<(String, String)>, ValuesFailure> {
        let (bucket, key) = bucket_and_key(arn);
        let text = self.text(iam, caller, (bucket, key)).await;
        let text =
            text.map_err(|error| ValuesFailure::File { bucket: bucket.to_owned(), key: key.to_owned(), error })?;
        Ok(parse(&text))
    }

    /// The configuration of this ARN, for a caller who may read it.
    pub(crate) async fn router_configuration(
        &self,
        iam: &Iam,
        caller: &Caller,
        arn: &str,
    ) -> Result<String, ValuesFailure> {
        let (bucket, key) = bucket_and_key(arn);
        let text = self.text(iam, caller, (bucket, key)).await;
        text.map_err(|error| ValuesFailure::RouterConfiguration {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            error,
        })
    }

    async fn text(&self, iam: &Iam, caller: &Caller, (bucket, key): (&str, &str)) -> Result<String, String> {
        if bucket.is_empty() {
            return Err("not the ARN of an object".to_owned());
        }
        // Not as it was written: in another partition it is the same object, and policies name it in this one.
        let whole = format!("arn:aws:s3:::{bucket}");
        let one = format!("{whole}/{key}");
        let needed = [("s3:GetBucketLocation", &whole), ("s3:GetObject", &one)];
        let bucket = self.0.open(iam, caller, bucket, needed)?;
        let bytes = bucket.read(key, FILE_BYTES_MAX).await?;
        String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
    }
}

/// Of what is no object's ARN no bucket, and all of it as the key.
fn bucket_and_key(arn: &str) -> (&str, &str) {
    object(arn).unwrap_or(("", arn))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use gantry_registry::blobs::S3Config;
    use serde_json::json;

    use super::*;
    use crate::config::TaskFilesConfig;
    use crate::server::roles_for_tests::{TASK, iam_with_role};

    /// What is said of a file, when the buckets are for these accounts. Nobody answers at the endpoint.
    async fn refusal(accounts: &[&str], arn: &str) -> String {
        let statements = json!([
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::secret/*"}]);
        let (iam, role) = iam_with_role("exec", &json!({}), &statements).await;
        let files = TaskFiles(Buckets(Some(TaskFilesConfig {
            service: S3Config {
                endpoint: Some("http://127.0.0.1:1".into()),
                region: Some("us-east-1".into()),
                credentials: Some(("id".into(), "key".into())),
                ..S3Config::default()
            },
            accounts: accounts.iter().map(|account| (*account).to_owned()).collect::<BTreeSet<_>>(),
        })));
        let caller = iam.task_role_caller(&role, TASK).unwrap();
        let of_router = match files.router_configuration(&iam, &caller, arn).await.unwrap_err() {
            ValuesFailure::RouterConfiguration { error, .. } => error,
            other => panic!("{other:?}"),
        };
        match files.variables(&iam, &caller, arn).await.unwrap_err() {
            ValuesFailure::File { error, .. } => {
                let is_denied = |error: &str| error.starts_with("AccessDenied");
                assert_eq!(is_denied(&error), is_denied(&of_router), "{of_router}");
                error
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_file_is_read_by_whom_policies_and_the_operator_let() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = ["000000000000"];
        for arn in ["arn:aws:s3:::secret/a.env", "arn:aws-cn:s3:::secret/a.env", "arn:x:s3:::secret/a.env"] {
            let error = refusal(&own, arn).await;
            assert!(error.contains("s3:GetObject on resource: arn:aws:s3:::secret/a.env"), "{arn}: {error}");
        }
        let allowed = "arn:aws-cn:s3:::conf/a.env";
        assert!(!refusal(&own, allowed).await.contains("AccessDenied"), "it fails at the endpoint");
        assert_eq!(
            refusal(&["111122223333"], allowed).await,
            "AccessDenied: the buckets of [task_files] are not for account 000000000000"
        );
    }
}
