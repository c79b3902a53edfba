//! FireLens: a task's log router gets a configuration and a socket that the other containers' output goes to. Pure but
//! for [`write()`].

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use gantry_runtime::container::{Mount, MountSource};

use crate::task::{ContainerDefinition, Firelens, LaunchType, RouterKind, TaskNetwork, TaskSpec};

/// The log driver of containers whose output goes to the router.
pub(crate) const DRIVER: &str = "awsfirelens";
/// Below `DATA/agent`: a directory per task.
pub(crate) const DIRECTORY: &str = "firelens";
/// Where other programs of the task send to.
pub(crate) const PORT: u16 = 24_224;
const SOCKET_DIRECTORY: &str = "/var/run";
/// What the router buffers of the socket when nobody limits its memory.
const BUFFER_MIB: u64 = 25;
/// Options that are not the output's.
const OWN_OPTIONS: [&str; 5] = ["Name", "@type", "include-pattern", "exclude-pattern", "log-driver-buffer-limit"];

/// The socket of a task's router, on the host.
pub(crate) fn socket(directory: &Path, task_id: &str) -> PathBuf {
    directory.join(task_id).join("socket/fluent.sock")
}

/// Makes the router's files in `directory` and says what to mount for it.
pub(crate) fn write(directory: &Path, kind: RouterKind, configuration: &str) -> io::Result<Vec<Mount>> {
    let (sockets, file) = (directory.join("socket"), directory.join("fluent.conf"));
    fs::create_dir_all(&sockets)?;
    // Whoever the router runs as; nobody else reaches a path below our data directory.
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o777))?;
    fs::write(&file, configuration)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let mount = |source: PathBuf, target: &str, readonly: bool| Mount {
        source: MountSource::Bind(source),
        target: target.to_owned(),
        readonly,
    };
    let target = match kind {
        RouterKind::Fluentbit => "/fluent-bit/etc/fluent-bit.conf",
        RouterKind::Fluentd => "/fluentd/etc/fluent.conf",
    };
    Ok(vec![mount(sockets, SOCKET_DIRECTORY, false), mount(file, target, true)])
}

/// Where containers find the router's port, given its address in bridge mode.
pub(crate) fn host(task: &TaskSpec, router: Option<std::net::IpAddr>) -> Option<String> {
    match task.network {
        TaskNetwork::Bridge => router.map(|address| address.to_string()),
        TaskNetwork::Awsvpc(_) => Some("127.0.0.1".to_owned()),
        TaskNetwork::Host | TaskNetwork::None => None,
    }
}

/// The router's configuration.
pub(crate) fn configuration(
    task: &TaskSpec,
    router: &ContainerDefinition,
    firelens: &Firelens,
    instance_id: &str,
) -> Result<String, String> {
    let senders = task.containers.iter().filter(|container| container.log.driver == DRIVER);
    for container in senders.clone() {
        let mut options = container.log.options.iter();
        if let Some((name, _)) = options.find(|(name, value)| name.contains('\n') || value.contains('\n')) {
            return Err(format!("log option {} of container {} has more than one line", name.trim(), container.name));
        }
    }
    let metadata = if firelens.metadata { metadata(task, instance_id) } else { Vec::new() };
    let listen = match task.network {
        TaskNetwork::Bridge => Some("0.0.0.0"),
        TaskNetwork::Awsvpc(_) => Some("127.0.0.1"),
        TaskNetwork::Host | TaskNetwork::None => None,
    };
    let senders: Vec<&ContainerDefinition> = senders.collect();
    match firelens.kind {
        RouterKind::Fluentbit => fluentbit(router, firelens, listen, &metadata, &senders),
        RouterKind::Fluentd => fluentd(firelens, listen, &metadata, &senders),
    }
}

fn metadata(task: &TaskSpec, instance_id: &str) -> Vec<(&'static str, String)> {
    let mut metadata = vec![
        ("ecs_cluster", task.cluster_name().to_owned()),
        ("ecs_task_arn", task.arn.clone()),
        ("ecs_task_definition", format!("{}:{}", task.family, task.revision)),
    ];
    if task.launch_type == LaunchType::Ec2 {
        metadata.insert(0, ("ec2_instance_id", instance_id.to_owned()));
    }
    metadata
}

/// What an output plugin is told.
struct Output<'a> {
    plugin: &'a str,
    options: Vec<(&'a str, &'a str)>,
}

/// The output of a container; none for one that leaves it to the included configuration.
fn output<'a>(container: &'a ContainerDefinition, key: &str, kind: &str) -> Result<Option<Output<'a>>, String> {
    let given = container.log.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let options: Vec<(&str, &str)> = given.filter(|(name, _)| !OWN_OPTIONS.contains(name)).collect();
    match container.log.options.get(key) {
        Some(plugin) => Ok(Some(Output { plugin, options })),
        None if options.is_empty() => Ok(None),
        None => Err(format!("missing output key {key} which is required for firelens configuration of type {kind}")),
    }
}

fn option<'a>(container: &'a ContainerDefinition, name: &str) -> Option<&'a String> {
    container.log.options.get(name).filter(|value| !value.is_empty())
}

fn fluentbit(
    router: &ContainerDefinition,
    firelens: &Firelens,
    listen: Option<&str>,
    metadata: &[(&str, String)],
    senders: &[&ContainerDefinition],
) -> Result<String, String> {
    let memory = router.memory_reservation_mib.or(router.memory_mib).filter(|mib| *mib > 1);
    let buffer = memory.map_or(BUFFER_MIB, |mib| mib / 2);
    let mut text = String::new();
    let mut section = |name: &str, lines: &[(&str, &str)]| {
        let _ = writeln!(text, "[{name}]");
        for (key, value) in lines {
            let _ = writeln!(text, "    {key} {value}");
        }
        text.push('\n');
    };
    let buffer = format!("{buffer}MB");
    section("INPUT", &[("Name", "forward"), ("unix_path", "/var/run/fluent.sock"), ("Mem_Buf_Limit", &buffer)]);
    if let Some(listen) = listen {
        section("INPUT", &[("Name", "forward"), ("Listen", listen), ("Port", &PORT.to_string())]);
        let healthcheck = [("Name", "tcp"), ("Tag", "firelens-healthcheck"), ("Listen", "127.0.0.1"), ("Port", "8877")];
        section("INPUT", &healthcheck);
    }
    for container in senders {
        let pattern = format!("{}-firelens*", container.name);
        for (option_name, key) in [("include-pattern", "Regex"), ("exclude-pattern", "Exclude")] {
            if let Some(value) = option(container, option_name) {
                section("FILTER", &[("Name", "grep"), ("Match", &pattern), (key, &format!("log {value}"))]);
            }
        }
    }
    if !metadata.is_empty() {
        let records: Vec<String> = metadata.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let mut lines = vec![("Name", "record_modifier"), ("Match", "*")];
        lines.extend(records.iter().map(|record| ("Record", record.as_str())));
        section("FILTER", &lines);
    }
    if let Some(path) = &firelens.config_file {
        let _ = writeln!(text, "@INCLUDE {path}\n");
    }
    let mut section = |lines: &[(&str, &str)]| {
        text.push_str("[OUTPUT]\n");
        for (key, value) in lines {
            let _ = writeln!(text, "    {key} {value}");
        }
        text.push('\n');
    };
    if listen.is_some() {
        section(&[("Name", "null"), ("Match", "firelens-healthcheck")]);
    }
    for container in senders {
        let Some(output) = output(container, "Name", "fluentbit")? else { continue };
        let pattern = format!("{}-firelens*", container.name);
        let mut lines = vec![("Name", output.plugin), ("Match", pattern.as_str())];
        lines.extend(output.options);
        section(&lines);
    }
    Ok(text)
}

fn fluentd(
    firelens: &Firelens,
    listen: Option<&str>,
    metadata: &[(&str, String)],
    senders: &[&ContainerDefinition],
) -> Result<String, String> {
    let mut text = "<source>\n    @type unix\n    path /var/run/fluent.sock\n</source>\n\n".to_owned();
    if let Some(listen) = listen {
        let _ = writeln!(text, "<source>\n    @type forward\n    bind {listen}\n    port {PORT}\n</source>\n");
    }
    for container in senders {
        for (option_name, kind) in [("include-pattern", "regexp"), ("exclude-pattern", "exclude")] {
            if let Some(value) = option(container, option_name) {
                let _ = writeln!(
                    text,
                    "<filter {}-firelens**>\n    @type grep\n    <{kind}>\n        key log\n        pattern {value}\n    \
                     </{kind}>\n</filter>\n",
                    container.name
                );
            }
        }
    }
    if !metadata.is_empty() {
        text.push_str("<filter **>\n    @type record_transformer\n    <record>\n");
        for (key, value) in metadata {
            let _ = writeln!(text, "        {key} {value}");
        }
        text.push_str("    </record>\n</filter>\n\n");
    }
    if let Some(path) = &firelens.config_file {
        let _ = writeln!(text, "@include {path}\n");
    }
    for container in senders {
        let Some(output) = output(container, "@type", "fluentd")? else { continue };
        let _ = writeln!(text, "<match {}-firelens**>\n    @type {}", container.name, output.plugin);
        for (key, value) in output.options {
            let _ = writeln!(text, "    {key} {value}");
        }
        text.push_str("</match>\n\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        engine_tests::{container, task},
        task::LogConfiguration,
    };

    fn sender(options: &[(&str, &str)]) -> ContainerDefinition {
        let options: BTreeMap<String, String> =
            options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ContainerDefinition { log: LogConfiguration { driver: DRIVER.to_owned(), options }, ..container("app") }
    }

    fn made(kind: RouterKind, config_file: Option<&str>, options: &[(&str, &str)]) -> Result<String, String> {
        let firelens = Firelens { kind, metadata: true, config_file: config_file.map(str::to_owned) };
        let router = ContainerDefinition { memory_reservation_mib: Some(100), ..container("router") };
        let task = task(vec![router.clone(), sender(options)]);
        configuration(&task, &router, &firelens, "i-1")
    }

    #[test]
    fn fluent_bit_gets_inputs_filters_and_an_output_per_container() {
        let options = [("Name", "file"), ("Path", "/out"), ("exclude-pattern", "^DEBUG")];
        let arn = crate::engine_tests::ARN;
        assert_eq!(
            made(RouterKind::Fluentbit, Some("/extra.conf"), &options).unwrap(),
            format!(
                "[INPUT]\n    Name forward\n    unix_path /var/run/fluent.sock\n    Mem_Buf_Limit 50MB\n\n\
                 [INPUT]\n    Name forward\n    Listen 0.0.0.0\n    Port 24224\n\n\
                 [INPUT]\n    Name tcp\n    Tag firelens-healthcheck\n    Listen 127.0.0.1\n    Port 8877\n\n\
                 [FILTER]\n    Name grep\n    Match app-firelens*\n    Exclude log ^DEBUG\n\n\
                 [FILTER]\n    Name record_modifier\n    Match *\n    Record ec2_instance_id i-1\n    \
                 Record ecs_cluster default\n    Record ecs_task_arn {arn}\n    Record ecs_task_definition web:1\n\n\
                 @INCLUDE /extra.conf\n\n\
                 [OUTPUT]\n    Name null\n    Match firelens-healthcheck\n\n\
                 [OUTPUT]\n    Name file\n    Match app-firelens*\n    Path /out\n\n"
            )
        );
    }

    #[test]
    fn fluentd_gets_the_same_in_its_own_words() {
        let text = made(RouterKind::Fluentd, None, &[("@type", "stdout"), ("include-pattern", "x")]).unwrap();
        for part in [
            "@type unix\n    path /var/run/fluent.sock",
            "bind 0.0.0.0\n    port 24224",
            "<filter app-firelens**>\n    @type grep\n    <regexp>\n        key log\n        pattern x\n",
            "        ecs_task_definition web:1\n",
            "<match app-firelens**>\n    @type stdout\n</match>\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn options_without_an_output_are_a_mistake_and_none_are_not() {
        assert!(made(RouterKind::Fluentbit, None, &[]).is_ok());
        assert_eq!(
            made(RouterKind::Fluentbit, None, &[("region", "x")]).unwrap_err(),
            "missing output key Name which is required for firelens configuration of type fluentbit"
        );
        assert!(made(RouterKind::Fluentbit, None, &[("Name", "a\n[OUTPUT]")]).is_err());
    }
}
