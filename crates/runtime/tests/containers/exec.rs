//! Commands inside running containers.

use std::time::Duration;

use gantry_runtime::container::{ContainerError, Containers, ExecOutcome, ExecRequest};

use super::fixture::Fixture;

pub(crate) fn request(args: &[&str]) -> ExecRequest {
    ExecRequest {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        user: String::new(),
        timeout: Duration::from_secs(30),
    }
}

fn shell(script: &str) -> ExecRequest {
    request(&["sh", "-c", script])
}

#[tokio::test]
async fn a_command_is_as_confined_as_the_container() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&["sleep", "1000"]);
    spec.user = "app".into();
    spec.env.push("X=1".into());
    spec.working_dir = "/home/app".into();
    spec.ulimits = [("nofile".to_owned(), (99, 100))].into();
    spec.limits.memory_bytes = Some(32 << 20);
    let started = fixture.containers.start(&spec).await.unwrap();
    let script = "grep -E '^(Uid|Groups|Seccomp|CapEff|CapBnd):' /proc/self/status; pwd; echo $X; ulimit -n; \
         for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup | sort";
    let outcome = fixture.containers.exec(&spec.id, &shell(script)).await.unwrap();
    assert_eq!(outcome.exit_code, Some(0), "{outcome:?}");
    let namespaces: String = ["pid", "net", "ipc", "uts", "mnt", "cgroup"]
        .iter()
        .map(|kind| format!("{}\n", std::fs::read_link(format!("/proc/{}/ns/{kind}", started.pid)).unwrap().display()))
        .collect();
    let expected = format!(
        "Uid:\t1000\t1000\t1000\t1000\nGroups:\t2000 \nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n\
         Seccomp:\t2\n/home/app\n1\n99\n{namespaces}"
    );
    assert!(outcome.output.starts_with(&expected), "{}\nexpected\n{expected}", outcome.output);
    assert!(outcome.output.contains("memory:/\n") || outcome.output.ends_with("0::/\n"), "{}", outcome.output);

    let as_root = ExecRequest { user: "root".into(), ..request(&["id", "-u"]) };
    let outcome = fixture.containers.exec(&spec.id, &as_root).await.unwrap();
    assert_eq!(outcome, ExecOutcome { exit_code: Some(0), output: "0\n".into() });
    fixture.clean_up().await;
}

#[tokio::test]
async fn codes_output_and_errors() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&["sleep", "1000"]);
    fixture.containers.start(&spec).await.unwrap();
    let outcome = fixture.containers.exec(&spec.id, &shell("echo out; echo err >&2; exit 3")).await.unwrap();
    assert_eq!(outcome, ExecOutcome { exit_code: Some(3), output: "out\nerr\n".into() });
    let outcome = fixture
        .containers
        .exec(&spec.id, &shell("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"))
        .await
        .unwrap();
    assert_eq!(outcome.output.len(), 4096);
    assert!(outcome.output.ends_with("line 4999\n"));
    match fixture.containers.exec(&spec.id, &request(&["nope"])).await {
        Err(ContainerError::Command { detail }) => {
            assert_eq!(detail, "exec: \"nope\": executable file not found in $PATH");
        }
        other => panic!("{other:?}"),
    }
    // A child that keeps the output open does not hold the answer up.
    let outcome = fixture.containers.exec(&spec.id, &shell("sleep 1000 & echo done")).await.unwrap();
    assert_eq!(outcome, ExecOutcome { exit_code: Some(0), output: "done\n".into() });
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_dies_with_its_children() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&["sleep", "1000"]);
    // Orphans go to process 1 of the container, and only an init reaps them.
    spec.init_process = true;
    fixture.containers.start(&spec).await.unwrap();
    let slow =
        ExecRequest { timeout: Duration::from_millis(500), ..shell("echo started; sleep 998 & sleep 999; echo BAD") };
    let outcome = fixture.containers.exec(&spec.id, &slow).await.unwrap();
    assert_eq!(outcome, ExecOutcome { exit_code: None, output: "started\n".into() });
    let left = fixture
        .containers
        .exec(&spec.id, &shell("ps -o args | grep -c '[s]leep 99'; ps -o stat | grep -c Z"))
        .await
        .unwrap();
    assert_eq!(left.output, "0\n0\n", "nothing lives on and nothing is a zombie");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_container_that_ended_takes_no_command() {
    let fixture = Fixture::new();
    let spec = fixture.shell("true");
    fixture.run(&spec).await;
    let outcome = fixture.containers.exec(&spec.id, &request(&["true"])).await;
    assert!(matches!(outcome, Err(ContainerError::NotRunning { .. })), "{outcome:?}");
    fixture.clean_up().await;
}
