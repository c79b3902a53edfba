//! Commands that users run in running containers.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
};

use gantry_runtime::container::{
    ContainerError, Containers, RunningSession, SessionRequest, SessionStreams, TerminalSize, set_terminal_size,
};

use super::{exec::request, fixture::Fixture};

fn shell(script: &str, terminal: bool) -> SessionRequest {
    SessionRequest {
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        user: "0".to_owned(),
        terminal: terminal.then_some(TerminalSize { columns: 91, rows: 33 }),
    }
}

fn terminal(session: &mut RunningSession) -> OwnedFd {
    match session.streams.take() {
        Some(SessionStreams::Terminal(terminal)) => terminal,
        other => panic!("{other:?}"),
    }
}

/// Reads in a thread until `text` has come.
async fn until(from: &OwnedFd, text: &'static str) -> String {
    let mut from = File::from(from.try_clone().unwrap());
    tokio::task::spawn_blocking(move || {
        let (mut seen, mut buffer) = (String::new(), [0; 4096]);
        while !seen.contains(text) {
            let length = from.read(&mut buffer).unwrap_or(0);
            assert!(length > 0, "ended without {text}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        seen
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_session_has_a_terminal_of_its_own_size() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&["sleep", "1000"]);
    spec.user = "app".into();
    fixture.containers.start(&spec).await.unwrap();
    let script = "stty size; id -u; echo $TERM; read x; stty size; exit 5";
    let mut session = fixture.containers.open_session(&spec.id, &shell(script, true)).await.unwrap();
    let terminal = terminal(&mut session);
    let seen = until(&terminal, "xterm-256color").await;
    assert!(seen.contains("33 91\r\n0\r\n"), "{seen}");
    set_terminal_size(&terminal, TerminalSize { columns: 120, rows: 40 }).unwrap();
    File::from(terminal.try_clone().unwrap()).write_all(b"\n").unwrap();
    until(&terminal, "40 120").await;
    assert_eq!(session.wait().await.unwrap(), 5);
    fixture.clean_up().await;
}

#[tokio::test]
async fn pipes_are_apart_and_have_an_end() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&["sleep", "1000"]);
    fixture.containers.start(&spec).await.unwrap();
    let script = "cat; echo wrong >&2; kill -9 $$";
    let mut session = fixture.containers.open_session(&spec.id, &shell(script, false)).await.unwrap();
    let Some(SessionStreams::Pipes { input, output, error }) = session.streams.take() else { panic!("no pipes") };
    File::from(input).write_all(b"through").unwrap();
    assert_eq!(until(&output, "through").await, "through");
    assert_eq!(until(&error, "wrong").await, "wrong\n");
    assert_eq!(session.wait().await.unwrap(), 128 + 9);
    fixture.clean_up().await;
}

#[tokio::test]
async fn nothing_of_a_session_outlives_it() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&["sleep", "1000"]);
    spec.init_process = true;
    fixture.containers.start(&spec).await.unwrap();
    let left = async || {
        let count = request(&["sh", "-c", "ps -o args | grep -c '[s]leep 77'; ps -o stat | grep -c Z"]);
        fixture.containers.exec(&spec.id, &count).await.unwrap().output
    };
    let script = "(trap '' HUP; exec sleep 771) & sleep 772 & exit 0";
    let mut session = fixture.containers.open_session(&spec.id, &shell(script, true)).await.unwrap();
    assert_eq!(session.wait().await.unwrap(), 0);
    assert_eq!(left().await, "0\n0\n", "what it left behind was killed before its end was told");

    for heeds in ["trap '' HUP;", ""] {
        let script = format!("{heeds} setsid sleep 773 & sleep 774 & echo up; sleep 775");
        let mut session = fixture.containers.open_session(&spec.id, &shell(&script, true)).await.unwrap();
        let terminal = terminal(&mut session);
        until(&terminal, "up").await;
        drop((session, terminal));
        // Its end comes soon after the last interest in it; were it not to come, the test would not end.
        while left().await != "0\n0\n" {}
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_session_that_cannot_start_says_why() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&["sleep", "1000"]);
    fixture.containers.start(&spec).await.unwrap();
    let nope = SessionRequest { args: vec!["nope".to_owned()], ..shell("", true) };
    match fixture.containers.open_session(&spec.id, &nope).await {
        Err(ContainerError::Command { detail }) => {
            assert_eq!(detail, "exec: \"nope\": executable file not found in $PATH");
        }
        other => panic!("{other:?}"),
    }
    let gone = fixture.containers.open_session("nobody", &shell("true", true)).await;
    assert!(matches!(gone, Err(ContainerError::NotRunning { .. })), "{gone:?}");
    fixture.clean_up().await;
}
