//! Events are told at least once, whenever the follower ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gantry_api::event::{Event, EventSink, Telling, Untold};
use gantry_control::events;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::Server;

/// Takes events, but for the first so many calls.
struct Sink {
    refuses: AtomicUsize,
    taken: mpsc::UnboundedSender<Event>,
}

impl EventSink for Sink {
    fn emit(&self, _: Event) {}

    fn tell(&self, events: Vec<Event>) -> Telling<'_> {
        let refused = self.refuses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !refused {
            events.into_iter().for_each(|event| drop(self.taken.send(event)));
        }
        Box::pin(std::future::ready(if refused { Err(Untold("not now".into())) } else { Ok(()) }))
    }
}

fn sink(refuses: usize) -> (Arc<Sink>, mpsc::UnboundedReceiver<Event>) {
    let (taken, events) = mpsc::unbounded_channel();
    (Arc::new(Sink { refuses: AtomicUsize::new(refuses), taken }), events)
}

/// Follows until an event about `service` is told, and ends then as a killed process does.
async fn follow(server: &Server, service: &str, refuses: usize) -> Vec<Event> {
    let (sink, mut taken) = sink(refuses);
    let following = tokio::spawn(events::tell(server.control.clone(), sink));
    let mut told = Vec::new();
    while !told.iter().any(|event: &Event| event.resources[0].ends_with(service)) {
        told.push(taken.recv().await.unwrap());
    }
    following.abort();
    told
}

async fn service(server: &Server, name: &str) {
    let input = json!({"serviceName": name, "taskDefinition": "f", "desiredCount": 0});
    server.ok("CreateService", input).await;
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_nobody_follows_is_told_later_under_the_same_id() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    let container = json!([{"name": "main", "image": "i", "memory": 64}]);
    server.ok("RegisterTaskDefinition", json!({"family": "f", "containerDefinitions": container})).await;
    events::begin(&server.control).await.unwrap();
    service(&server, "one").await;
    let first = follow(&server, "service/default/one", 2).await;
    service(&server, "two").await;
    // The position was not yet written, so the first is told again, and the second is told though nobody followed.
    let second = follow(&server, "service/default/two", 0).await;
    assert_eq!(first[0].detail_type, "ECS Deployment State Change");
    assert_eq!((&second[0].id, &second[0].resources), (&first[0].id, &first[0].resources));
    let ids: std::collections::BTreeSet<&str> = second.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), second.len(), "{second:#?}");
}
