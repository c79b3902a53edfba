//! How long a deleted cluster is remembered.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use gantry_control::{
    Clock,
    reconcile::{Clusters, Reconciler, Wake},
};
use gantry_domain::{Timestamp, limits::INACTIVE_CLUSTER_RETENTION_SECONDS};
use serde_json::json;

use crate::support::Server;

#[derive(Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_deleted_cluster_is_forgotten_after_its_time_and_not_before_what_was_in_it() {
    let clock = Arc::new(SetClock::default());
    let server = Server::with_clock(clock.clone()).await;
    let reconciler = Clusters::new(server.control.clone());
    server.ok("CreateCluster", json!({})).await;
    assert!(reconciler.keys().is_empty(), "nothing to do for an ACTIVE cluster");
    server.task(1, "web:1", "STOPPED").await;
    server.ok("DeleteCluster", json!({"cluster": "default"})).await;
    let [key] = &reconciler.keys()[..] else { panic!("one cluster") };
    let due = i64::try_from(INACTIVE_CLUSTER_RETENTION_SECONDS).unwrap();
    assert_eq!(reconciler.reconcile(key).await.unwrap(), Wake::At(Timestamp::from_seconds(due)));
    clock.0.store(due, Ordering::SeqCst);
    reconciler.reconcile(key).await.unwrap();
    let described = || server.ok("DescribeClusters", json!({}));
    assert_eq!(
        described().await["clusters"][0]["status"],
        "INACTIVE",
        "its stopped task is still described through it"
    );
    server.forget_task(1).await;
    reconciler.reconcile(key).await.unwrap();
    assert_eq!(described().await["failures"][0]["reason"], "MISSING");
    assert!(reconciler.keys().is_empty());
}
