//! Start, end, restart, adoption, and what must not be left behind.

use std::{fs, time::Duration};

use gantry_runtime::container::{ContainerError, ContainerStatus, Containers, Namespace};

use super::fixture::Fixture;

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
async fn waiting_can_be_given_up_and_taken_up_again() {
    let fixture = Fixture::new();
    let spec = fixture.shell("exec sleep 1000");
    fixture.containers.start(&spec).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), fixture.containers.wait(&spec.id)).await.is_err());
    fixture.containers.signal(&spec.id, libc::SIGKILL).await.unwrap();
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 137);
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 137, "and asked again");
    fixture.clean_up().await;
}

#[tokio::test]
async fn exit_codes_and_signals_are_what_a_shell_would_say() {
    let fixture = Fixture::new();
    for (script, code) in [("true", 0), ("exit 255", 255), ("kill -TERM 1", 0)] {
        assert_eq!(fixture.run(&fixture.shell(script)).await.0.exit_code, code, "{script}");
    }
    // Process 1 ignores signals that it does not handle, so the program handles one.
    let spec = fixture.shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done");
    fixture.containers.start(&spec).await.unwrap();
    fixture.until_printed(&spec, "ready").await;
    fixture.containers.signal(&spec.id, libc::SIGTERM).await.unwrap();
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 9);
    fixture.clean_up().await;
}

#[tokio::test]
async fn programs_start_with_default_signals() {
    let fixture = Fixture::new();
    // No shell: it ignores some signals on its own account.
    let spec = fixture.spec(&["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]);
    let (_, output) = fixture.run(&spec).await;
    let sets: Vec<&str> = output.split_whitespace().filter(|word| !word.ends_with(':')).collect();
    assert_eq!(sets, ["0000000000000000"; 2], "{output}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_init_reaps_and_forwards() {
    let fixture = Fixture::new();
    let mut spec =
        fixture.shell("trap 'exit 21' TERM; (sleep 0.01 & exec true) & echo ready; while :; do sleep 0.01; done");
    spec.init_process = true;
    fixture.containers.start(&spec).await.unwrap();
    fixture.until_printed(&spec, "ready").await;
    fixture.containers.signal(&spec.id, libc::SIGTERM).await.unwrap();
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 21);

    let mut spec =
        fixture.shell("cat /proc/1/comm; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/1/status; kill -KILL $$");
    spec.init_process = true;
    let (record, output) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 137);
    assert!(output.contains("Seccomp:\t2"), "the init is as confined as the program: {output}");
    assert!(output.contains("00000000a80425fb"), "{output}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_ended_container_starts_again_and_its_log_goes_on() {
    let fixture = Fixture::new();
    let spec = fixture.shell("echo run >> /count; wc -l < /count; exit 3");
    for round in 1..=3 {
        let (record, output) = fixture.run(&spec).await;
        assert_eq!(record.exit_code, 3);
        assert_eq!(output.lines().count(), round, "the log continues, the writable layer stays: {output}");
        assert_eq!(output.lines().last().unwrap(), round.to_string());
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn starting_what_runs_already_changes_nothing() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&["sleep", "1000"]);
    let first = fixture.containers.start(&spec).await.unwrap();
    assert_eq!(fixture.containers.start(&spec).await.unwrap(), first);
    fixture.clean_up().await;
}

#[tokio::test]
async fn removing_kills_and_forgets_and_can_be_repeated() {
    let fixture = Fixture::new();
    let spec = fixture.shell("sleep 1000 & sleep 1000");
    let started = fixture.containers.start(&spec).await.unwrap();
    fixture.containers.remove(&spec.id).await.unwrap();
    assert!(!fs::exists(format!("/proc/{}", started.pid)).unwrap());
    fixture.containers.remove(&spec.id).await.unwrap();
    assert!(matches!(fixture.containers.wait(&spec.id).await, Err(ContainerError::NotRunning { .. })));
    assert!(matches!(fixture.containers.signal(&spec.id, 15).await, Err(ContainerError::NotRunning { .. })));
    fixture.clean_up().await;
}

#[tokio::test]
async fn another_agent_adopts_what_the_killed_one_left() {
    if super::fixture::be_another_agent().await {
        return;
    }
    let fixture = Fixture::new();
    let living = fixture.shell("trap 'echo bye; exit 42' TERM; echo ready; while :; do sleep 0.01; done");
    let ended = fixture.shell("exit 5");
    let mut agent = fixture.another_agent(&[&living, &ended]);
    let before = fixture.containers.list().await.unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let listed = fixture.containers.list().await.unwrap();
    assert!(matches!(listed[&living.id], ContainerStatus::Running(_)));
    assert_eq!(listed[&living.id], before[&living.id], "not restarted");
    assert_eq!(fixture.containers.wait(&ended.id).await.unwrap().exit_code, 5);
    fixture.until_printed(&living, "ready").await;
    let outcome = fixture.containers.exec(&living.id, &super::exec::request(&["touch", "/here"])).await.unwrap();
    assert_eq!(outcome.exit_code, Some(0), "{outcome:?}");
    fixture.containers.signal(&living.id, libc::SIGTERM).await.unwrap();
    assert_eq!(fixture.containers.wait(&living.id).await.unwrap().exit_code, 42);
    assert_eq!(fixture.log(&living).last().unwrap().1, "bye\n", "its output is still written down");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_killed_shim_makes_its_container_lost_and_dead() {
    let fixture = Fixture::new();
    let spec = fixture.shell("sleep 1000 & sleep 1000");
    let started = fixture.containers.start(&spec).await.unwrap();
    let waiting = {
        let (containers, id) = (fixture.containers.clone(), spec.id.clone());
        tokio::spawn(async move { containers.wait(&id).await })
    };
    nix::sys::signal::kill(fixture.shim_pid(&spec), nix::sys::signal::SIGKILL).unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(ContainerError::NotRunning { .. })));
    assert_eq!(fixture.containers.list().await.unwrap()[&spec.id], ContainerStatus::Lost);
    assert!(!is_running(started.pid), "nothing runs unobserved");
    fixture.clean_up().await;
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_killed_zygote_is_replaced() {
    let fixture = Fixture::new();
    let before = fixture.spec(&["sleep", "1000"]);
    fixture.containers.start(&before).await.unwrap();
    let zygote = fixture.zygote_pid();
    nix::sys::signal::kill(zygote, nix::sys::signal::SIGKILL).unwrap();
    // The signal is sent before the process is gone, and until then its socket takes requests.
    while is_running(zygote.as_raw().unsigned_abs()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.output("echo still there").await, "still there\n");
    assert!(matches!(fixture.containers.list().await.unwrap()[&before.id], ContainerStatus::Running(_)));
    fixture.clean_up().await;
}

#[tokio::test]
async fn processes_that_outlive_the_first_one_in_a_shared_pid_namespace_die_with_it() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("sleep 1000 & echo $!");
    spec.pid = Namespace::Host;
    let (record, output) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 0);
    assert!(!is_running(output.trim().parse().unwrap()));
    fixture.clean_up().await;
}

#[tokio::test]
async fn twenty_containers_at_once() {
    let fixture = Fixture::new();
    let mut lives = tokio::task::JoinSet::new();
    for number in 0..20 {
        let spec = fixture.shell(&format!("echo {number}; exit {number}"));
        let containers = fixture.containers.clone();
        lives.spawn(async move {
            containers.start(&spec).await.unwrap();
            assert_eq!(containers.wait(&spec.id).await.unwrap().exit_code, number);
            containers.remove(&spec.id).await.unwrap();
        });
    }
    lives.join_all().await;
    fixture.clean_up().await;
}
