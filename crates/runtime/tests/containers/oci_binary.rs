//! The same containers through an OCI runtime executable.

use std::{path::Path, process::Command};

use gantry_runtime::container::{ContainerError, Containers, ExecOutcome, HeldEnv};

use super::{
    exec::request,
    fixture::{Fixture, oci_binary},
};

/// Containers under Debian's runc.
fn fixture() -> Fixture {
    Fixture::with_runtime(oci_binary("runc"))
}

#[tokio::test]
async fn runc_runs_a_container_with_our_filter_and_limits() {
    let fixture = fixture();
    let mut spec = fixture
        .shell("grep -E 'Seccomp:|CapBnd|Uid|SigBlk' /proc/self/status; unshare -U true 2>&1; echo err >&2; exit 4");
    spec.limits.memory_bytes = Some(64 << 20);
    spec.user = "app".into();
    let (record, output) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 4, "{output}");
    for expected in [
        "Seccomp:\t2",
        "CapBnd:\t00000000a80425fb",
        "Uid:\t1000",
        "SigBlk:\t0000000000000000",
        "Operation not permitted",
    ] {
        assert!(output.contains(expected), "{expected} in {output}");
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn runc_executes_kills_and_is_told_apart_from_programs_that_are_missing() {
    let fixture = fixture();
    let spec = fixture.spec(&["sleep", "1000"]);
    fixture.containers.start(&spec).await.unwrap();
    let outcome = fixture.containers.exec(&spec.id, &request(&["sh", "-c", "echo hi; exit 3"])).await.unwrap();
    assert_eq!(outcome, ExecOutcome { exit_code: Some(3), output: "hi\n".into() });
    fixture.containers.signal(&spec.id, libc::SIGKILL).await.unwrap();
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 137);
    match fixture.containers.start(&fixture.spec(&["nope"])).await {
        Err(ContainerError::Command { detail }) => {
            assert_eq!(detail, "exec: \"nope\": executable file not found in $PATH");
        }
        other => panic!("{other:?}"),
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn secrets_of_a_command_are_in_no_file_while_it_runs() {
    let fixture = fixture();
    let mut spec = fixture.spec(&["sleep", "1000"]);
    spec.held_env = HeldEnv(vec!["TOKEN=hush-hush".into()]);
    let root = format!("/proc/{}/root", fixture.containers.start(&spec).await.unwrap().pid);
    let script = "echo > /runs; until [ -e /looked ]; do :; done; echo $TOKEN";
    let request = request(&["sh", "-c", script]);
    let look = async {
        while !Path::new(&root).join("runs").exists() {
            tokio::task::yield_now().await;
        }
        let found =
            Command::new("grep").args(["-rlas", "-D", "skip", "hush-hush"]).arg(fixture.directory.path()).output();
        std::fs::write(Path::new(&root).join("looked"), "").unwrap();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    let (outcome, found) = tokio::join!(fixture.containers.exec(&spec.id, &request), look);
    assert_eq!(outcome.unwrap(), ExecOutcome { exit_code: Some(0), output: "hush-hush\n".into() });
    assert_eq!(found, "");
    fixture.clean_up().await;
}

#[tokio::test]
async fn runc_gives_a_terminal() {
    let fixture = fixture();
    let mut spec = fixture.shell("test -t 1 && echo yes");
    spec.terminal = true;
    assert_eq!(fixture.run(&spec).await.1, "yes\r\n");
    fixture.clean_up().await;
}
