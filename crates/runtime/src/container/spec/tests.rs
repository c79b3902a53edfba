#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use super::*;
use crate::{
    container::{Limits, LogFile, Mount, MountSource},
    image::Rootfs,
};

pub(crate) fn spec() -> ContainerSpec {
    ContainerSpec {
        id: "c1".into(),
        task_cgroup: "t".into(),
        rootfs: Rootfs {
            lower_dirs: vec!["/layers/b".into(), "/layers/a".into()],
            upper_dir: "/c1/upper".into(),
            work_dir: "/c1/work".into(),
            mount_point: "/c1/rootfs".into(),
        },
        readonly_rootfs: false,
        args: vec!["/bin/app".into()],
        env: vec!["A=1".into()],
        held_env: Default::default(),
        working_dir: String::new(),
        user: String::new(),
        hostname: None,
        network: Namespace::Private,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        mounts: Vec::new(),
        limits: Limits::default(),
        privileged: false,
        capabilities_add: Vec::new(),
        capabilities_drop: Vec::new(),
        ulimits: BTreeMap::new(),
        sysctls: BTreeMap::new(),
        devices: Vec::new(),
        hooks: Vec::new(),
        additional_groups: Vec::new(),
        shm_bytes: None,
        init_process: false,
        no_new_privileges: false,
        stdin_open: false,
        terminal: false,
        log: LogFile { path: "/log".into(), max_bytes: None, max_files: 1 },
        labels: BTreeMap::new(),
    }
}

fn facts() -> Facts {
    Facts {
        identity: Identity { uid: 0, gid: 0, groups: vec![], home: "/root".into() },
        devices: Vec::new(),
        shared_shm: None,
        host_has_mqueue: true,
        capabilities: ["CHOWN".to_owned(), "KILL".to_owned()].into(),
        cgroups_path: "/g/t/c".into(),
        resources: json!({}),
        seccomp: None,
    }
}

fn configuration(spec: &ContainerSpec) -> Value {
    oci_configuration(spec, &facts()).unwrap()
}

fn mount_at<'a>(configuration: &'a Value, destination: &str) -> &'a Value {
    configuration["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == destination).unwrap()
}

#[test]
fn a_plain_container() {
    let configuration = configuration(&spec());
    assert_eq!(configuration["process"]["cwd"], "/");
    assert_eq!(
        configuration["process"]["env"],
        json!(["A=1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"])
    );
    let kinds: Vec<_> =
        configuration["linux"]["namespaces"].as_array().unwrap().iter().map(|n| n["type"].clone()).collect();
    assert_eq!(kinds, ["mount", "uts", "cgroup", "network", "pid", "ipc"]);
    assert_eq!(configuration["linux"]["maskedPaths"].as_array().unwrap().len(), MASKED_PATHS.len());
    assert!(mount_at(&configuration, "/sys")["options"].as_array().unwrap().contains(&json!("ro")));
}

#[test]
fn privileges_lift_masks_and_make_sys_writable() {
    let mut spec = spec();
    spec.privileged = true;
    let configuration = configuration(&spec);
    assert_eq!(configuration["linux"]["maskedPaths"], json!([]));
    assert_eq!(configuration["linux"]["readonlyPaths"], json!([]));
    assert!(mount_at(&configuration, "/sys")["options"].as_array().unwrap().contains(&json!("rw")));
}

#[test]
fn namespaces_of_others_and_of_the_host() {
    let mut spec = spec();
    spec.network = Namespace::Path("/run/ns/a".into());
    spec.pid = Namespace::Host;
    spec.ipc = Namespace::Host;
    let configuration = configuration(&spec);
    assert_eq!(
        configuration["linux"]["namespaces"],
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "cgroup"}, {"type": "network", "path": "/run/ns/a"}])
    );
    assert_eq!(mount_at(&configuration, "/dev/shm")["source"], "/dev/shm");
}

#[test]
fn mounts_of_the_caller() {
    let mut spec = spec();
    spec.shm_bytes = Some(1 << 20);
    spec.mounts = vec![
        Mount { source: MountSource::Bind("/data".into()), target: "/data".into(), readonly: true },
        Mount {
            source: MountSource::Tmpfs { bytes: 4096, options: vec!["exec".into(), "mode=1777".into()] },
            target: "/scratch".into(),
            readonly: false,
        },
    ];
    let configuration = configuration(&spec);
    assert_eq!(mount_at(&configuration, "/data")["options"], json!(["rbind", "rprivate", "ro", "rro"]));
    assert_eq!(
        mount_at(&configuration, "/scratch")["options"],
        json!(["nosuid", "nodev", "rw", "size=4096", "exec", "mode=1777"])
    );
    assert!(mount_at(&configuration, "/dev/shm")["options"].as_array().unwrap().contains(&json!("size=1048576")));
    spec.mounts[0].target = "data".into();
    assert!(matches!(oci_configuration(&spec, &facts()), Err(Failure::Spec(_))));
}

#[test]
fn a_user_other_than_root_has_no_effective_capability() {
    let mut facts = facts();
    assert_eq!(capability_sets(&facts)["effective"], json!(["CAP_CHOWN", "CAP_KILL"]));
    facts.identity.uid = 5;
    assert_eq!(capability_sets(&facts)["bounding"], json!(["CAP_CHOWN", "CAP_KILL"]));
    assert_eq!(capability_sets(&facts)["effective"], json!([]));
}

#[test]
fn limits_of_processes() {
    let mut spec = spec();
    spec.ulimits = [("nofile".to_owned(), (1024, 4096)), ("core".to_owned(), (0, -1))].into();
    assert_eq!(
        configuration(&spec)["process"]["rlimits"],
        json!([
            {"type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX},
            {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
        ])
    );
    spec.ulimits = [("speed".to_owned(), (1, 1))].into();
    assert!(matches!(oci_configuration(&spec, &facts()), Err(Failure::Spec(_))));
    spec.ulimits = [("nofile".to_owned(), (-1, 5))].into();
    assert!(matches!(oci_configuration(&spec, &facts()), Err(Failure::Spec(_))));
}
