//! Commands that users run in running containers.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
};

use gantry_runtime::container::{
    ContainerError, Containers, HeldEnv, RunningSession, SessionRequest, SessionStreams, TerminalSize,
    set_terminal_size,
};

use super::{
    exec::request,
    fixture::{Fixture, runtimes},
};

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
    for runtime in runtimes() {
        let fixture = Fixture::with_runtime(runtime);
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
}

#[tokio::test]
async fn pipes_are_apart_and_have_an_end() {
    for runtime in runtimes() {
        let fixture = Fixture::with_runtime(runtime);
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
}

#[tokio::test]
async fn nothing_of_a_session_outlives_it() {
    for runtime in runtimes() {
        let fixture = Fixture::with_runtime(runtime);
        // Orphans go to process 1 of the container, which reaps them.
        let spec = fixture.shell("sleep 1000 & wait");
        fixture.containers.start(&spec).await.unwrap();
        let count =
            async |script| fixture.containers.exec(&spec.id, &request(&["sh", "-c", script])).await.unwrap().output;
        let left = async || count("ps -o args | grep -c '[s]leep 77'").await;
        let zombies = async || count("ps -o stat | grep -c Z").await;
        let script = "(trap '' HUP; exec sleep 771) & sleep 772 & exit 0";
        let mut session = fixture.containers.open_session(&spec.id, &shell(script, true)).await.unwrap();
        assert_eq!(session.wait().await.unwrap(), 0);
        assert_eq!(left().await, "0\n", "what it left behind was killed before its end was told");

        for heeds in ["trap '' HUP;", ""] {
            let script = format!("{heeds} setsid sleep 773 & sleep 774 & echo up; sleep 775");
            let mut session = fixture.containers.open_session(&spec.id, &shell(&script, true)).await.unwrap();
            let terminal = terminal(&mut session);
            until(&terminal, "up").await;
            drop((session, terminal));
            // Its end comes soon after the last interest in it; were it not to come, the test would not end.
            while left().await != "0\n" || zombies().await != "0\n" {}
        }
        fixture.clean_up().await;
    }
}

#[tokio::test]
async fn a_session_that_cannot_start_says_why() {
    for runtime in runtimes() {
        let fixture = Fixture::with_runtime(runtime);
        let spec = fixture.spec(&["sleep", "1000"]);
        fixture.containers.start(&spec).await.unwrap();
        let nope = SessionRequest { args: vec!["nope".to_owned()], ..shell("", true) };
        match fixture.containers.open_session(&spec.id, &nope).await {
            Err(ContainerError::Command { detail }) => {
                // Each says it in its own words.
                assert!(detail.contains("nope") && detail.contains("not found in $PATH"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
        let gone = fixture.containers.open_session("nobody", &shell("true", true)).await;
        assert!(matches!(gone, Err(ContainerError::NotRunning { .. })), "{gone:?}");
        fixture.clean_up().await;
    }
}

/// A lease on a file: who executes it waits until the lease goes, as if it were frozen right before that.
struct Lease(File);

impl Lease {
    fn take(file: File) -> Self {
        let lease = Self(file);
        // Who has a lease is told by this signal that somebody waits.
        #[expect(unsafe_code, reason = "signal has no safe wrapper")]
        // SAFETY: ignoring a signal runs no code.
        unsafe { nix::sys::signal::signal(nix::sys::signal::SIGIO, nix::sys::signal::SigHandler::SigIgn) }.unwrap();
        assert_eq!(lease.control(libc::F_SETLEASE, libc::F_WRLCK), 0, "{}", std::io::Error::last_os_error());
        lease
    }

    /// Whether somebody waits.
    fn is_in_the_way(&self) -> bool {
        self.control(libc::F_GETLEASE, 0) != libc::F_WRLCK
    }

    fn control(&self, command: i32, argument: i32) -> i32 {
        #[expect(unsafe_code, reason = "leases have no safe wrapper")]
        // SAFETY: these commands take a number, and the descriptor is open.
        unsafe {
            libc::fcntl(self.0.as_raw_fd(), command, argument)
        }
    }
}

/// Under our own runtime alone: runc may say that the command runs a moment before it is executed.
#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_does_not_run_when_it_could() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&["sleep", "1000"]);
    let program = fixture.directory.path().join("image/bin/late");
    fs::write(&program, "#!/bin/sh\necho > /ran\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fixture.containers.start(&spec).await.unwrap();
    let before = fixture.processes();
    let lease = Lease::take(File::open(&program).unwrap());
    let late = SessionRequest { args: vec!["late".to_owned()], ..shell("", false) };
    {
        let starting = fixture.containers.open_session(&spec.id, &late);
        let stuck = async {
            while !lease.is_in_the_way() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            started = starting => panic!("{started:?}"),
            () = stuck => {}
        }
    }
    while fixture.processes() > before {
        tokio::task::yield_now().await;
    }
    drop(lease);
    let ran = request(&["test", "-e", "/ran"]);
    assert_eq!(fixture.containers.exec(&spec.id, &ran).await.unwrap().exit_code, Some(1), "it ran");
    fixture.clean_up().await;
}

/// What a session says of itself under each runtime is the same.
#[tokio::test]
async fn a_session_is_as_confined_under_every_runtime() {
    let script = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|SigBlk|Cap[^B]*|CapBnd):' /proc/self/status; pwd; \
         env | grep -v SHLVL | sort; ulimit -n; cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l; umask; \
         for n in pid net ipc uts mnt cgroup; do \
         test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) && echo same $n; done; \
         test \"$(cat /proc/self/cgroup)\" = \"$(cat /proc/1/cgroup)\" && echo same cgroups; echo end";
    let mut said = Vec::new();
    for runtime in runtimes() {
        let fixture = Fixture::with_runtime(runtime);
        let mut spec = fixture.spec(&["sleep", "1000"]);
        spec.env.push("X=1".into());
        spec.held_env = HeldEnv(vec!["SECRET=known inside".into()]);
        spec.working_dir = "/home/app".into();
        // Alike: runc at times leaves the soft one where its language has raised it to.
        spec.ulimits = [("nofile".to_owned(), (99, 99))].into();
        spec.capabilities_drop = vec!["NET_RAW".into()];
        spec.no_new_privileges = true;
        fixture.containers.start(&spec).await.unwrap();
        let mut session = fixture.containers.open_session(&spec.id, &shell(script, false)).await.unwrap();
        let Some(SessionStreams::Pipes { output, .. }) = session.streams.take() else { panic!("no pipes") };
        said.push(until(&output, "end\n").await);
        assert_eq!(session.wait().await.unwrap(), 0);
        fixture.clean_up().await;
    }
    for expected in ["Seccomp:\t2", "NoNewPrivs:\t1", "SECRET=known inside", "same mnt", "same cgroups", "\n99\n0\n"] {
        assert!(said[0].contains(expected), "{expected} in {}", said[0]);
    }
    assert!(said.iter().all(|other| *other == said[0]), "{said:#?}");
}

#[tokio::test]
async fn much_output_is_whole_on_both_streams() {
    const BYTES: u64 = 50_000_000;
    for runtime in runtimes() {
        let fixture = Fixture::with_runtime(runtime);
        let spec = fixture.spec(&["sleep", "1000"]);
        fixture.containers.start(&spec).await.unwrap();
        let script = format!("head -c {BYTES} /dev/zero & head -c {BYTES} /dev/zero >&2; wait");
        let mut session = fixture.containers.open_session(&spec.id, &shell(&script, false)).await.unwrap();
        let Some(SessionStreams::Pipes { output, error, .. }) = session.streams.take() else { panic!("no pipes") };
        let count = |from: OwnedFd| {
            tokio::task::spawn_blocking(|| std::io::copy(&mut File::from(from), &mut std::io::sink()).unwrap())
        };
        let (output, error) = (count(output), count(error));
        assert_eq!(session.wait().await.unwrap(), 0);
        assert_eq!((output.await.unwrap(), error.await.unwrap()), (BYTES, BYTES));
        fixture.clean_up().await;
    }
}
