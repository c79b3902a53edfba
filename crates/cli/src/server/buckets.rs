//! Buckets of the S3-compatible service that the operator names, for tasks: their environment files are read there, and
//! the transcripts of their sessions written. The service sees the operator's credentials only, so who may do what is
//! decided here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use gantry_api::Caller;
use gantry_companions::iam::Iam;
use gantry_control::exec::NotStored;
use gantry_domain::policy::{Decision, Policies, Request, evaluate};
use gantry_protocol::{
    endpoint::chain,
    principals::{self, Principals},
};
use gantry_registry::blobs::S3Config;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{Attribute, Attributes, Error, ObjectStore, ObjectStoreExt, PutOptions, PutPayload, RetryConfig};

use crate::config::TaskFilesConfig;

/// Longest time for an object.
const OBJECT_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time for a question about a bucket.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer that says why not.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
const LATE: &str = "the service did not answer in time";

/// The service that has the buckets; none when the operator names none.
#[derive(Debug, Clone)]
pub(crate) struct Buckets(pub(crate) Option<TaskFilesConfig>);

/// One that somebody may use.
#[derive(Debug)]
pub(super) struct Bucket(S3Config);

impl Buckets {
    /// A bucket for a caller whose policies allow each of these actions on its resource.
    pub(super) fn open<'a>(
        &self,
        iam: &Iam,
        caller: &Caller,
        bucket: &str,
        needed: impl IntoIterator<Item = (&'a str, &'a String)>,
    ) -> Result<Bucket, String> {
        let config = self.0.as_ref();
        let config = config.ok_or("there is no S3-compatible service: the operator names one in [task_files]")?;
        if !config.accounts.contains(&caller.account) {
            let account = &caller.account;
            return Err(format!("AccessDenied: the buckets of [task_files] are not for account {account}"));
        }
        for (action, resource) in needed {
            authorize(iam, caller, action, resource)?;
        }
        Ok(Bucket(S3Config { bucket: bucket.to_owned(), ..config.service.clone() }))
    }
}

/// Buckets are outside: they have no policies that we know, so the caller's own decide.
fn authorize(iam: &Iam, caller: &Caller, action: &str, resource: &str) -> Result<(), String> {
    let authority = iam.authority(caller);
    let context = principals::context(caller);
    let request = Request {
        principal: &authority.principal,
        action,
        resource,
        account: &caller.account,
        now: (gantry_registry::system_clock())(),
        context: &context,
    };
    match evaluate(&request, &Policies::of(&authority.policies)) {
        Decision::Allow => Ok(()),
        Decision::Deny(denial) => Err(format!("AccessDenied: {}", denial.sentence(&request))),
    }
}

impl Bucket {
    /// An object of at most so many bytes.
    pub(super) async fn read(&self, key: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
        let read = async {
            let path = Path::parse(key).map_err(|error| error.to_string())?;
            let found = self.connect().map_err(words)?.get(&path).await.map_err(words)?;
            let mut stream = found.into_stream();
            let mut bytes = Vec::new();
            while let Some(part) = stream.next().await {
                bytes.extend_from_slice(&part.map_err(words)?);
                if bytes.len() > bytes_max {
                    return Err(format!("the file has more than {bytes_max} bytes"));
                }
            }
            Ok(bytes)
        };
        tokio::time::timeout(OBJECT_TIME_MAX, read).await.map_err(|_| LATE.to_owned())?
    }

    /// Writes an object of plain text; one of this key that is there is replaced.
    pub(super) async fn put(&self, key: &str, text: Bytes) -> Result<(), NotStored> {
        let path = Path::parse(key).map_err(|error| NotStored::Refused(error.to_string()))?;
        let store = self.connect().map_err(|error| NotStored::Refused(chain(&error)))?;
        let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
        let put = store.put_opts(&path, PutPayload::from(text), PutOptions::from(attributes));
        let put = tokio::time::timeout(OBJECT_TIME_MAX, put).await;
        match put.map_err(|_| NotStored::Unavailable(LATE.to_owned()))? {
            Ok(_) => Ok(()),
            Err(error @ (Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
                Err(NotStored::Refused(chain(&error)))
            }
            Err(error) => Err(NotStored::Unavailable(chain(&error))),
        }
    }

    /// Whether it is there and, where it has to, encrypts what it keeps.
    pub(super) async fn check(&self, encrypts: bool) -> Result<(), String> {
        let ask = async {
            self.ask("location").await.map_err(|refusal| refusal.sentence)?;
            if encrypts {
                self.ask("encryption").await.map_err(|refusal| match refusal.code.as_str() {
                    "ServerSideEncryptionConfigurationNotFoundError" => NOT_ENCRYPTED.to_owned(),
                    _ => refusal.sentence,
                })?;
            }
            Ok(())
        };
        tokio::time::timeout(QUESTION_TIME_MAX, ask).await.map_err(|_| LATE.to_owned())?
    }

    /// Asks for a part of its configuration.
    async fn ask(&self, what: &str) -> Result<(), Refusal> {
        let silent =
            |error: &(dyn std::error::Error + 'static)| Refusal { code: String::new(), sentence: chain(error) };
        let store = self.connect().map_err(|error| silent(&error))?;
        let options = SignedUrlOptions::new().with_query([(what, "")]);
        let url = store.signed_url_opts(Method::GET, &Path::default(), QUESTION_TIME_MAX, &options).await;
        let url = url.map_err(|error| silent(&error))?;
        // The URL is a key to the bucket: it is in no message.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let answer = http.map_err(|error| silent(&error))?.get(url).send().await;
        let mut answer = answer.map_err(|error| silent(&error.without_url()))?;
        if answer.status().is_success() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        while let Ok(Some(part)) = answer.chunk().await {
            bytes.extend_from_slice(part.get(..part.len().min(REFUSAL_BYTES_MAX - bytes.len())).unwrap_or_default());
        }
        Err(Refusal::read(answer.status().as_u16(), &String::from_utf8_lossy(&bytes)))
    }

    fn connect(&self) -> object_store::Result<AmazonS3> {
        let retry = RetryConfig { max_retries: 2, retry_timeout: OBJECT_TIME_MAX, ..RetryConfig::default() };
        self.0.builder().with_retry(retry).build()
    }
}

const NOT_ENCRYPTED: &str = "We couldn't start the session because encryption is not set up on the selected Amazon S3 \
                             bucket. Either encrypt the bucket or choose an option to enable logging without encryption.";

fn words(error: Error) -> String {
    match error {
        Error::NotFound { .. } => "NoSuchKey: The specified key does not exist.".to_owned(),
        error => chain(&error),
    }
}

/// How the service says no.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    /// Empty, where it says nothing.
    code: String,
    sentence: String,
}

impl Refusal {
    fn read(status: u16, body: &str) -> Self {
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            Some(rest.split_once("</")?.0.to_owned())
        };
        let code = element("Code").unwrap_or_default();
        let sentence = match element("Message") {
            Some(message) if !code.is_empty() => format!("{code}: {message}"),
            _ => format!("the service answered {status} {code}").trim_end().to_owned(),
        };
        Self { code, sentence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_services_words() {
        let body =
            "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>It is not there</Message></Error>";
        for (body, code, sentence) in [
            (body, "NoSuchBucket", "NoSuchBucket: It is not there"),
            ("<Error><Code>NotImplemented</Code></Error>", "NotImplemented", "the service answered 501 NotImplemented"),
            ("<Code>", "", "the service answered 501"),
            ("", "", "the service answered 501"),
        ] {
            let expected = Refusal { code: code.to_owned(), sentence: sentence.to_owned() };
            assert_eq!(Refusal::read(501, body), expected, "{body}");
        }
    }
}
