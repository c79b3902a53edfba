//! Durable registrations per second without HTTP and signatures: what the store, the picture and the checks cost.
//! `cargo run --release -p gantry-control --example bench_register -- [DIR]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use gantry_api::{Caller, ecs};
use gantry_control::{Control, EcsService, Settings, SystemClock};
use gantry_protocol::json::Json;
use gantry_store::{Embedded, EmbeddedOptions};

const BODY: &str = r#"{"family":"FAMILY","networkMode":"bridge","containerDefinitions":[{"name":"app",
    "image":"localhost:4566/app:1","memory":128,"portMappings":[{"containerPort":80}],
    "environment":[{"name":"A","value":"1"}],"logConfiguration":{"logDriver":"awslogs",
    "options":{"awslogs-group":"g","awslogs-region":"us-east-1"}}}]}"#;

#[tokio::main]
async fn main() {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let path = directory.join(format!("bench-register-{}.redb", std::process::id()));
    let store = Embedded::open(&path, EmbeddedOptions::default()).await.unwrap();
    let control = Control::open(store, Arc::new(SystemClock), Settings::default()).await.unwrap();
    let service = EcsService::new(control);
    for clients in [1, 16, 64] {
        for families in [1, clients] {
            let rate = run(&service, clients, families).await;
            println!("{clients:3} clients, {families:3} families: {rate:8.0} registrations/s");
        }
    }
    std::fs::remove_file(path).unwrap();
}

async fn run(service: &EcsService, clients: usize, families: usize) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let (started, time) = (Instant::now(), Duration::from_secs(3));
    let mut running = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (service, done) = (service.clone(), done.clone());
        let body = BODY.replace("FAMILY", &format!("family-{clients}-{families}-{}", client % families));
        running.spawn(async move {
            while started.elapsed() < time {
                let caller = caller();
                let codec = Json(body.as_bytes());
                ecs::dispatch(&service, &caller, "RegisterTaskDefinition", &codec).await.unwrap().unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    running.join_all().await;
    f64::from(u32::try_from(done.load(Ordering::Relaxed)).unwrap()) / started.elapsed().as_secs_f64()
}

fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}
