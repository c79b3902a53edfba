//! Secrets Manager over a store in memory.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, Ordering};

use gantry_api::secretsmanager::{OPERATIONS, SERVICE, Secretsmanager as _, Tag, dispatch};
use gantry_api::{Codec, OperationInfo, PrincipalKind, ServiceInfo};
use gantry_domain::policy::{Document, Identity, Kind, Principal, PrincipalPolicies};
use gantry_protocol::principals::is_root;
use gantry_store::Memory;

use super::*;

const ACCOUNT: &str = "000000000000";
const OTHER: &str = "111111111111";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Roots, and users whose one policy is this.
struct Users(Option<&'static str>);

impl Principals for Users {
    fn authority(&self, caller: &Caller) -> Arc<Authority> {
        let identity = self.0.map(|policy| Arc::new(Document::parse(policy, Kind::Identity).unwrap()));
        let policies = PrincipalPolicies { identity: identity.into_iter().collect(), ..PrincipalPolicies::default() };
        let principal = match is_root(caller) {
            true => Principal::root(caller.account.clone()),
            false => Principal::new(Identity::User { arn: caller.principal_arn.clone(), id: "AIDA1".into() }),
        };
        Arc::new(Authority { principal, policies })
    }
}

/// A service on a store, at a time that the test sets.
struct Bench {
    service: SecretsManager,
    seconds: Arc<AtomicI64>,
    store: Store,
}

async fn bench(policy: Option<&'static str>) -> Bench {
    let (store, seconds) = (Memory::store(), Arc::new(AtomicI64::new(1_700_000_000)));
    let clock = {
        let seconds = seconds.clone();
        Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)))
    };
    let sealer = Sealer::ephemeral().unwrap();
    let service = SecretsManager::open(store.clone(), sealer, Arc::new(Users(policy)), clock).await.unwrap();
    Bench { service, seconds, store }
}

fn root() -> Caller {
    Caller::root(ACCOUNT, "us-east-1")
}

fn user(account: &str) -> Caller {
    let principal_arn = format!("arn:aws:iam::{account}:user/ann");
    Caller { principal_arn, kind: PrincipalKind::User, ..Caller::root(account, "us-east-1") }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

impl Bench {
    async fn create(&self, name: &str, value: &str) -> String {
        let input = CreateSecretRequest { name: text(name), secret_string: text(value), ..Default::default() };
        self.service.create_secret(&root(), input).await.unwrap().arn.unwrap()
    }

    async fn put(&self, name: &str, value: &str, stages: &[&str]) -> Result<String, Fault> {
        let input = PutSecretValueRequest {
            secret_id: text(name),
            secret_string: text(value),
            version_stages: (!stages.is_empty()).then(|| stages.iter().map(|stage| (*stage).to_owned()).collect()),
            ..Default::default()
        };
        Ok(self.service.put_secret_value(&root(), input).await?.version_id.unwrap())
    }

    async fn get(&self, caller: &Caller, id: &str, stage: Option<&str>) -> Result<String, Fault> {
        let input = GetSecretValueRequest {
            secret_id: text(id),
            version_stage: stage.map(str::to_owned),
            ..Default::default()
        };
        Ok(self.service.get_secret_value(caller, input).await?.secret_string.unwrap())
    }

    async fn set_policy(&self, name: &str, policy: &str) {
        let input =
            PutResourcePolicyRequest { secret_id: text(name), resource_policy: text(policy), ..Default::default() };
        self.service.put_resource_policy(&root(), input).await.unwrap();
    }
}

fn code(result: Result<impl std::fmt::Debug, Fault>) -> (&'static str, String) {
    let fault = result.unwrap_err();
    (fault.code, fault.message)
}

#[tokio::test]
async fn a_secret_is_found_by_name_by_arn_and_by_arn_without_suffix() {
    let bench = bench(None).await;
    let arn = bench.create("prod/db-abcdef", "one").await;
    let partial = arn.rsplit_once('-').unwrap().0;
    for id in ["prod/db-abcdef", &arn, partial] {
        assert_eq!(bench.get(&root(), id, None).await.unwrap(), "one", "{id}");
    }
    // One of another region is asked for there, or by its whole reference.
    let there = Caller::root(ACCOUNT, "eu-west-1");
    assert_eq!(code(bench.get(&there, &arn, None).await).0, "ResourceNotFoundException");
    assert_eq!(bench.service.value_of(&there, &arn).await.unwrap().0, "one");
    for id in ["prod/db", "arn:aws:secretsmanager:eu-west-1:000000000000:secret:prod/db-abcdef"] {
        let (code, message) = code(bench.get(&root(), id, None).await);
        assert_eq!(
            (code, message.as_str()),
            ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        );
    }
}

#[tokio::test]
async fn stages_move_with_new_values_and_repeated_requests_change_nothing() {
    let bench = bench(None).await;
    bench.create("db", "one").await;
    bench.put("db", "two", &[]).await.unwrap();
    bench.put("db", "three", &["AWSPENDING"]).await.unwrap();
    for (stage, value) in [(None, "two"), (Some("AWSPREVIOUS"), "one"), (Some("AWSPENDING"), "three")] {
        assert_eq!(bench.get(&root(), "db", stage).await.unwrap(), value);
    }
    let again = |value: &str| PutSecretValueRequest {
        secret_id: text("db"),
        secret_string: text(value),
        client_request_token: text(TOKEN),
        ..Default::default()
    };
    bench.service.put_secret_value(&root(), again("four")).await.unwrap();
    bench.put("db", "five", &[]).await.unwrap();
    bench.service.put_secret_value(&root(), again("four")).await.unwrap();
    assert_eq!(bench.get(&root(), "db", None).await.unwrap(), "five", "the repetition moved a stage");
    assert_eq!(code(bench.service.put_secret_value(&root(), again("six")).await).0, "ResourceExistsException");
}

#[tokio::test]
async fn a_deleted_secret_comes_back_until_its_window_is_over() {
    let bench = bench(None).await;
    bench.create("db", "one").await;
    let delete =
        || DeleteSecretRequest { secret_id: text("db"), recovery_window_in_days: Some(7), ..Default::default() };
    let deleted = bench.service.delete_secret(&root(), delete()).await.unwrap();
    assert_eq!(deleted.deletion_date.unwrap().as_millis(), (1_700_000_000 + 7 * 86_400) * 1000);
    let refused = (
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
    );
    let (code_, message) = code(bench.get(&root(), "db", None).await);
    assert_eq!((code_, message.as_str()), refused);
    let create = || CreateSecretRequest { name: text("db"), secret_string: text("two"), ..Default::default() };
    assert_eq!(code(bench.service.create_secret(&root(), create()).await).0, "InvalidRequestException");
    bench.service.restore_secret(&root(), RestoreSecretRequest { secret_id: text("db") }).await.unwrap();
    assert_eq!(bench.get(&root(), "db", None).await.unwrap(), "one");

    bench.service.delete_secret(&root(), delete()).await.unwrap();
    bench.seconds.fetch_add(7 * 86_400, Ordering::SeqCst);
    assert_eq!(code(bench.get(&root(), "db", None).await).0, "ResourceNotFoundException");
    // The name is free before anything was removed, and the old values go with the old secret.
    bench.service.create_secret(&root(), create()).await.unwrap();
    assert_eq!(bench.get(&root(), "db", None).await.unwrap(), "two");
    assert_eq!(bench.store.range("/secret-values/", 10).await.unwrap().kvs.len(), 1);
    bench.service.delete_secret(&root(), delete()).await.unwrap();
    bench.seconds.fetch_add(7 * 86_400, Ordering::SeqCst);
    bench.service.purge().await.unwrap();
    for prefix in ["/secret-values/", rows::PREFIX] {
        assert!(bench.store.range(prefix, 10).await.unwrap().kvs.is_empty(), "something is left below {prefix}");
    }
}

#[tokio::test]
async fn values_are_sealed_and_do_not_show_when_printed() {
    const SECRET: &str = "correct horse battery staple";
    let bench = bench(None).await;
    bench.create("db", SECRET).await;
    bench.put("db", &format!("{SECRET} again"), &[]).await.unwrap();
    let rows = bench.store.range("/", 100).await.unwrap().kvs;
    assert_eq!(rows.len(), 3);
    for row in rows {
        let shows = row.value.windows(7).any(|window| window == b"battery");
        assert!(!shows && !row.key.contains("battery"), "{}", row.key);
    }
    let value = bench.service.value_of(&root(), &bench.create("other", SECRET).await).await.unwrap();
    assert!(!format!("{value:?}").contains("battery"));
    assert_eq!(value.0, SECRET);
}

#[tokio::test]
async fn a_reference_means_a_member_of_a_value() {
    let bench = bench(None).await;
    let arn = bench.create("db", r#"{"password":"one","port":5432}"#).await;
    bench.put("db", r#"{"password":"two"}"#, &[]).await.unwrap();
    for (rest, value) in [
        ("", r#"{"password":"two"}"#),
        (":password::", "two"),
        (":password:AWSPREVIOUS:", "one"),
        (":port:AWSPREVIOUS:", "5432"),
    ] {
        assert_eq!(bench.service.value_of(&root(), &format!("{arn}{rest}")).await.unwrap().0, value);
    }
    let (_, message) = code(bench.service.value_of(&root(), &format!("{arn}:user::")).await);
    assert_eq!(message, "retrieved secret from Secrets Manager did not contain json key user");
    assert_eq!(code(bench.service.value_of(&root(), "db").await).0, "InvalidParameterException");
}

#[tokio::test]
async fn another_account_reads_what_both_sides_allow() {
    let bench =
        bench(Some(r#"{"Statement":{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*"}}"#))
            .await;
    let arn = bench.create("db", "one").await;
    assert_eq!(code(bench.get(&user(OTHER), &arn, None).await).0, "AccessDeniedException");
    bench.set_policy("db", r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"secretsmanager:GetSecretValue","Resource":"*","Condition":{"StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT"}}}}"#).await;
    assert_eq!(bench.get(&user(OTHER), &arn, Some("AWSCURRENT")).await.unwrap(), "one");
    assert_eq!(code(bench.get(&user(OTHER), &arn, None).await).0, "AccessDeniedException");
    // Whether there is such a secret is not told.
    let missing = code(bench.get(&user(OTHER), &arn.replace(":db-", ":dc-"), None).await);
    assert_eq!(missing.0, "AccessDeniedException");
}

#[tokio::test]
async fn a_policy_that_denies_binds_the_root_which_may_still_remove_it() {
    let bench = bench(None).await;
    bench.create("db", "one").await;
    bench.set_policy("db", r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#).await;
    let (code, message) = code(bench.get(&root(), "db", None).await);
    assert_eq!(code, "AccessDeniedException");
    assert!(message.ends_with("with an explicit deny in a resource-based policy"), "{message}");
    let input = DeleteResourcePolicyRequest { secret_id: text("db"), ..Default::default() };
    bench.service.delete_resource_policy(&root(), input).await.unwrap();
    assert_eq!(bench.get(&root(), "db", None).await.unwrap(), "one");
}

#[tokio::test]
async fn a_public_policy_is_refused_when_asked() {
    let bench = bench(None).await;
    bench.create("db", "one").await;
    let public = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"secretsmanager:*","Resource":"*"}}"#;
    let put = |policy: &str| PutResourcePolicyRequest {
        secret_id: text("db"),
        resource_policy: text(policy),
        block_public_policy: Some(true),
        ..Default::default()
    };
    assert_eq!(code(bench.service.put_resource_policy(&root(), put(public)).await).0, "PublicPolicyException");
    assert_eq!(code(bench.service.put_resource_policy(&root(), put("{}")).await).0, "MalformedPolicyDocumentException");
    let conditional =
        public.replace(r#""Resource""#, r#""Condition":{"Bool":{"aws:SecureTransport":"true"}},"Resource""#);
    bench.service.put_resource_policy(&root(), put(&conditional)).await.unwrap();
}

/// Every operation with an input that names the secret `db`.
struct Names;

impl Codec for Names {
    fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        let input = r#"{"SecretId":"db","Name":"db","SecretIdList":["db"],"SecretString":"x","ResourcePolicy":"{}",
            "VersionStage":"AWSCURRENT","Tags":[],"TagKeys":[]}"#;
        serde_json::from_str(input).map_err(|error| Fault::new("SerializationException", 400, error.to_string()))
    }
    fn checks(&self) -> bool {
        false
    }
    fn encode<T: serde::Serialize>(&self, _: &ServiceInfo, _: &OperationInfo, _: &T) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn who_has_no_permission_can_do_nothing_and_learns_nothing() {
    let bench = bench(None).await;
    for existing in [false, true] {
        if existing {
            bench.create("db", "one").await;
        }
        for operation in OPERATIONS {
            let result = dispatch(&bench.service, &user(ACCOUNT), operation.name, &Names).await.unwrap();
            let (code, message) = code(result);
            assert_eq!(code, "AccessDeniedException", "{} {message}", operation.name);
            let action = format!("not authorized to perform: {}:{}", SERVICE.name, operation.name);
            assert!(message.contains(&action), "{message}");
        }
    }
    assert_eq!(bench.get(&root(), "db", None).await.unwrap(), "one");
}

/// An input as it comes over the wire, held against the model.
struct Wire(String);

impl Codec for Wire {
    fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.0).map_err(|error| Fault::new("SerializationException", 400, error.to_string()))
    }
    fn encode<T: serde::Serialize>(&self, _: &ServiceInfo, _: &OperationInfo, _: &T) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_value_that_is_refused_is_not_repeated() {
    let bench = bench(None).await;
    let value = "battery-staple".repeat(5000);
    for operation in ["CreateSecret", "PutSecretValue", "UpdateSecret"] {
        let input = Wire(format!(r#"{{"Name":"db","SecretId":"db","SecretString":"{value}"}}"#));
        let (code, message) = code(dispatch(&bench.service, &root(), operation, &input).await.unwrap());
        assert_eq!(code, "InvalidParameterException");
        assert!(message.contains("at 'SecretString' failed") && !message.contains("battery"), "{message:.200}");
    }
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let bench = bench(None).await;
    for (name, team) in [("prod/a", "red"), ("prod/b", "blue"), ("test/a", "red")] {
        let tags = Some(vec![Tag { key: text("team"), value: text(team) }]);
        let description = Some(format!("The {name} of us"));
        let input = CreateSecretRequest { name: text(name), tags, description, ..Default::default() };
        bench.service.create_secret(&root(), input).await.unwrap();
        bench.seconds.fetch_add(1, Ordering::SeqCst);
    }
    let names = async |filters: &str, order: &str| {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let input = format!(r#"{{"Filters":{filters},"MaxResults":1{order}}}"#);
            let mut input: ListSecretsRequest = serde_json::from_str(&input).unwrap();
            input.next_token = token;
            let page = bench.service.list_secrets(&root(), input).await.unwrap();
            names.extend(page.secret_list.unwrap().into_iter().map(|secret| secret.name.unwrap()));
            token = page.next_token;
            if token.is_none() {
                return names.join(" ");
            }
        }
    };
    for (filters, order, expected) in [
        ("[]", "", "prod/a prod/b test/a"),
        ("[]", r#","SortOrder":"desc""#, "test/a prod/b prod/a"),
        ("[]", r#","SortBy":"name","SortOrder":"desc""#, "test/a prod/b prod/a"),
        (r#"[{"Key":"name","Values":["prod"]}]"#, "", "prod/a prod/b"),
        (r#"[{"Key":"name","Values":["!prod"]}]"#, "", "test/a"),
        (r#"[{"Key":"tag-key","Values":["te"]},{"Key":"tag-value","Values":["blu","x"]}]"#, "", "prod/b"),
        (r#"[{"Key":"description","Values":["the PROD"]}]"#, "", "prod/a prod/b"),
        (r#"[{"Key":"all","Values":["red us"]}]"#, "", "prod/a test/a"),
        (r#"[{"Key":"owning-service","Values":["x"]}]"#, "", ""),
    ] {
        assert_eq!(names(filters, order).await, expected, "{filters} {order}");
    }
}
