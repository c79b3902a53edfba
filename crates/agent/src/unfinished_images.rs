//! Credentials for whoever fetches images that containers use already (`gantry_runtime::image`, `lazy.rs`): they run on
//! without us, but tokens end.

use std::time::Duration;

use tracing::debug;

use crate::{host::Host, reason::chain};

const INTERVAL: Duration = Duration::from_secs(60);

/// Renews for as long as it is polled; first at once, because an agent may have been away for long.
pub(crate) async fn run(host: &Host) {
    loop {
        for reference in host.runtime.images.unfinished().await {
            match host.registries.access(&reference, None).await {
                Ok(access) => host.runtime.images.renew(&reference, &access).await,
                Err(error) => debug!(reference, error = chain(&error), "no credentials for an unfinished image"),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
