//! Nothing that a container prints is lost; terminals.

use std::process::Command;

use gantry_runtime::container::{Containers, LogFile, Mount, MountSource};

use super::fixture::Fixture;

#[tokio::test]
async fn a_hundred_thousand_lines_arrive_whole_and_in_order() {
    let fixture = Fixture::new();
    let spec = fixture.shell("i=0; while [ $i -lt 100000 ]; do echo line $i; i=$((i+1)); done");
    let (record, output) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 0);
    let mut count = 0;
    for (number, line) in output.lines().enumerate() {
        assert_eq!(line, format!("line {number}"));
        count += 1;
    }
    assert_eq!(count, 100_000);
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_last_words_before_a_kill_are_kept() {
    let fixture = Fixture::new();
    let spec = fixture.shell("printf 'no newline'; kill -KILL -1; kill -KILL $$; exec sleep 1000");
    fixture.containers.start(&spec).await.unwrap();
    fixture.containers.signal(&spec.id, libc::SIGKILL).await.unwrap();
    fixture.containers.wait(&spec.id).await.unwrap();
    fixture.clean_up().await;

    let fixture = Fixture::new();
    let (_, output) = fixture.run(&fixture.shell("printf 'one\\ntwo without end'")).await;
    assert_eq!(output, "one\ntwo without end");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_long_line_comes_in_pieces_of_16_kib() {
    let fixture = Fixture::new();
    let spec = fixture.shell("dd if=/dev/zero bs=1000 count=40 2>/dev/null | tr '\\0' x; echo");
    let (_, output) = fixture.run(&spec).await;
    assert_eq!(output.len(), 40_001);
    let sizes: Vec<usize> = fixture.log(&spec).iter().map(|(_, line)| line.len()).collect();
    assert_eq!(sizes, [16384, 16384, 7233]);
    fixture.clean_up().await;
}

#[tokio::test]
async fn logs_rotate() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done");
    spec.log = LogFile { max_bytes: Some(10_000), max_files: 3, ..spec.log };
    fixture.run(&spec).await;
    let path = |suffix: &str| format!("{}{suffix}", spec.log.path.display());
    for suffix in [".1", ".2"] {
        let size = std::fs::metadata(path(suffix)).unwrap().len();
        assert!((9_900..10_200).contains(&size), "{size}");
    }
    assert!(!std::fs::exists(path(".3")).unwrap());
    let last = std::fs::read_to_string(path("")).unwrap() + &std::fs::read_to_string(path(".1")).unwrap();
    assert!(last.contains("line 1999"));
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_full_disk_loses_output_but_neither_the_container_nor_its_exit_code() {
    let fixture = Fixture::new();
    let disk = fixture.directory.path().join("containers");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&disk).status().unwrap();
    assert!(mounted.success());
    let mut spec = fixture.shell(
        "while ! [ -e /disk/go ]; do :; done; dd if=/dev/zero of=/disk/fill bs=1k count=2000 2>/dev/null; i=0; \
         while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; rm /disk/fill; echo last; exit 6",
    );
    spec.log.path = disk.join("log");
    spec.mounts = vec![Mount { source: MountSource::Bind(disk.clone()), target: "/disk".into(), readonly: false }];
    // Not before the start is over: a start that finds the disk full is refused, which is another test.
    fixture.containers.start(&spec).await.unwrap();
    std::fs::write(disk.join("go"), "").unwrap();
    let (record, output) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 6);
    assert!(output.ends_with("last\n"), "what is printed when there is room again is written");
    let note = fixture.log(&spec).into_iter().find(|(_, line)| line.starts_with("gantry: ")).unwrap();
    assert!(note.1.ends_with("bytes of output could not be written here\n"), "{note:?}");
    fixture.containers.remove(&spec.id).await.unwrap();
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_terminal_is_one() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell(
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo err >&2; ls -l /dev/console | cut -c1; echo $TERM",
    );
    spec.terminal = true;
    let (record, output) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 0, "{output}");
    assert_eq!(output.replace('\r', ""), "/dev/pts/0\nall\nerr\nc\nxterm\n");
    fixture.clean_up().await;
}
