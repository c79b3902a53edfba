//! Removal of images that no task uses, now and then.

use std::collections::BTreeSet;

use gantry_api::agent::ObservedStatus;
use tracing::{info, warn};

use crate::{config::ImagePullBehavior, host::Host};

/// Cleans up for as long as it is polled.
pub(crate) async fn run(host: &Host) {
    let interval = host.config.image_cleanup_interval;
    let Some(interval) = interval.filter(|_| host.config.image_pull_behavior != ImagePullBehavior::PreferCached) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(interval).await;
        once(host).await;
    }
}

async fn once(host: &Host) {
    // Pulls and creations have the right of way: a writer that queued would make every later start wait for the
    // longest download.
    let Ok(_alone) = host.image_use.try_write() else { return };
    let mut keep: BTreeSet<String> = host.recent_images(host.config.image_minimum_cleanup_age);
    for task in host.outbox.everything() {
        if task.last_status != ObservedStatus::Stopped {
            keep.extend(task.containers.into_iter().filter_map(|container| container.image_digest));
        }
    }
    let keep: Vec<String> = keep.into_iter().collect();
    match host.runtime.images.collect_garbage(&keep).await {
        Ok(0) => {}
        Ok(bytes) => info!(bytes, "unused images removed"),
        Err(error) => warn!(%error, "unused images were not removed"),
    }
}
