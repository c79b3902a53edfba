//! The registry behind a real port, for clients that are not ours.

use std::net::SocketAddr;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_registry::push::Target;

use crate::harness::World;

pub(crate) struct Server {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let world = World::new().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = world.router.clone();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { world, address, serving }
    }

    /// `AWS:PASSWORD`
    pub(crate) fn credentials(&self) -> String {
        let basic = self.world.authorization.strip_prefix("Basic ").unwrap();
        String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap()
    }

    pub(crate) fn target(&self, repository: &str, tag: &str) -> Target {
        let credentials = self.credentials();
        let (username, password) = credentials.split_once(':').unwrap();
        Target {
            endpoint: format!("http://{}", self.address),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn client() -> reqwest::Client {
    // Fails when another test of this process was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Runs a program that must succeed; returns what it printed.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> String {
    let (ok, stdout, stderr) = try_run(program, arguments).await;
    assert!(ok, "{program} {arguments:?}\n{stdout}{stderr}");
    stdout
}

/// Runs a program; whether it succeeded, and what it printed and complained about.
pub(crate) async fn try_run(program: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = tokio::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}
