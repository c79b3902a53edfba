//! What a container sees: user, capabilities, filter, namespaces, mounts, devices.

use std::fs;

use gantry_runtime::container::{Containers, Device, Mount, MountSource, Namespace};

use super::fixture::Fixture;

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {status}")).trim()
}

const STATUS: &str = "cat /proc/self/status";

#[tokio::test]
async fn root_has_dockers_capabilities_and_the_filter() {
    let fixture = Fixture::new();
    let status = fixture.output(STATUS).await;
    assert_eq!(field(&status, "Seccomp:"), "2");
    assert_eq!(field(&status, "NoNewPrivs:"), "0");
    for set in ["CapBnd:", "CapEff:", "CapPrm:"] {
        assert_eq!(field(&status, set), "00000000a80425fb", "{set}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_user_of_the_image_has_its_ids_groups_and_no_effective_capability() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("cat /proc/self/status; echo HOME=$HOME");
    spec.user = "app".into();
    spec.no_new_privileges = true;
    let (_, status) = fixture.run(&spec).await;
    assert_eq!(field(&status, "Uid:"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Gid:"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Groups:"), "2000");
    assert_eq!(field(&status, "CapEff:"), "0000000000000000");
    assert_eq!(field(&status, "CapPrm:"), "0000000000000000");
    assert_eq!(field(&status, "CapBnd:"), "00000000a80425fb");
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
    assert_eq!(field(&status, "Seccomp:"), "2");
    assert_eq!(field(&status, "HOME="), "/home/app");
    fixture.clean_up().await;
}

#[tokio::test]
async fn capabilities_are_added_and_dropped() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell(STATUS);
    spec.capabilities_drop = vec!["ALL".into()];
    spec.capabilities_add = vec!["NET_ADMIN".into()];
    let (_, status) = fixture.run(&spec).await;
    assert_eq!(field(&status, "CapBnd:"), "0000000000001000");
    assert_eq!(field(&status, "CapEff:"), "0000000000001000");
    fixture.clean_up().await;
}

#[tokio::test]
async fn forbidden_system_calls_fail() {
    let fixture = Fixture::new();
    // Even with the capability to mount, the filter of a container that was not given it stands in the way; here
    // both do, so what must be seen is that nothing works and that the process is not killed.
    let output = fixture
        .output(
            "unshare -m true 2>&1; mount -t tmpfs none /tmp 2>&1; swapoff -a 2>&1; \
             reboot -f 2>&1; nsenter -t 1 -m true 2>&1; hostname other 2>&1; echo end",
        )
        .await;
    assert!(output.contains("unshare: unshare(0x20000): Operation not permitted"), "{output}");
    assert!(output.contains("mount: permission denied") || output.contains("Operation not permitted"), "{output}");
    assert!(output.ends_with("end\n"), "{output}");
    // The filter alone: every capability but SYS_ADMIN, so that the kernel itself would allow `chroot`-like calls.
    let mut spec = fixture.shell("unshare -U true 2>&1; echo $?");
    spec.capabilities_add = vec!["ALL".into()];
    spec.capabilities_drop = vec!["SYS_ADMIN".into()];
    let (_, output) = fixture.run(&spec).await;
    // Making a user namespace needs no capability: only the filter can refuse it.
    assert!(output.contains("Operation not permitted"), "{output}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn namespaces_are_its_own_unless_asked_otherwise() {
    let fixture = Fixture::new();
    let kinds = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];
    let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let script = "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; ls /proc | grep -c '^[0-9]'";
    let output = fixture.output(script).await;
    for (kind, line) in kinds.iter().zip(output.lines()) {
        assert_ne!(line, link(kind), "{kind}");
    }
    let mut spec = fixture.shell(script);
    spec.pid = Namespace::Host;
    spec.ipc = Namespace::Host;
    spec.network = Namespace::Host;
    let (_, output) = fixture.run(&spec).await;
    for (kind, line) in kinds.iter().zip(output.lines()).take(3) {
        assert_eq!(line, link(kind), "{kind}");
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn containers_share_the_namespaces_of_another() {
    let fixture = Fixture::new();
    let first = fixture.shell("echo shared > /dev/shm/message; echo ready; exec sleep 1000");
    fixture.containers.start(&first).await.unwrap();
    fixture.until_printed(&first, "ready").await;
    let path = |kind: &'static str| {
        let containers = fixture.containers.clone();
        let id = first.id.clone();
        async move { containers.namespace_path(&id, kind).await.unwrap() }
    };
    let mut second = fixture.shell("cat /dev/shm/message; for n in pid net ipc; do readlink /proc/self/ns/$n; done");
    second.pid = Namespace::Path(path("pid").await);
    second.ipc = Namespace::Path(path("ipc").await);
    second.network = Namespace::Path(path("net").await);
    let expected: String = ["pid", "net", "ipc"]
        .iter()
        .map(|kind| {
            let pid = fixture.first_pid(&first);
            format!("{}\n", fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display())
        })
        .collect();
    let (record, output) = fixture.run(&second).await;
    assert_eq!((record.exit_code, output), (0, format!("shared\n{expected}")), "{:?}", fixture.log(&second));
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_host_name_environment_and_directory() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("hostname; pwd; echo $GREETING; echo $PATH");
    spec.hostname = Some("box".into());
    spec.working_dir = "/made/when/missing".into();
    spec.env.push("GREETING=hi there".into());
    let (_, output) = fixture.run(&spec).await;
    assert_eq!(output, "box\n/made/when/missing\nhi there\n/bin\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_read_only_root_is_read_only_but_volumes_and_scratch_are_not() {
    let fixture = Fixture::new();
    let volume = fixture.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("in"), "from the host").unwrap();
    let file = fixture.directory.path().join("one-file");
    fs::write(&file, "file").unwrap();
    let mut spec = fixture.shell(
        "echo x > /x && echo BAD; cat /data/in; echo out > /data/out; echo y > /tmp/scratch/y && cat /tmp/scratch/y; \
         cat /ro/in; echo z > /ro/z && echo BAD; cat /etc/one; df -k /tmp/scratch | tail -1 | awk '{print $2}'",
    );
    spec.readonly_rootfs = true;
    let bind = |source: &std::path::Path, target: &str, readonly| Mount {
        source: MountSource::Bind(source.to_owned()),
        target: target.into(),
        readonly,
    };
    spec.mounts = vec![
        bind(&volume, "/data", false),
        bind(&volume, "/ro", true),
        bind(&file, "/etc/one", true),
        Mount {
            source: MountSource::Tmpfs { bytes: 1 << 20, options: vec!["mode=1777".into()] },
            target: "/tmp/scratch".into(),
            readonly: false,
        },
    ];
    let (_, output) = fixture.run(&spec).await;
    assert_eq!(output, "from the hosty\nfrom the hostfile1024\n", "{:?}", fixture.log(&spec));
    assert_eq!(fs::read_to_string(volume.join("out")).unwrap(), "out\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn kernel_files_are_masked_or_read_only() {
    let fixture = Fixture::new();
    let output = fixture
        .output(
            "cat /proc/kcore | wc -c; cat /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l; \
             echo 1 > /proc/sys/kernel/panic 2>/dev/null && echo BAD; echo h > /proc/sysrq-trigger 2>/dev/null && echo BAD; \
             mkdir /sys/fs/cgroup/x 2>/dev/null && echo BAD; grep -c ' /dev/shm ' /proc/mounts",
        )
        .await;
    assert_eq!(output, "0\n0\n0\n1\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn shared_memory_has_the_size_that_was_asked_for() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("df -k /dev/shm | tail -1 | awk '{print $2}'");
    spec.shm_bytes = Some(8 << 20);
    assert_eq!(fixture.run(&spec).await.1, "8192\n");
    assert_eq!(fixture.output("df -k /dev/shm | tail -1 | awk '{print $2}'").await, "65536\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn sysctls_of_its_own_namespaces() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni");
    spec.sysctls =
        [("net.core.somaxconn".to_owned(), "77".to_owned()), ("kernel.shmmni".to_owned(), "99".to_owned())].into();
    assert_eq!(fixture.run(&spec).await.1, "77\n99\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn devices_are_dockers_plus_those_given() {
    let fixture = Fixture::new();
    let script = "cat /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; \
         mknod /tmp/kmsg c 1 11 && (head -c 1 /tmp/kmsg > /dev/null) 2>&1; ls /dev/kmsg /dev/mem 2>/dev/null; echo end";
    let output = fixture.output(script).await;
    assert_eq!(output, "3\n3\nhead: /tmp/kmsg: Operation not permitted\nend\n");

    let candidates = ["/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/loop-control", "/dev/vda", "/dev/rtc0"];
    let device = candidates.into_iter().find(|path| fs::File::open(path).is_ok()).expect("a device to give");
    let mut spec = fixture.shell("(: < /dev/given) && echo opened; (: > /dev/given); echo end");
    spec.devices = vec![Device {
        host_path: device.into(),
        container_path: "/dev/given".into(),
        permissions: "r".into(),
        facts: Default::default(),
    }];
    let (_, output) = fixture.run(&spec).await;
    assert_eq!(output, "opened\nend\n");
    let errors: Vec<_> = fixture.log(&spec).into_iter().filter(|(stream, _)| stream == "stderr").collect();
    assert_eq!(errors.len(), 1, "reading is allowed, writing is not: {errors:?}");
    assert!(errors[0].1.contains("Operation not permitted"), "{errors:?}");

    let mut spec = fixture
        .shell("ls /dev/kmsg; grep -E 'Seccomp:|CapEff' /proc/self/status; mount -t tmpfs none /tmp && echo mounted");
    spec.privileged = true;
    let (_, output) = fixture.run(&spec).await;
    assert!(output.starts_with("/dev/kmsg\n"), "{output}");
    assert!(output.contains("Seccomp:\t0"), "{output}");
    assert!(output.ends_with("mounted\n"), "{output}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_host_program_cannot_be_reached_through_proc() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("(echo x >> /proc/1/exe) 2>&1; (cat /proc/1/exe | wc -c) 2>&1; echo end");
    spec.init_process = true;
    spec.capabilities_add = vec!["SYS_PTRACE".into()];
    let (_, output) = fixture.run(&spec).await;
    assert!(
        output.contains("Read-only file system")
            || output.contains("Permission denied")
            || output.contains("Text file busy"),
        "{output}"
    );
    assert!(output.ends_with("end\n"));
    fixture.clean_up().await;
}

#[tokio::test]
async fn only_the_shim_is_protected_from_the_memory_killer() {
    let fixture = Fixture::new();
    let spec = fixture.shell("cat /proc/self/oom_score_adj; exec sleep 1000");
    fixture.containers.start(&spec).await.unwrap();
    fixture.until_printed(&spec, "0").await;
    assert_eq!(fixture.log(&spec), [("stdout".into(), "0\n".into())]);
    let command = super::exec::request(&["cat", "/proc/self/oom_score_adj"]);
    assert_eq!(fixture.containers.exec(&spec.id, &command).await.unwrap().output, "0\n");
    let shim = fs::read_to_string(format!("/proc/{}/oom_score_adj", fixture.shim_pid(&spec))).unwrap();
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = u64::from_str_radix(field(&ours, "CapEff:"), 16).unwrap();
    let may_protect = capabilities & 1 << 24 != 0; // CAP_SYS_RESOURCE
    assert_eq!(shim, if may_protect { "-999\n" } else { "0\n" });
    fixture.clean_up().await;
}

#[tokio::test]
async fn no_descriptor_of_the_host_is_open_inside() {
    let fixture = Fixture::new();
    let output = fixture.output("ls /proc/self/fd | tr '\\n' ' '; ls -l /proc/$$/fd | awk '{print $NF}' | grep -v -E 'pipe|null|^[0-9]*$' | wc -l").await;
    assert_eq!(output, "0 1 2 3 0\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn links_of_the_image_lead_no_mount_out_of_it() {
    let fixture = Fixture::new();
    let outside = fixture.directory.path().join("outside");
    let image = fixture.directory.path().join("image");
    std::os::unix::fs::symlink(&outside, image.join("absolute")).unwrap();
    std::os::unix::fs::symlink(format!("../../../../../../../..{}", outside.display()), image.join("relative"))
        .unwrap();
    let data = fixture.directory.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("word"), "seen\n").unwrap();
    // What the links name must be there for a mount to follow them; inside the image it is.
    fs::create_dir_all(image.join(outside.strip_prefix("/").unwrap())).unwrap();
    for link in ["/absolute", "/relative"] {
        let mut spec = fixture.shell(&format!("cat {link}/word"));
        spec.mounts = vec![Mount { source: MountSource::Bind(data.clone()), target: link.into(), readonly: true }];
        assert_eq!(fixture.run(&spec).await.1, "seen\n");
        assert!(!outside.exists());
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_image_cannot_say_where_the_kernels_files_appear() {
    let fixture = Fixture::new();
    let image = fixture.directory.path().join("image");
    for name in ["proc", "sys", "dev"] {
        fs::remove_dir(image.join(name)).unwrap();
        std::os::unix::fs::symlink("/tmp", image.join(name)).unwrap();
    }
    let output = fixture.output("cat /proc/$$/comm; ls -d /sys/kernel; ls /dev/null; ls /tmp").await;
    assert_eq!(output, "sh\n/sys/kernel\n/dev/null\n");
    for name in ["proc", "sys", "dev"] {
        fs::remove_file(image.join(name)).unwrap();
    }
    assert_eq!(fixture.output("cat /proc/$$/comm; true").await.lines().last(), Some("sh"), "nor whether they do");
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_host_is_nowhere_to_be_seen() {
    let fixture = Fixture::new();
    let host = fixture.directory.path().join("secret");
    fs::write(&host, "secret").unwrap();
    let mounts = fixture.output("cat /proc/self/mountinfo; ls -la /proc/self/cwd /proc/self/root").await;
    let root = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = root.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    let device = root.split(' ').nth(2).unwrap();
    assert!(!mounts.lines().any(|line| line.split(' ').nth(2) == Some(device)), "the host's disk: {mounts}");
    let script = format!("cat /proc/1/root{0} /../../../..{0} 2>/dev/null; echo end", host.display());
    assert_eq!(fixture.output(&script).await, "end\n");
    fixture.clean_up().await;
}
