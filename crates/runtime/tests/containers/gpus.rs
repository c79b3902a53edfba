//! What a CDI specification says of a GPU, seen from inside the container that was given it. The GPU is /dev/null under
//! another name.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use gantry_runtime::{
    cdi::Gpus,
    container::{ContainerError, ContainerSpec, ContainerStatus, Containers, Hook, Runtime},
};
use serde_json::{Value, json};

use super::{exec::request, fixture::Fixture};

/// A hook as NVIDIA's are: it looks where the container's root is and changes what is there.
const HOOK: &str = r#"
    set -e
    state=$(cat)
    bundle=$(echo "$state" | sed 's/.*"bundle":"\([^"]*\)".*/\1/')
    root=$(sed 's/.*"root":{"path":"\([^"]*\)".*/\1/' "$bundle/config.json")
    pid=$(echo "$state" | sed 's/.*"pid":\([0-9]*\).*/\1/')
    test -d "/proc/$pid"
    echo "$0 $* $GIVEN ${HOME-nothing-else}" > "$root/etc/from-hook"
    ln -s libgpu.so.1 "$root/lib-link"
    mkdir -p "$root/mounted"
    mount -t tmpfs none "$root/mounted"
    echo seen > "$root/mounted/file"
"#;

fn busybox() -> String {
    std::env::var("BUSYBOX").unwrap_or_else(|_| "/bin/busybox".to_owned())
}

/// A program of the host that runs `script` in busybox's shell, with busybox's programs alone.
fn program(directory: &Path, name: &str, script: &str) -> String {
    let path = directory.join(name);
    let tools = ["cat", "sed", "echo", "ln", "mkdir", "mount", "readlink", "sleep"];
    let tools: String = tools.map(|tool| format!("{tool}() {{ {} {tool} \"$@\"; }}\n", busybox())).concat();
    fs::write(&path, format!("#!{} sh\n{tools}{script}", busybox())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

fn give(fixture: &Fixture, edits: &Value, spec: &mut ContainerSpec) {
    let file = json!({"cdiVersion": "0.6.0", "kind": "example.com/gpu", "containerEdits": edits, "devices": [
        {"name": "g0", "containerEdits": {"deviceNodes": [
            {"path": "/dev/gpu/g0", "hostPath": "/dev/null", "permissions": "rw", "fileMode": 432, "gid": 44}]}}]});
    let directory = fixture.directory.path().join("cdi");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("example.json"), file.to_string()).unwrap();
    Gpus::read(&[directory]).edits(["example.com/gpu=g0"]).unwrap().apply(spec);
}

async fn everything_arrives(fixture: Fixture) {
    let library = fixture.directory.path().join("libgpu.so.1");
    fs::write(&library, "library\n").unwrap();
    let hook = program(fixture.directory.path(), "hook", HOOK);
    let edits = json!({
        "env": ["GPU_KIND=example"],
        "additionalGids": [44],
        "mounts": [{"hostPath": library, "containerPath": "/usr/lib/libgpu.so.1", "options": ["ro", "nosuid", "bind"]}],
        "hooks": [{"hookName": "createContainer", "path": hook, "args": ["the-hook", "a", "b"], "env": ["GIVEN=1"]}],
    });
    let mut spec = fixture.shell(
        "echo x > /dev/gpu/g0 && echo written; stat -c '%a %u %g %t:%T' /dev/gpu/g0; echo $GPU_KIND; \
         cat /usr/lib/libgpu.so.1; (echo x > /usr/lib/libgpu.so.1) 2>/dev/null || echo read-only; \
         cat /etc/from-hook; readlink /lib-link; cat /mounted/file; id -G; grep -c from-hook /proc/self/mountinfo; \
         echo done; sleep 1000",
    );
    spec.user = "app".into();
    give(&fixture, &edits, &mut spec);
    fixture.containers.start(&spec).await.unwrap();
    fixture.until_printed(&spec, "done\n").await;
    let printed: String = fixture.log(&spec).into_iter().map(|(_, line)| line).collect();
    let from_hook = format!("{} a b 1 nothing-else", fixture.directory.path().join("hook").display());
    let expected = [
        "written",
        "660 1000 44 1:3",
        "example",
        "library",
        "read-only",
        &from_hook,
        "libgpu.so.1",
        "seen",
        "1000 44 2000",
        "0",
        "done",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    // Commands that are run later are in the groups, too.
    let outcome = fixture.containers.exec(&spec.id, &request(&["id", "-G"])).await.unwrap();
    assert_eq!(outcome.output, "1000 44 2000\n");
    fixture.containers.signal(&spec.id, libc::SIGKILL).await.unwrap();
    fixture.containers.wait(&spec.id).await.unwrap();
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_container_with_a_gpu_has_its_device_its_libraries_and_what_its_hooks_made() {
    everything_arrives(Fixture::new()).await;
}

#[tokio::test]
async fn runc_gives_a_container_the_same() {
    let runc = ["/usr/sbin/runc", "/usr/bin/runc", "/sbin/runc"].into_iter().find(|path| Path::new(path).exists());
    let runc = runc.expect("these tests need runc: tools/setup test");
    everything_arrives(Fixture::with_runtime(Runtime::OciBinary(runc.into()))).await;
}

#[tokio::test]
async fn a_hook_that_fails_or_does_not_end_fails_the_start() {
    let fixture = Fixture::new();
    let failing = program(fixture.directory.path(), "failing", "echo no driver; exit 3");
    let endless = program(fixture.directory.path(), "endless", "sleep 1000");
    for (path, seconds, sentence) in [
        (failing.as_str(), 60, "exit status: 3: no driver"),
        (endless.as_str(), 1, "it did not end within 1 s"),
        ("/not/there", 60, "No such file or directory (os error 2)"),
    ] {
        let mut spec = fixture.spec(&["true"]);
        let timeout = Duration::from_secs(seconds);
        spec.hooks = vec![Hook { path: path.into(), args: Vec::new(), env: Vec::new(), timeout }];
        match fixture.containers.start(&spec).await.unwrap_err() {
            ContainerError::Runtime { detail } => {
                assert_eq!(detail, format!("error running createContainer hook #0 ({path}): {sentence}"));
            }
            other => panic!("{other:?}"),
        }
        assert!(fixture.containers.list().await.unwrap().is_empty(), "what never ran is not listed");
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_container_that_is_removed_takes_its_hooks_along() {
    let fixture = Fixture::new();
    let pids = fixture.directory.path().join("pids");
    let script = format!("sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    let hook = program(fixture.directory.path(), "hook", &script);
    let mut spec = fixture.spec(&["true"]);
    let timeout = Duration::from_secs(600);
    spec.hooks = vec![Hook { path: hook.into(), args: vec![], env: vec![], timeout }];
    let removed = async {
        while !pids.exists() {
            tokio::task::yield_now().await;
        }
        fixture.containers.remove(&spec.id).await.unwrap();
        for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
        }
    };
    // Whoever started it may hear that it has ended, or that it is gone.
    let (started, ()) = tokio::join!(fixture.containers.start(&spec), removed);
    started.unwrap_err();
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_start_whose_agent_ended_while_hooks_ran_is_waited_for_by_the_next() {
    let fixture = Fixture::new();
    let file = |name: &str| fixture.directory.path().join(name);
    let script =
        format!("echo > {}; until [ -e {} ]; do sleep 0.01; done", file("began").display(), file("go").display());
    let hook = program(fixture.directory.path(), "hook", &script);
    let mut spec = fixture.shell("echo once");
    let timeout = Duration::from_secs(60);
    spec.hooks = vec![Hook { path: hook.into(), args: vec![], env: vec![], timeout }];
    let began = async {
        while !file("began").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        started = fixture.containers.start(&spec) => panic!("{started:?}"),
        () = began => {}
    }
    assert_eq!(fixture.containers.list().await.unwrap()[&spec.id], ContainerStatus::Starting);
    let again = fixture.containers.start(&spec);
    let go = async { fs::write(file("go"), "").unwrap() };
    let (started, ()) = tokio::join!(again, go);
    started.unwrap();
    assert_eq!(fixture.containers.wait(&spec.id).await.unwrap().exit_code, 0);
    assert_eq!(fixture.log(&spec), [("stdout".to_owned(), "once\n".to_owned())]);
    fixture.clean_up().await;
}

#[tokio::test]
async fn who_runs_hooks_holds_nothing_of_the_shims() {
    let fixture = Fixture::new();
    let script = "for open in /proc/$PPID/fd/*; do readlink $open; done; exit 3";
    let hook = program(fixture.directory.path(), "hook", script);
    let mut spec = fixture.spec(&["true"]);
    spec.hooks = vec![Hook { path: hook.into(), args: vec![], env: vec![], timeout: Duration::from_secs(60) }];
    let Err(ContainerError::Runtime { detail }) = fixture.containers.start(&spec).await else { panic!("it started") };
    assert!(detail.contains("/hooks/state"), "the hook looks at the right process: {detail}");
    assert!(!detail.contains("/alive") && !detail.contains("socket:"), "{detail}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn nothing_of_the_host_is_left_in_the_container_after_its_hooks() {
    let fixture = Fixture::new();
    let hook = program(fixture.directory.path(), "hook", "exit 0");
    let script = "cut -d' ' -f5- /proc/self/mountinfo | sed 's/ - .*//'";
    let (_, without) = fixture.run(&fixture.shell(script)).await;
    let mut spec = fixture.shell(script);
    spec.hooks = vec![Hook { path: hook.into(), args: vec![], env: vec![], timeout: Duration::from_secs(60) }];
    let (record, with) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 0);
    // Neither a mount more nor one that is shared with anybody.
    assert_eq!(with, without);
    assert!(!with.contains("shared:") && !with.contains("master:"), "{with}");
    fixture.clean_up().await;
}
