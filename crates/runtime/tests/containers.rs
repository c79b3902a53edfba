//! Real containers, looked at from inside and from outside. Needs root, control groups and a static busybox.
//!
//! Self-contained on purpose: `GANTRY_SHIM` (default: the example program `shim` beside this test) and `BUSYBOX`
//! (default: /bin/busybox) are all it needs, so it also runs in a bare virtual machine.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "containers/fixture.rs"]
mod fixture;

use std::time::Duration;

use fixture::Fixture;
use gantry_runtime::container::{ContainerStatus, Containers};

#[tokio::test]
async fn a_container_runs_prints_and_ends() {
    let fixture = Fixture::new();
    let spec = fixture.shell("echo hello; echo oops >&2; exit 7");
    let started = fixture.containers.start(&spec).await.unwrap();
    assert!(started.pid > 1);
    let record = fixture.containers.wait(&spec.id).await.unwrap();
    assert_eq!(record.exit_code, 7);
    assert!(!record.oom_killed);
    assert!(record.finished_at_ms >= record.started_at_ms);
    let lines = fixture.log(&spec);
    assert!(lines.contains(&("stdout".into(), "hello\n".into())), "{lines:?}");
    assert!(lines.contains(&("stderr".into(), "oops\n".into())), "{lines:?}");
    let listed = fixture.containers.list().await.unwrap();
    assert_eq!(listed[&spec.id], ContainerStatus::Exited(record));
    fixture.clean_up().await;
}

#[tokio::test]
async fn waiting_takes_a_timeout_without_losing_the_container() {
    let fixture = Fixture::new();
    let spec = fixture.shell("exec sleep 1000");
    fixture.containers.start(&spec).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), fixture.containers.wait(&spec.id)).await.is_err());
    fixture.containers.signal(&spec.id, libc::SIGKILL).await.unwrap();
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 137);
    fixture.clean_up().await;
}
