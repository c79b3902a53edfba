//! Machines over a store: joining, sessions, and what ends them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::Caller;
use gantry_api::machine::{AboutMachine, JoinProof, JoinRequest, SessionRequest, session_statement};
use gantry_companions::iam::Iam;
use gantry_companions::machines::{Machines, TokenOrder, identity_key};
use gantry_companions::sealing::Sealer;
use gantry_domain::Timestamp;
use gantry_protocol::identity::Keys;
use gantry_store::{Memory, Store, Txn};
use parking_lot::Mutex;
use ring::signature::{Ed25519KeyPair, KeyPair};

const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";

struct World {
    store: Store,
    iam: Iam,
    machines: Machines,
    own_token: String,
    seconds: Arc<Mutex<i64>>,
}

impl World {
    async fn new() -> Self {
        let (store, sealer) = (Memory::store(), Sealer::ephemeral().unwrap());
        let seconds = Arc::new(Mutex::new(1_700_000_000));
        let now = seconds.clone();
        let clock: gantry_companions::iam::Clock = Arc::new(move || Timestamp::from_seconds(*now.lock()));
        let iam = Iam::open(store.clone(), sealer, clock.clone()).await.unwrap();
        iam.ensure_instance_role(ACCOUNT).await.unwrap();
        let (machines, own_token) = Machines::open(store.clone(), iam.clone(), clock, (ACCOUNT, REGION)).await.unwrap();
        Self { store, iam, machines, own_token, seconds }
    }

    fn caller(&self) -> Caller {
        Caller::root(ACCOUNT, REGION)
    }

    async fn token(&self, order: TokenOrder) -> String {
        self.machines.create_token(&self.caller(), order).await.unwrap().token
    }

    async fn join(&self, token: &str, key: &Ed25519KeyPair) -> Result<String, String> {
        let request = JoinRequest {
            proof: JoinProof::Token { token: token.to_owned() },
            public_key: STANDARD.encode(key.public_key()),
            about: AboutMachine::default(),
        };
        let joined = self.machines.join(request, "192.0.2.1".into()).await;
        joined.map(|answer| answer.machine_id).map_err(|fault| fault.code.to_string())
    }

    fn session(&self, machine_id: &str, key: &Ed25519KeyPair) -> Result<(String, String), String> {
        let at_ms = u64::try_from(*self.seconds.lock()).unwrap() * 1000;
        let signature = STANDARD.encode(key.sign(session_statement(machine_id, at_ms).as_bytes()));
        let request = SessionRequest { machine_id: machine_id.to_owned(), at_ms, signature };
        let begun = self.machines.begin_session(&request);
        begun.map(|new| (new.access_key_id, new.session_token)).map_err(|fault| fault.code.to_string())
    }
}

fn key() -> Ed25519KeyPair {
    let random = ring::rand::SystemRandom::new();
    Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap()
}

#[tokio::test]
async fn a_token_lets_in_as_many_machines_as_it_says_and_no_longer_than_it_says() {
    let world = World::new().await;
    let (first, second, third) = (key(), key(), key());
    let token = world.token(TokenOrder { uses: Some(2), ttl_seconds: Some(60), ..Default::default() }).await;
    let id = world.join(&token, &first).await.unwrap();
    assert_eq!(world.join(&token, &first).await.unwrap(), id, "a lost answer is given again");
    world.join(&token, &second).await.unwrap();
    assert_eq!(world.join(&token, &third).await.unwrap_err(), "JoinTokenRefused");

    let token = world.token(TokenOrder { ttl_seconds: Some(60), ..Default::default() }).await;
    let wrong = format!("{}{}", &token[..token.len() - 1], if token.ends_with('x') { 'y' } else { 'x' });
    assert_eq!(world.join(&wrong, &third).await.unwrap_err(), "JoinTokenRefused");
    *world.seconds.lock() += 61;
    assert_eq!(world.join(&token, &third).await.unwrap_err(), "JoinTokenRefused");
    for text in ["", "gjt--", "gjt-own-guess"] {
        assert_eq!(world.join(text, &third).await.unwrap_err(), "JoinTokenRefused", "{text}");
    }
}

#[tokio::test]
async fn a_revoked_token_lets_nobody_in_and_its_secret_is_kept_nowhere() {
    let world = World::new().await;
    let token = world.token(TokenOrder { uses: Some(5), ..Default::default() }).await;
    let secret = token.rsplit('-').next().unwrap().to_owned();
    let everything = world.store.range(gantry_store::KeyRange::prefix("/machines/"), 100).await.unwrap();
    for kv in everything.kvs {
        assert!(!String::from_utf8_lossy(&kv.value).contains(&secret));
    }
    let listed = world.machines.tokens(&world.caller());
    assert_eq!((listed.len(), listed[0].uses_left), (1, 5));
    let elsewhere = Caller::root("111122223333", REGION);
    assert!(world.machines.revoke_token(&elsewhere, &listed[0].id).await.is_err());
    world.machines.revoke_token(&world.caller(), &listed[0].id).await.unwrap();
    assert_eq!(world.join(&token, &key()).await.unwrap_err(), "JoinTokenRefused");
}

#[tokio::test]
async fn a_session_is_had_by_the_machines_own_key_and_ends_with_its_identity() {
    let world = World::new().await;
    let (mine, other) = (key(), key());
    let token = world.token(TokenOrder { cluster: Some("edge".into()), ..Default::default() }).await;
    let id = world.join(&token, &mine).await.unwrap();
    assert_eq!(world.session(&id, &other).unwrap_err(), "InvalidSignature");
    assert_eq!(world.session("i-0", &mine).unwrap_err(), "MachineRevoked");
    let (access_key, session_token) = world.session(&id, &mine).unwrap();
    let found = world.iam.key(&access_key, Some(&session_token)).unwrap();
    assert_eq!(found.principal_arn, format!("arn:aws:sts::{ACCOUNT}:assumed-role/ecsInstanceRole/{id}"));
    let machine = found.session.as_ref().unwrap().machine.clone().unwrap();
    assert_eq!((machine.id.as_str(), machine.cluster.as_deref(), machine.fargate), (id.as_str(), Some("edge"), false));

    assert!(world.machines.has(ACCOUNT, &id));
    world.store.txn(Txn::new().delete(identity_key(ACCOUNT, REGION, &id))).await.unwrap();
    // The picture follows the store; asking for a token waits for it.
    world.token(TokenOrder::default()).await;
    assert!(!world.machines.has(ACCOUNT, &id));
    assert_eq!(world.session(&id, &mine).unwrap_err(), "MachineRevoked");
}

#[tokio::test]
async fn machines_are_listed_in_pages_and_put_out_by_their_own_account() {
    let world = World::new().await;
    let token = world.token(TokenOrder { uses: Some(2), ..Default::default() }).await;
    let (mine, other) = (key(), key());
    let mut ids = [world.join(&token, &mine).await.unwrap(), world.join(&token, &other).await.unwrap()];
    // The token is used up; whoever did not hear the answer asks again, also after another token was made.
    world.token(TokenOrder::default()).await;
    assert_eq!(world.join(&token, &mine).await.unwrap(), ids[0]);
    let id = ids[0].clone();
    ids.sort();
    let caller = world.caller();
    let pages = [world.machines.list(&caller, None, 1), world.machines.list(&caller, Some(&ids[0]), 1)];
    assert_eq!(pages.concat().iter().map(|machine| machine.id.as_str()).collect::<Vec<_>>(), ids);
    assert!(world.machines.list(&caller, Some(&ids[1]), 1).is_empty());
    let elsewhere = Caller::root("111122223333", REGION);
    assert!(world.machines.list(&elsewhere, None, 10).is_empty());
    assert_eq!(world.machines.revoke(&elsewhere, &id).await.unwrap_err().code, "ResourceNotFoundException");
    world.machines.revoke(&caller, &id).await.unwrap();
    assert!(!world.machines.has(ACCOUNT, &id));
    assert_eq!(world.session(&id, &mine).unwrap_err(), "MachineRevoked");
    let own = world.join(&world.own_token, &key()).await.unwrap();
    assert_eq!(world.machines.revoke(&caller, &own).await.unwrap_err().status, 400);
}

#[tokio::test]
async fn a_statement_is_good_for_minutes_only() {
    let world = World::new().await;
    let mine = key();
    let id = world.join(&world.own_token, &mine).await.unwrap();
    let at_ms = 1_700_000_000_000;
    let signature = STANDARD.encode(mine.sign(session_statement(&id, at_ms).as_bytes()));
    let request = SessionRequest { machine_id: id, at_ms, signature };
    world.machines.begin_session(&request).unwrap();
    *world.seconds.lock() += 301;
    assert_eq!(world.machines.begin_session(&request).unwrap_err().code, "ClockSkew");
}
