//! Parameter Store over a store in memory.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use gantry_api::secretsmanager::{CreateSecretRequest, Secretsmanager as _};
use gantry_api::ssm::{
    AddTagsToResourceRequest, DescribeParametersRequest, GetParameterHistoryRequest, GetParameterRequest,
    GetParametersByPathRequest, GetParametersRequest, LabelParameterVersionRequest, ListTagsForResourceRequest,
    Parameter as Shown, ParameterStringFilter, ParameterTier, ParameterType, PutParameterRequest,
    RemoveTagsFromResourceRequest, ResourceTypeForTagging, Ssm as _, Tag,
};
use gantry_domain::Timestamp;
use gantry_protocol::principals::RootOnly;
use gantry_store::Memory;

use super::*;
use crate::iam::Iam;
use crate::machines::Machines;
use crate::ssm::{Presence, Presences, Ssm};

struct Nobody;

impl Presences for Nobody {
    fn presences(&self, _: &str, _: &str) -> BTreeMap<String, Presence> {
        BTreeMap::new()
    }
}

/// A service on a store, at a time that the test sets.
struct Bench {
    service: Ssm,
    secrets: SecretsManager,
    parameters: Parameters,
    seconds: Arc<AtomicI64>,
    store: Store,
}

async fn bench() -> Bench {
    let (store, seconds) = (Memory::store(), Arc::new(AtomicI64::new(1_700_000_000)));
    let clock: Clock = {
        let seconds = seconds.clone();
        Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)))
    };
    let sealer = Sealer::ephemeral().unwrap();
    // Who may is decided before: what is asked of Secrets Manager here is asked as the root, which may.
    let secrets = SecretsManager::open(store.clone(), sealer.clone(), Arc::new(RootOnly), clock.clone()).await.unwrap();
    let iam = Iam::open(store.clone(), sealer.clone(), clock.clone()).await.unwrap();
    let (machines, _) = Machines::open(store.clone(), iam, clock.clone(), ("000000000000", "us-east-1")).await.unwrap();
    let parameters = Parameters::open(store.clone(), sealer, secrets.clone(), clock).await.unwrap();
    let service = Ssm::new(machines, Arc::new(Nobody), parameters.clone());
    Bench { service, secrets, parameters, seconds, store }
}

fn root() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn input(name: &str, value: &str, kind: &str) -> PutParameterRequest {
    let r#type = (!kind.is_empty()).then(|| ParameterType::from(kind));
    PutParameterRequest { name: text(name), value: text(value), r#type, ..Default::default() }
}

fn over(name: &str, value: &str) -> PutParameterRequest {
    PutParameterRequest { overwrite: Some(true), ..input(name, value, "") }
}

impl Bench {
    async fn put(&self, input: PutParameterRequest) -> Result<i64, Fault> {
        Ok(self.service.put_parameter(&root(), input).await?.version.unwrap())
    }

    async fn refused(&self, input: PutParameterRequest) -> &'static str {
        self.put(input).await.unwrap_err().code
    }

    async fn get(&self, name: &str, decrypted: bool) -> Result<Shown, Fault> {
        let input = GetParameterRequest { name: text(name), with_decryption: Some(decrypted) };
        Ok(self.service.get_parameter(&root(), input).await?.parameter.unwrap())
    }

    async fn value(&self, name: &str) -> String {
        self.get(name, true).await.unwrap().value.unwrap()
    }

    async fn below(&self, path: &str, recursive: bool, size: i32) -> Vec<String> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let input = GetParametersByPathRequest {
                path: text(path),
                recursive: Some(recursive),
                max_results: Some(size),
                next_token: token,
                ..Default::default()
            };
            let page = self.service.get_parameters_by_path(&root(), input).await.unwrap();
            names.extend(page.parameters.unwrap().into_iter().map(|parameter| parameter.name.unwrap()));
            token = page.next_token;
            if token.is_none() {
                return names;
            }
        }
    }
}

#[tokio::test]
async fn every_version_is_read_by_its_number_and_labels_move() {
    let bench = bench().await;
    assert_eq!(bench.put(input("/shop/db", "one", "String")).await.unwrap(), 1);
    assert_eq!(bench.refused(input("/shop/db", "two", "String")).await, "ParameterAlreadyExists");
    assert_eq!(bench.put(over("/shop/db", "two")).await.unwrap(), 2);
    assert_eq!(bench.value("/shop/db").await, "two");
    assert_eq!(bench.value("/shop/db:1").await, "one");
    assert_eq!(bench.value("arn:aws:ssm:us-east-1:000000000000:parameter/shop/db:1").await, "one");
    assert_eq!(bench.get("/shop/db:9", true).await.unwrap_err().code, "ParameterVersionNotFound");
    assert_eq!(bench.get("shop/db", true).await.unwrap_err().code, "ParameterNotFound");
    let other = "arn:aws:ssm:us-east-1:111111111111:parameter/shop/db";
    assert_eq!(bench.get(other, true).await.unwrap_err().code, "ParameterNotFound");
    let label = |version, labels: &[&str]| LabelParameterVersionRequest {
        name: text("/shop/db"),
        parameter_version: version,
        labels: Some(labels.iter().map(|label| (*label).to_owned()).collect()),
    };
    let done = bench.service.label_parameter_version(&root(), label(Some(1), &["prod", "1st"])).await.unwrap();
    assert_eq!((done.invalid_labels, done.parameter_version), (Some(vec!["1st".to_owned()]), Some(1)));
    let read = bench.get("/shop/db:prod", true).await.unwrap();
    assert_eq!((read.value.as_deref(), read.selector.as_deref(), read.version), (Some("one"), Some(":prod"), Some(1)));
    bench.service.label_parameter_version(&root(), label(None, &["prod"])).await.unwrap();
    assert_eq!(bench.value("/shop/db:prod").await, "two");
    let history = GetParameterHistoryRequest { name: text("/shop/db"), max_results: Some(1), ..Default::default() };
    let page = bench.service.get_parameter_history(&root(), history.clone()).await.unwrap();
    assert_eq!(page.parameters.unwrap()[0].value.as_deref(), Some("one"));
    let next = GetParameterHistoryRequest { next_token: page.next_token, ..history };
    let page = bench.service.get_parameter_history(&root(), next).await.unwrap();
    assert_eq!(page.parameters.unwrap()[0].labels, Some(vec!["prod".to_owned()]));
    assert!(page.next_token.is_none());
}

#[tokio::test]
async fn secure_values_are_sealed_and_shown_only_decrypted() {
    let bench = bench().await;
    bench.put(input("token", "tell-nobody", "SecureString")).await.unwrap();
    let hidden = bench.get("token", false).await.unwrap().value.unwrap();
    assert!(!hidden.contains("tell-nobody") && hidden.len() > 20);
    assert_eq!(bench.value("token").await, "tell-nobody");
    let rows = bench.store.range(gantry_store::KeyRange::prefix("/parameter"), 100).await.unwrap();
    assert_eq!(rows.kvs.len(), 2);
    let is_shown = |value: &[u8]| value.windows(11).any(|window| window == b"tell-nobody");
    assert!(!rows.kvs.iter().any(|row| is_shown(&row.value)));
    assert!(!format!("{:?}", bench.get("token", true).await.unwrap()).contains("tell-nobody"));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_its_name() {
    let bench = bench().await;
    bench.put(input("plain", "v", "String")).await.unwrap();
    let tagged = vec![Tag { key: text("a"), value: text("b") }];
    let with = |change: &dyn Fn(&mut PutParameterRequest)| {
        let mut input = input("new", "value", "String");
        change(&mut input);
        input
    };
    for (input, code) in [
        (input("new", "v", ""), "ValidationException"),
        (input("new", "", "String"), "ValidationException"),
        (input("new", &"x".repeat(4097), "String"), "ValidationException"),
        (input("new", "{{other}}", "String"), "ValidationException"),
        (input("a/b", "v", "String"), "ValidationException"),
        (input("/aws/x", "v", "String"), "AccessDeniedException"),
        (input(&"/a".repeat(16), "v", "String"), "HierarchyLevelLimitExceededException"),
        (
            PutParameterRequest { r#type: Some(ParameterType::SecureString), ..over("plain", "w") },
            "HierarchyTypeMismatchException",
        ),
        (PutParameterRequest { tags: Some(tagged), ..over("plain", "w") }, "ValidationException"),
        (with(&|input| input.key_id = text("alias/x")), "InvalidKeyId"),
        (with(&|input| input.allowed_pattern = text("(")), "InvalidAllowedPatternException"),
        (with(&|input| input.allowed_pattern = text("val")), "ParameterPatternMismatchException"),
        (with(&|input| input.data_type = text("Text")), "ValidationException"),
        (with(&|input| input.data_type = text("aws:ec2:image")), "ValidationException"),
        (with(&|input| input.policies = text("no json")), "InvalidPolicyAttributeException"),
    ] {
        let name = input.name.clone();
        assert_eq!(bench.refused(input).await, code, "{name:?}");
    }
    assert_eq!(bench.value("plain").await, "v");
    bench.put(with(&|input| input.allowed_pattern = text("[a-z]+"))).await.unwrap();
    assert_eq!(bench.refused(over("new", "V2")).await, "ParameterPatternMismatchException");
}

#[tokio::test]
async fn a_large_value_makes_an_advanced_parameter_which_stays_one() {
    let bench = bench().await;
    let large = "x".repeat(8192);
    let tier = |tier, input: PutParameterRequest| PutParameterRequest { tier: Some(tier), ..input };
    let clever = tier(ParameterTier::IntelligentTiering, input("big", &large, "String"));
    let made = bench.service.put_parameter(&root(), clever).await.unwrap();
    assert_eq!(made.tier, Some(ParameterTier::Advanced));
    assert_eq!(bench.refused(tier(ParameterTier::Standard, over("big", "v"))).await, "ValidationException");
    assert_eq!(bench.refused(over("big", &format!("{large}x"))).await, "ValidationException");
    assert_eq!(bench.put(over("big", &large)).await.unwrap(), 2);
}

#[tokio::test]
async fn the_hundred_and_first_version_takes_the_place_of_the_first() {
    let bench = bench().await;
    bench.put(input("p", "0", "String")).await.unwrap();
    for number in 1..=100 {
        bench.put(over("p", &number.to_string())).await.unwrap();
    }
    assert_eq!(bench.get("p:1", true).await.unwrap_err().code, "ParameterVersionNotFound");
    assert_eq!(bench.value("p:2").await, "1");
    let rows = bench.store.range(gantry_store::KeyRange::prefix("/parameter-values/"), 1000).await.unwrap();
    assert_eq!(rows.kvs.len(), 100);
    let label = LabelParameterVersionRequest {
        name: text("p"),
        parameter_version: Some(2),
        labels: Some(vec!["kept".to_owned()]),
    };
    bench.service.label_parameter_version(&root(), label).await.unwrap();
    assert_eq!(bench.refused(over("p", "x")).await, "ParameterMaxVersionLimitExceeded");
}

#[tokio::test]
async fn paths_filters_and_pages_list_each_parameter_once() {
    let bench = bench().await;
    for name in ["/shop/a", "/shop/b", "/shop/c/d", "/shopping", "plain"] {
        bench.put(input(name, "v", "String")).await.unwrap();
    }
    assert_eq!(bench.below("/shop", false, 10).await, ["/shop/a", "/shop/b"]);
    assert_eq!(bench.below("/shop/", true, 1).await, ["/shop/a", "/shop/b", "/shop/c/d"]);
    assert_eq!(bench.below("/", false, 1).await, ["plain", "/shopping"]);
    let filter = ParameterStringFilter {
        key: text("Name"),
        option: text("BeginsWith"),
        values: Some(vec!["/shop/".to_owned()]),
    };
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let input = DescribeParametersRequest {
            parameter_filters: Some(vec![filter.clone()]),
            max_results: Some(2),
            next_token: token,
            ..Default::default()
        };
        let page = bench.service.describe_parameters(&root(), input).await.unwrap();
        names.extend(page.parameters.unwrap().into_iter().map(|parameter| parameter.name.unwrap()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["/shop/a", "/shop/b", "/shop/c/d"]);
    let several = GetParametersRequest {
        names: Some(vec!["plain".to_owned(), "none".to_owned(), "plain:9".to_owned()]),
        ..Default::default()
    };
    let several = bench.service.get_parameters(&root(), several).await.unwrap();
    assert_eq!(several.parameters.unwrap().len(), 1);
    assert_eq!(several.invalid_parameters.unwrap(), ["none", "plain:9"]);
}

#[tokio::test]
async fn an_expired_parameter_answers_to_nobody_and_goes() {
    let bench = bench().await;
    let policies = r#"[{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"2023-11-14T22:20:00Z"}}]"#;
    let mut brief = input("brief", "v", "String");
    brief.policies = text(policies);
    assert_eq!(bench.refused(brief.clone()).await, "ValidationException", "of a standard parameter");
    brief.tier = Some(ParameterTier::Advanced);
    bench.put(brief).await.unwrap();
    assert_eq!(bench.value("brief").await, "v");
    bench.seconds.store(1_700_001_000, Ordering::SeqCst);
    assert_eq!(bench.get("brief", true).await.unwrap_err().code, "ParameterNotFound");
    assert_eq!(bench.put(input("brief", "again", "String")).await.unwrap(), 1);
    assert_eq!(bench.value("brief").await, "again");
    delete::purge(bench.parameters.inner()).await.unwrap();
    assert_eq!(bench.value("brief").await, "again");
    let rows = bench.store.range(gantry_store::KeyRange::prefix("/parameter-values/"), 1000).await.unwrap();
    assert_eq!(rows.kvs.len(), 1, "the values of the expired one are gone");
}

#[tokio::test]
async fn a_secret_is_read_as_a_parameter() {
    let bench = bench().await;
    let secret = CreateSecretRequest { name: text("prod/db"), secret_string: text("hush"), ..Default::default() };
    let arn = bench.secrets.create_secret(&root(), secret).await.unwrap().arn;
    let name = "/aws/reference/secretsmanager/prod/db";
    let read = bench.get(name, true).await.unwrap();
    assert_eq!((read.value.as_deref(), read.arn, read.version), (Some("hush"), arn, Some(0)));
    assert!(read.source_result.unwrap().contains("\"Name\":\"prod/db\""));
    assert_eq!(bench.value(&format!("{name}:AWSCURRENT")).await, "hush");
    assert_eq!(bench.get(name, false).await.unwrap_err().code, "ValidationException");
    let none = bench.get("/aws/reference/secretsmanager/none", true).await.unwrap_err();
    assert_eq!(none.code, "ParameterNotFound");
}

#[tokio::test]
async fn tags_are_added_listed_and_removed() {
    let bench = bench().await;
    bench
        .put(PutParameterRequest {
            tags: Some(vec![Tag { key: text("team"), value: text("a") }]),
            ..input("/shop/db", "v", "String")
        })
        .await
        .unwrap();
    let kind = || Some(ResourceTypeForTagging::Parameter);
    let add = |id: &str| AddTagsToResourceRequest {
        resource_id: text(id),
        resource_type: kind(),
        tags: Some(vec![Tag { key: text("stage"), value: text("prod") }]),
    };
    bench.service.add_tags_to_resource(&root(), add("/shop/db")).await.unwrap();
    let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/shop/db";
    assert_eq!(bench.parameters.resource_tags(arn).len(), 2);
    let remove = RemoveTagsFromResourceRequest {
        resource_id: text("/shop/db"),
        resource_type: kind(),
        tag_keys: Some(vec!["team".to_owned(), "none".to_owned()]),
    };
    bench.service.remove_tags_from_resource(&root(), remove).await.unwrap();
    let list = ListTagsForResourceRequest { resource_id: text("/shop/db"), resource_type: kind() };
    let listed = bench.service.list_tags_for_resource(&root(), list).await.unwrap().tag_list.unwrap();
    assert_eq!(listed, [Tag { key: text("stage"), value: text("prod") }]);
    let none = bench.service.add_tags_to_resource(&root(), add("/none")).await.unwrap_err();
    assert_eq!(none.code, "InvalidResourceId");
    let document = AddTagsToResourceRequest { resource_type: Some(ResourceTypeForTagging::Document), ..add("x") };
    let none = bench.service.add_tags_to_resource(&root(), document).await.unwrap_err();
    assert_eq!(none.code, "InvalidResourceType");
}
