#![allow(clippy::unwrap_used)]
//! From files to what a container needs.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::container::{DeviceFacts, Hook, Mount, MountSource};

/// As `nvidia-ctk cdi generate` writes it, with two cards instead of all that a real machine has.
const NVIDIA: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  deviceNodes:
    - path: /dev/nvidiactl
    - path: /dev/nvidia-uvm
  env:
    - NVIDIA_VISIBLE_DEVICES=void
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/x86_64-linux-gnu]
  mounts:
    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro, nosuid, nodev, bind]
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
  - name: GPU-4d4f4e1c-1b1e-4f64-a7e2-0a4b7f3c0001
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
  - name: "1"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia1
  - name: GPU-4d4f4e1c-1b1e-4f64-a7e2-0a4b7f3c0002
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia1
  - name: all
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
        - path: /dev/nvidia1
"#;
const FIRST: &str = "GPU-4d4f4e1c-1b1e-4f64-a7e2-0a4b7f3c0001";
const SECOND: &str = "GPU-4d4f4e1c-1b1e-4f64-a7e2-0a4b7f3c0002";

fn write(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn read(files: &[(&str, &str)]) -> Gpus {
    Gpus::read(&[write(files).path()])
}

fn ids(gpus: &Gpus) -> Vec<&str> {
    gpus.ids().collect()
}

/// A file of one device `g0` of `kind` with these edits.
fn one(kind: &str, edits: &Value) -> String {
    json!({"cdiVersion": "0.6.0", "kind": kind, "devices": [{"name": "g0", "containerEdits": edits}]}).to_string()
}

fn trouble(file: &str) -> String {
    let gpus = read(&[("a.json", file)]);
    assert_eq!(ids(&gpus), Vec::<&str>::new());
    let troubles: Vec<String> = gpus.troubles().collect();
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    troubles[0].clone()
}

#[test]
fn each_card_is_one_gpu_under_its_uuid() {
    let gpus = read(&[("nvidia.yaml", NVIDIA)]);
    assert_eq!(ids(&gpus), [FIRST, SECOND]);
    assert_eq!(gpus.troubles().collect::<Vec<_>>(), Vec::<String>::new());
    let numbers = json!({"cdiVersion": "0.5.0", "kind": "amd.com/gpu", "devices": [
        {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/dri/renderD128"}]}},
        {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/dri/renderD129"}]}},
        {"name": "all", "containerEdits": {}}]});
    assert_eq!(ids(&read(&[("amd.json", &numbers.to_string())])), ["amd.com/gpu=0", "amd.com/gpu=1"]);
    let wsl = json!({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
        {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/dxg"}]}}]});
    assert_eq!(ids(&read(&[("wsl.json", &wsl.to_string())])), ["nvidia.com/gpu=all"]);
}

#[test]
fn a_container_gets_what_its_devices_and_their_file_need_each_once() {
    let edits = read(&[("nvidia.yml", NVIDIA)]).edits([SECOND, FIRST]).unwrap();
    let mut spec = crate::container::spec_for_tests();
    spec.env = vec!["A=1".into(), "NVIDIA_VISIBLE_DEVICES=all".into()];
    edits.apply(&mut spec);
    assert_eq!(spec.env, ["A=1", "NVIDIA_VISIBLE_DEVICES=void"]);
    let paths: Vec<&str> = spec.devices.iter().map(|device| device.container_path.as_str()).collect();
    assert_eq!(paths, ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia1", "/dev/nvidia0"]);
    let options = ["ro", "nosuid", "nodev", "bind"].map(str::to_owned).to_vec();
    let source = MountSource::BindWith { source: "/usr/bin/nvidia-smi".into(), options };
    assert_eq!(spec.mounts, [Mount { source, target: "/usr/bin/nvidia-smi".into(), readonly: true }]);
    let args =
        ["nvidia-cdi-hook", "update-ldcache", "--folder", "/usr/lib/x86_64-linux-gnu"].map(str::to_owned).to_vec();
    let timeout = std::time::Duration::from_secs(60);
    assert_eq!(spec.hooks, [Hook { path: "/usr/bin/nvidia-cdi-hook".into(), args, env: vec![], timeout }]);
}

#[test]
fn every_member_of_a_device_node_counts() {
    let node = json!({"path": "/dev/g", "hostPath": "/dev/h", "type": "b", "major": 7, "minor": 8, "fileMode": 384,
        "permissions": "r", "uid": 5, "gid": 6});
    let file = one("v.com/gpu", &json!({"deviceNodes": [node], "additionalGids": [0, 44]}));
    let mut spec = crate::container::spec_for_tests();
    read(&[("a.json", &file)]).edits(["v.com/gpu=g0"]).unwrap().apply(&mut spec);
    let device = &spec.devices[0];
    assert_eq!((device.host_path.as_path(), device.container_path.as_str()), (Path::new("/dev/h"), "/dev/g"));
    let facts = DeviceFacts {
        block: Some(true),
        major: Some(7),
        minor: Some(8),
        mode: Some(0o600),
        uid: Some(5),
        gid: Some(6),
        of_program: true,
    };
    assert_eq!((&device.permissions, &device.facts), (&"r".to_owned(), &facts));
    assert_eq!(spec.additional_groups, [44]);
}

#[test]
fn a_number_that_is_left_out_is_0_if_the_driver_is_said() {
    for (node, major, minor) in [
        (json!({"path": "/dev/g", "type": "c", "major": 226}), Some(226), Some(0)),
        (json!({"path": "/dev/g", "type": "c", "major": 0, "minor": 5}), None, None),
    ] {
        let file = one("v.com/gpu", &json!({"deviceNodes": [node]}));
        let mut spec = crate::container::spec_for_tests();
        read(&[("a.json", &file)]).edits(["v.com/gpu=g0"]).unwrap().apply(&mut spec);
        let facts = &spec.devices[0].facts;
        assert_eq!((facts.major, facts.minor), (major, minor));
    }
}

#[test]
fn what_is_not_a_gpu_does_not_matter() {
    let unknown = json!({"cdiVersion": "9.9.9", "kind": "v.com/nic", "strange": 1}).to_string();
    let gpus = read(&[("nic.json", &unknown), ("readme.txt", "{"), ("none.json", &one("gpu", &json!({})))]);
    assert_eq!((ids(&gpus), gpus.troubles().count()), (vec![], 0));
    assert_eq!(Gpus::read(&[Path::new("/not/there")]), Gpus::default());
    assert_eq!(Gpus::default().edits(["g0"]), Err(GpuError::Missing("g0".into())));
    assert_eq!(Gpus::default().edits([]), Ok(Edits::default()));
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    for (edits, why) in [
        (json!({"intelRdt": {"l3CacheSchema": "x"}}), "intelRdt is not supported"),
        (
            json!({"netDevices": [{"hostInterfaceName": "ib0", "name": "ib0"}]}),
            "the network device ib0 is not supported",
        ),
        (json!({"hooks": [{"hookName": "poststop", "path": "/bin/x"}]}), "the hook poststop (/bin/x) is not supported"),
        (json!({"hooks": [{"hookName": "createContainer", "path": "x"}]}), "the path \"x\" of a hook is not absolute"),
        (json!({"env": ["=x"]}), "the variable \"=x\" has no name"),
        (json!({"deviceNodes": [{"path": "dev/x"}]}), "the path \"dev/x\" of a device is not absolute"),
        (json!({"deviceNodes": [{"path": "/d", "type": "p"}]}), "the type \"p\" of the device /d is not supported"),
        (
            json!({"deviceNodes": [{"path": "/d", "permissions": "x"}]}),
            "the permissions \"x\" of the device /d are not known",
        ),
        (json!({"deviceNodes": [{"path": "/d", "major": -1}]}), "a number of the device /d is negative"),
        (
            json!({"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["rslave"]}]}),
            "the option \"rslave\" of the mount on /b is not supported",
        ),
        (
            json!({"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}]}),
            "the type \"tmpfs\" of the mount on /b is not supported",
        ),
    ] {
        let file = one("v.com/gpu", &edits);
        assert_eq!(trouble(&file), format!("GPU v.com/gpu=g0: {why}"));
        let refused = read(&[("a.json", &file)]).edits(["v.com/gpu=g0"]).unwrap_err();
        assert_eq!(refused, GpuError::Unusable { id: "v.com/gpu=g0".into(), why: why.into() });
    }
    for (file, why) in [
        (r#"{"cdiVersion": "2.0.0", "kind": "v.com/gpu", "devices": []}"#, "cdiVersion \"2.0.0\" is not known"),
        (r#"{"kind": "v.com/gpu", "devices": []}"#, "cdiVersion \"\" is not known"),
        (r#"{"cdiVersion": "1.0.0", "kind": "v.com/gpu", "devices": [], "more": 1}"#, "unknown field `more`"),
        (
            r#"{"cdiVersion": "1.0.0", "kind": "v.com/gpu", "devices": [{"name": "a", "containerEdits": {"x": 1}}]}"#,
            "unknown field `x`",
        ),
        (
            r#"{"cdiVersion": "1.0.0", "kind": "v.com/gpu", "devices": [{"name": "a"}, {"name": "a"}]}"#,
            "it describes the device a twice",
        ),
        ("{", "EOF"),
    ] {
        let said = trouble(file);
        assert!(said.contains("a.json: ") && said.contains(why), "{said}");
    }
}

#[test]
fn a_later_directory_counts_and_a_conflict_in_one_does_not() {
    let edits = |name: &str| json!({"env": [format!("FROM={name}")]});
    let first = write(&[("a.json", &one("v.com/gpu", &edits("first"))), ("b.json", &one("w.com/gpu", &json!({})))]);
    let later = write(&[("c.json", &one("v.com/gpu", &edits("later")))]);
    let gpus = Gpus::read(&[first.path(), later.path()]);
    // Two vendors may have a device of the same name; a UUID cannot be of two.
    assert_eq!(ids(&gpus), ["v.com/gpu=g0", "w.com/gpu=g0"]);
    let mut spec = crate::container::spec_for_tests();
    gpus.edits(["v.com/gpu=g0"]).unwrap().apply(&mut spec);
    assert!(spec.env.contains(&"FROM=later".to_owned()));

    let same = one("v.com/gpu", &json!({}));
    let gpus = read(&[("a.json", &same), ("b.json", &same)]);
    assert_eq!(gpus.troubles().collect::<Vec<_>>(), ["GPU v.com/gpu=g0: two files of one directory describe it"]);
    let other = NVIDIA.replace("nvidia.com", "other.com");
    let gpus = read(&[("nvidia.yaml", NVIDIA), ("other.yaml", &other)]);
    assert_eq!((ids(&gpus), gpus.troubles().count()), (vec![], 2));
}
