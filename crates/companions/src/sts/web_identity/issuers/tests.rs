//! Issuers that answer, that do not, and that answer what they should not.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

const TOKENS: &str = include_str!("../tokens.json");
const NOW: u64 = 1_700_000_000;

fn token(name: &str) -> String {
    let tokens: serde_json::Value = serde_json::from_str(TOKENS).unwrap();
    tokens["tokens"][name].as_str().unwrap().to_owned()
}

/// An issuer on this machine.
struct Issuer {
    url: String,
    /// How often it was asked for its keys.
    asked: Arc<AtomicUsize>,
    /// What it answers, by path: a status line with further headers, and a body.
    answers: Arc<Mutex<BTreeMap<String, (String, String)>>>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, asked: Arc::default(), answers: Arc::default() };
        issuer.describes(&issuer.url, &format!("{}/keys", issuer.url));
        issuer.answers("/keys", "200 OK", TOKENS);
        let (asked, answers) = (Arc::clone(&issuer.asked), Arc::clone(&issuer.answers));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                if path == "/keys" {
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                let (status, body) = answers.lock().get(path).cloned().unwrap_or(("404 None".into(), String::new()));
                let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        issuer
    }

    fn answers(&self, path: &str, status: &str, body: &str) {
        self.answers.lock().insert(path.to_owned(), (status.to_owned(), body.to_owned()));
    }

    fn describes(&self, issuer: &str, jwks_uri: &str) {
        let described = serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string();
        self.answers("/.well-known/openid-configuration", "200 OK", &described);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// `found`, `unknown` or `unreachable`.
async fn look(issuers: &Issuers, issuer: &str, name: &str, now: u64) -> &'static str {
    let token = token(name);
    match issuers.key(issuer, &Jwt::parse(&token).unwrap(), now).await {
        Ok(_) => "found",
        Err(KeyError::Unknown) => "unknown",
        Err(KeyError::Unreachable) => "unreachable",
    }
}

fn issuers() -> Issuers {
    Issuers::new(Network::Private, IssuerConfigs::new())
}

#[tokio::test]
async fn keys_are_kept_for_an_hour_and_an_unknown_one_is_asked_for_at_most_every_ten_seconds() {
    let (issuer, issuers) = (Issuer::start().await, issuers());
    let old = TOKENS.replace(r#""kid": "p384""#, r#""kid": "old""#);
    issuer.answers("/keys", "200 OK", &old);
    for (now, name, expected, asked) in [
        (NOW, "ES256", "found", 1),
        (NOW + 9, "ES384", "unknown", 1),
        (NOW + 10, "ES384", "unknown", 2),
        (NOW + 19, "ES384", "unknown", 2),
        (NOW + 19, "RS256", "found", 2),
        (NOW + 10 + FRESH_SECONDS - 1, "ES256", "found", 2),
        (NOW + 10 + FRESH_SECONDS, "ES256", "found", 3),
    ] {
        assert_eq!((look(&issuers, &issuer.url, name, now).await, issuer.asked()), (expected, asked), "{name} {now}");
    }
    // The issuer has a new key.
    issuer.answers("/keys", "200 OK", TOKENS);
    let later = NOW + 20 + FRESH_SECONDS;
    assert_eq!((look(&issuers, &issuer.url, "ES384", later).await, issuer.asked()), ("found", 4));
    // It has withdrawn all of them: they count until the hour is over.
    issuer.answers("/keys", "503 Later", "");
    assert_eq!(look(&issuers, &issuer.url, "ES384", later + FRESH_SECONDS - 1).await, "found");
    assert_eq!(look(&issuers, &issuer.url, "ES384", later + FRESH_SECONDS).await, "unreachable");
}

#[tokio::test]
async fn tokens_that_come_at_once_ask_the_issuer_once() {
    let (issuer, issuers) = (Issuer::start().await, issuers());
    let looks: Vec<_> = (0..20)
        .map(|_| {
            let (issuers, url) = (issuers.clone(), issuer.url.clone());
            tokio::spawn(async move { look(&issuers, &url, "ES256", NOW).await })
        })
        .collect();
    for look in looks {
        assert_eq!(look.await.unwrap(), "found");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_issuer_leads_nowhere_and_is_not_read_without_end() {
    let large = format!("{}{}", " ".repeat(DOCUMENT_BYTES_MAX), TOKENS);
    let issuer = Issuer::start().await;
    let elsewhere = Issuer::start().await;
    let redirect = format!("302 Found\r\nLocation: {}/keys", elsewhere.url);
    for (status, body) in [("500 No", TOKENS), (&*redirect, ""), ("200 OK", &*large), ("200 OK", "<html>")] {
        issuer.answers("/keys", status, body);
        assert_eq!(look(&issuers(), &issuer.url, "ES256", NOW).await, "unreachable", "{status}");
    }
    assert_eq!(elsewhere.asked(), 0);
    issuer.answers("/keys", "200 OK", TOKENS);
    for (says, keys) in [
        (&*issuer.url, "http://169.254.169.254/keys"),
        (&issuer.url, "http://id.example/keys"),
        (&issuer.url, "file:///etc/passwd"),
        (&issuer.url, "keys"),
        (&elsewhere.url, &format!("{}/keys", issuer.url)),
    ] {
        issuer.describes(says, keys);
        assert_eq!(look(&issuers(), &issuer.url, "ES256", NOW).await, "unreachable", "{says} {keys}");
    }
    issuer.describes(&issuer.url, &format!("{}/keys", issuer.url));
    // Where nothing local may be reached, neither may an issuer.
    let outside = Issuers::new(Network::Public, IssuerConfigs::new());
    assert_eq!(look(&outside, &issuer.url, "ES256", NOW).await, "unreachable");
    assert_eq!(look(&issuers(), &issuer.url, "ES256", NOW).await, "found");
}

#[test]
fn plain_http_is_for_this_machine() {
    for (text, plain, expected) in [
        ("https://id.example/keys", false, true),
        ("http://127.0.0.1:80/keys", true, true),
        ("http://[::1]/keys", true, true),
        ("http://localhost/keys", true, true),
        ("http://127.0.0.1:80/keys", false, false),
        ("http://10.0.0.1/keys", true, false),
        ("ftp://127.0.0.1/keys", true, false),
        ("data:,x", true, false),
    ] {
        assert_eq!(secure(text, plain).is_ok(), expected, "{text}");
    }
}

#[tokio::test]
async fn the_operator_says_where_the_keys_of_an_issuer_are() {
    let issuer = Issuer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let config = |jwks| {
        IssuerConfigs::from([("https://id.example".to_owned(), IssuerConfig { jwks: Some(jwks), authorities: None })])
    };
    // Whatever networks others may be in.
    let of_file = Issuers::new(Network::Public, config(Jwks::File(file.clone())));
    assert_eq!(look(&of_file, "https://id.example", "ES256", NOW).await, "unreachable");
    std::fs::write(&file, TOKENS).unwrap();
    assert_eq!(look(&of_file, "https://id.example", "ES256", NOW + 9).await, "unreachable");
    assert_eq!(look(&of_file, "https://id.example", "ES256", NOW + 10).await, "found");
    std::fs::write(&file, " ".repeat(DOCUMENT_BYTES_MAX + 1)).unwrap();
    assert_eq!(look(&of_file, "https://id.example", "ES256", NOW + 10 + FRESH_SECONDS).await, "unreachable");
    let url = format!("{}/keys", issuer.url).parse().unwrap();
    let of_url = Issuers::new(Network::Public, config(Jwks::Url(url)));
    assert_eq!(look(&of_url, "https://id.example", "ES256", NOW).await, "found");
}
