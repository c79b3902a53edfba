//! Tokens against providers, roles and their trust policies.

#![allow(clippy::unwrap_used)]

use gantry_api::iam::{CreateOpenIDConnectProviderRequest, CreateRoleRequest, Iam as _};
use gantry_domain::Timestamp;
use gantry_domain::networks::Network;
use gantry_protocol::identity::Keys;
use gantry_store::Memory;

use super::*;
use crate::sealing::Sealer;

const ACCOUNT: &str = "000000000000";
const TOKENS: &str = include_str!("tokens.json");
const ROLE: &str = "arn:aws:iam::000000000000:role/ci";

fn token(name: &str) -> String {
    let tokens: serde_json::Value = serde_json::from_str(TOKENS).unwrap();
    tokens["tokens"][name].as_str().unwrap().to_owned()
}

type Change = fn(&mut AssumeRoleWithWebIdentityRequest);

struct World {
    iam: Iam,
    issuers: Issuers,
    _folder: tempfile::TempDir,
}

impl World {
    /// An account that knows `https://id.example` and has a role that trusts its subject `repo:a/b`.
    async fn start(actions: &str) -> Self {
        let clock = Arc::new(|| Timestamp::from_seconds(1_700_000_000));
        let iam = Iam::open(Memory::store(), Sealer::ephemeral().unwrap(), clock).await.unwrap();
        let root = Caller::root(ACCOUNT, "us-east-1");
        let provider = CreateOpenIDConnectProviderRequest {
            url: Some("https://id.example".to_owned()),
            client_id_list: Some(vec!["sts.amazonaws.com".to_owned()]),
            ..Default::default()
        };
        iam.create_open_id_connect_provider(&root, provider).await.unwrap();
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":[{actions}],
            "Principal":{{"Federated":"arn:aws:iam::{ACCOUNT}:oidc-provider/id.example"}},
            "Condition":{{"StringEquals":{{"id.example:aud":"sts.amazonaws.com","ID.example:sub":"repo:a/b"}},
            "StringLike":{{"id.example:repository":"a/*"}}}}}}}}"#
        );
        let role = CreateRoleRequest {
            role_name: Some("ci".to_owned()),
            assume_role_policy_document: Some(trust),
            max_session_duration: Some(7200),
            ..Default::default()
        };
        iam.create_role(&root, role).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        std::fs::write(&keys, TOKENS).unwrap();
        let config = IssuerConfig { jwks: Some(Jwks::File(keys)), authorities: None };
        let configs = IssuerConfigs::from([("https://id.example".to_owned(), config)]);
        Self { iam, issuers: Issuers::new(Network::Public, configs), _folder: folder }
    }

    async fn assume(
        &self,
        token: &str,
        change: impl FnOnce(&mut AssumeRoleWithWebIdentityRequest),
    ) -> Result<AssumeRoleWithWebIdentityResponse, Fault> {
        let mut input = AssumeRoleWithWebIdentityRequest {
            role_arn: Some(ROLE.to_owned()),
            role_session_name: Some("run-7".to_owned()),
            web_identity_token: Some(token.to_owned()),
            ..Default::default()
        };
        change(&mut input);
        let nobody = Caller { account: String::new(), principal_arn: String::new(), ..Caller::root("", "us-east-1") };
        assume_role_with_web_identity(&self.iam, &self.issuers, &nobody, input).await
    }
}

#[tokio::test]
async fn a_good_token_begins_a_session_of_the_role() {
    let world = World::start(r#""sts:AssumeRoleWithWebIdentity""#).await;
    for name in ["RS256", "RS384", "RS512", "ES256", "ES384", "no key id"] {
        let answer = world.assume(&token(name), |_| {}).await.unwrap();
        assert_eq!(answer.subject_from_web_identity_token.as_deref(), Some("repo:a/b"));
        assert_eq!(answer.audience.as_deref(), Some("sts.amazonaws.com"));
        assert_eq!(answer.provider.as_deref(), Some("arn:aws:iam::000000000000:oidc-provider/id.example"));
        let arn = answer.assumed_role_user.unwrap().arn.unwrap();
        assert_eq!(arn, "arn:aws:sts::000000000000:assumed-role/ci/run-7");
        let credentials = answer.credentials.unwrap();
        let key = world.iam.key(&credentials.access_key_id.unwrap(), credentials.session_token.as_deref()).unwrap();
        assert_eq!((&*key.principal_arn, key.session.as_ref().unwrap().expires_at), (&*arn, 1_700_003_600));
        assert!(key.session.as_ref().unwrap().federated_provider.as_ref().unwrap().ends_with("/id.example"));
    }
    let long = world.assume(&token("ES256"), |input| input.duration_seconds = Some(7200)).await.unwrap();
    assert_eq!(long.credentials.unwrap().expiration, Some(gantry_api::Timestamp::from_millis(1_700_007_200_000)));
}

#[tokio::test]
async fn every_other_token_is_refused_in_the_services_words() {
    let world = World::start(r#""sts:AssumeRoleWithWebIdentity""#).await;
    let denied = "AccessDenied Not authorized to perform sts:AssumeRoleWithWebIdentity";
    let unsigned = "InvalidIdentityToken The web identity token that was passed could not be validated. Get a new \
                    identity token from the identity provider and then retry the request.";
    let no_key = "InvalidIdentityToken Couldn't retrieve verification key from your identity provider,  please \
                  reference AssumeRoleWithWebIdentity documentation for requirements";
    for (name, expected) in [
        ("other key", unsigned),
        ("tampered", unsigned),
        ("unknown key id", no_key),
        ("kind of another key", no_key),
        ("encryption key", no_key),
        ("none", "InvalidIdentityToken The signature algorithm \"none\" is not supported."),
        ("HMAC", "InvalidIdentityToken The signature algorithm \"HS256\" is not supported."),
        ("no issuer", "InvalidIdentityToken Missing a required claim: iss"),
        ("no subject", "InvalidIdentityToken Missing a required claim: sub"),
        (
            "other issuer",
            "InvalidIdentityToken No OpenIDConnect provider found in your account for https://id.example/",
        ),
        ("other audience", "InvalidIdentityToken Incorrect token audience"),
        (
            "expired",
            "ExpiredTokenException Token expired: current date/time 1700000000 must be before the expiration \
             date/time1699996400",
        ),
        ("future", "InvalidIdentityToken The claim nbf is in the future."),
        ("bad tags", "IDPRejectedClaim The claim https://aws.amazon.com/tags is invalid."),
        ("other subject", denied),
        // The trust policy allows neither tags nor a source identity.
        ("tagged", denied),
    ] {
        let fault = world.assume(&token(name), |_| {}).await.unwrap_err();
        assert_eq!(format!("{} {}", fault.code, fault.message), expected, "{name}");
    }
    let good = token("ES256");
    let changes: [(Change, &str); 5] = [
        (|input| input.role_arn = Some(ROLE.replace("ci", "none")), denied),
        (|input| input.role_arn = Some("arn:aws:iam::role/ci".to_owned()), "ValidationError Request ARN is invalid"),
        (
            |input| input.role_arn = Some(ROLE.replace(ACCOUNT, "111122223333")),
            "InvalidIdentityToken No OpenIDConnect provider found in your account for https://id.example",
        ),
        (
            |input| input.provider_id = Some("www.amazon.com".to_owned()),
            "ValidationError ProviderId is for OAuth 2.0 access tokens, which are not supported.",
        ),
        (
            |input| input.duration_seconds = Some(7201),
            "ValidationError The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
    ];
    for (change, expected) in changes {
        let fault = world.assume(&good, change).await.unwrap_err();
        assert_eq!(format!("{} {}", fault.code, fault.message), expected);
    }
}

#[tokio::test]
async fn a_token_tags_its_session_where_the_role_lets_it() {
    let actions = r#""sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity""#;
    let world = World::start(actions).await;
    let answer = world.assume(&token("tagged"), |_| {}).await.unwrap();
    assert_eq!((answer.source_identity.as_deref(), answer.packed_policy_size), (Some("ann"), Some(1)));
    let credentials = answer.credentials.unwrap();
    let key = world.iam.key(&credentials.access_key_id.unwrap(), credentials.session_token.as_deref()).unwrap();
    let session = key.session.as_ref().unwrap();
    assert_eq!(session.tags.get("team").map(String::as_str), Some("a"));
    assert_eq!(session.transitive_tag_keys, ["team"]);
}
