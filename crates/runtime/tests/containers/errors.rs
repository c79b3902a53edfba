//! Containers that cannot start say why, in words that people know, and leave nothing behind.

use gantry_runtime::container::{ContainerError, ContainerSpec, Containers, Device, Mount, MountSource};

use super::fixture::Fixture;

async fn refused(fixture: &Fixture, spec: &ContainerSpec) -> ContainerError {
    let error = fixture.containers.start(spec).await.unwrap_err();
    assert!(fixture.containers.list().await.unwrap().is_empty(), "what never ran is not listed");
    error
}

#[tokio::test]
async fn programs_that_cannot_be_executed() {
    let fixture = Fixture::new();
    for (program, sentence) in [
        ("nope", "exec: \"nope\": executable file not found in $PATH"),
        ("/nope", "exec: \"/nope\": stat /nope: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/bin/text", "exec /bin/text: exec format error"),
    ] {
        match refused(&fixture, &fixture.spec(&[program])).await {
            ContainerError::Command { detail } => assert_eq!(detail, sentence),
            other => panic!("{program}: {other:?}"),
        }
    }
    let mut spec = fixture.spec(&["nope"]);
    spec.init_process = true;
    assert!(matches!(refused(&fixture, &spec).await, ContainerError::Command { .. }));
    fixture.clean_up().await;
}

#[tokio::test]
async fn specifications_that_cannot_be_carried_out() {
    let fixture = Fixture::new();
    let check = async |change: fn(&mut ContainerSpec), sentence: &str| {
        let mut spec = fixture.spec(&["true"]);
        change(&mut spec);
        match refused(&fixture, &spec).await {
            ContainerError::Spec { detail } => assert_eq!(detail, sentence),
            other => panic!("{sentence}: {other:?}"),
        }
    };
    check(|spec| spec.user = "nobody".into(), "unable to find user nobody: no matching entries in passwd file").await;
    check(|spec| spec.user = "app:wheel".into(), "unable to find group wheel: no matching entries in group file").await;
    check(
        |spec| {
            spec.mounts =
                vec![Mount { source: MountSource::Bind("/not/there".into()), target: "/data".into(), readonly: false }];
        },
        "invalid mount config for type \"bind\": bind source path does not exist: /not/there",
    )
    .await;
    check(
        |spec| {
            spec.devices = vec![Device {
                host_path: "/dev/not-there".into(),
                container_path: "/dev/x".into(),
                permissions: "rwm".into(),
                facts: Default::default(),
            }];
        },
        "error gathering device information while adding custom device \"/dev/not-there\": no such file or directory",
    )
    .await;
    check(|spec| spec.capabilities_add = vec!["FLY".into()], "invalid capability: \"CAP_FLY\"").await;
    check(|spec| spec.ulimits = [("speed".to_owned(), (1, 1))].into(), "invalid ulimit type: speed").await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_sysctl_that_does_not_exist() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&["true"]);
    spec.sysctls = [("net.no.such".to_owned(), "1".to_owned())].into();
    let error = refused(&fixture, &spec).await;
    assert!(error.to_string().contains("sysctl") || error.to_string().contains("net/no/such"), "{error}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn odd_ids_are_refused() {
    let fixture = Fixture::new();
    for id in ["", "..", "a/b", "A", "x y"] {
        let mut spec = fixture.spec(&["true"]);
        spec.id = id.into();
        assert!(matches!(fixture.containers.start(&spec).await, Err(ContainerError::Spec { .. })), "{id:?}");
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_memory_limit_that_nothing_fits_in() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&["sleep", "1000"]);
    spec.limits.memory_bytes = Some(64 << 10);
    let error = fixture.containers.start(&spec).await.unwrap_err();
    assert!(error.to_string().contains("OOM-killed"), "{error}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn nothing_is_mounted_over_the_kernels_files() {
    let fixture = Fixture::new();
    std::os::unix::fs::symlink("/proc/sys", fixture.directory.path().join("image/harmless")).unwrap();
    for target in ["/proc", "/proc/sys", "/proc/self/attr", "/harmless"] {
        let mut spec = fixture.spec(&["true"]);
        let source = MountSource::Bind(fixture.directory.path().join("image/etc"));
        spec.mounts = vec![Mount { source, target: target.into(), readonly: false }];
        let error = refused(&fixture, &spec).await;
        assert!(error.to_string().contains("cannot be mounted"), "{target}: {error}");
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_working_directory_cannot_be_a_descriptor_of_the_host() {
    let fixture = Fixture::new();
    for number in 0..16 {
        let mut spec = fixture.spec(&["true"]);
        spec.working_dir = format!("/proc/self/fd/{number}");
        refused(&fixture, &spec).await;
    }
    fixture.clean_up().await;
}
