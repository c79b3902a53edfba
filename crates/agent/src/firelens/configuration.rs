//! The configuration of a task's log router: inputs, filters, what it includes, and an output for each container that
//! sends to it. Pure.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use super::{DRIVER, PORT, variable};
use crate::task::{ContainerDefinition, Firelens, LaunchType, RouterKind, TaskNetwork, TaskSpec};

/// What the router buffers of the socket when nobody limits its memory.
const BUFFER_MIB: u64 = 25;
/// Options that are not the output's.
const OWN_OPTIONS: [&str; 5] = ["Name", "@type", "include-pattern", "exclude-pattern", "log-driver-buffer-limit"];

/// A container whose output goes to the router. Options that are secrets stand for the router's variables that have them.
struct Sender<'a> {
    name: &'a str,
    options: BTreeMap<&'a str, Cow<'a, str>>,
}

impl<'a> Sender<'a> {
    fn new(index: usize, container: &'a ContainerDefinition, kind: RouterKind) -> Self {
        let log = &container.log;
        let given = log.options.iter().map(|(name, value)| (name.as_str(), Cow::from(value)));
        let secret = log.secret_options.iter().map(|name| (name.as_str(), Cow::from(reference(name, index, kind))));
        Self { name: &container.name, options: given.chain(secret).collect() }
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(AsRef::as_ref).filter(|value| !value.is_empty())
    }
}

/// How the configuration of a router names the variable with a secret.
fn reference(option: &str, index: usize, kind: RouterKind) -> String {
    let variable = variable(option, index);
    match kind {
        RouterKind::Fluentbit => format!("${{{variable}}}"),
        RouterKind::Fluentd => format!("\"#{{ENV['{variable}']}}\""),
    }
}

/// The router's configuration.
pub(crate) fn configuration(
    task: &TaskSpec,
    router: &ContainerDefinition,
    firelens: &Firelens,
    instance_id: &str,
) -> Result<String, String> {
    let containers = task.containers.iter().enumerate().filter(|(_, container)| container.log.driver == DRIVER);
    let senders: Vec<Sender<'_>> =
        containers.map(|(index, container)| Sender::new(index, container, firelens.kind)).collect();
    for sender in &senders {
        let mut options = sender.options.iter();
        if let Some((name, _)) = options.find(|(name, value)| name.contains('\n') || value.contains('\n')) {
            return Err(format!("log option {} of container {} has more than one line", name.trim(), sender.name));
        }
    }
    let metadata = if firelens.metadata { metadata(task, instance_id) } else { Vec::new() };
    let listen = match task.network {
        TaskNetwork::Bridge => Some("0.0.0.0"),
        TaskNetwork::Awsvpc(_) => Some("127.0.0.1"),
        TaskNetwork::Host | TaskNetwork::None => None,
    };
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
fn output<'a>(sender: &'a Sender<'_>, key: &str, kind: &str) -> Result<Option<Output<'a>>, String> {
    let given = sender.options.iter().map(|(name, value)| (*name, value.as_ref()));
    let options: Vec<(&str, &str)> = given.filter(|(name, _)| !OWN_OPTIONS.contains(name)).collect();
    match sender.options.get(key) {
        Some(plugin) => Ok(Some(Output { plugin, options })),
        None if options.is_empty() => Ok(None),
        None => Err(format!("missing output key {key} which is required for firelens configuration of type {kind}")),
    }
}

fn fluentbit(
    router: &ContainerDefinition,
    firelens: &Firelens,
    listen: Option<&str>,
    metadata: &[(&str, String)],
    senders: &[Sender<'_>],
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
    for sender in senders {
        let pattern = format!("{}-firelens*", sender.name);
        for (option_name, key) in [("include-pattern", "Regex"), ("exclude-pattern", "Exclude")] {
            if let Some(value) = sender.option(option_name) {
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
    for sender in senders {
        let Some(output) = output(sender, "Name", "fluentbit")? else { continue };
        let pattern = format!("{}-firelens*", sender.name);
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
    senders: &[Sender<'_>],
) -> Result<String, String> {
    let mut text = "<source>\n    @type unix\n    path /var/run/fluent.sock\n</source>\n\n".to_owned();
    if let Some(listen) = listen {
        let _ = writeln!(text, "<source>\n    @type forward\n    bind {listen}\n    port {PORT}\n</source>\n");
    }
    for sender in senders {
        for (option_name, kind) in [("include-pattern", "regexp"), ("exclude-pattern", "exclude")] {
            if let Some(value) = sender.option(option_name) {
                let _ = writeln!(
                    text,
                    "<filter {}-firelens**>\n    @type grep\n    <{kind}>\n        key log\n        pattern {value}\n    \
                     </{kind}>\n</filter>\n",
                    sender.name
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
    for sender in senders {
        let Some(output) = output(sender, "@type", "fluentd")? else { continue };
        let _ = writeln!(text, "<match {}-firelens**>\n    @type {}", sender.name, output.plugin);
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
        let log = LogConfiguration { driver: DRIVER.to_owned(), options, ..LogConfiguration::default() };
        ContainerDefinition { log, ..container("app") }
    }

    fn made(kind: RouterKind, config_file: Option<&str>, options: &[(&str, &str)]) -> Result<String, String> {
        let firelens =
            Firelens { kind, metadata: true, config_file: config_file.map(str::to_owned), is_fetched: false };
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
    fn secret_options_stand_as_variables_of_the_router() {
        for (kind, plugin, expected) in [
            (RouterKind::Fluentbit, ("Name", "datadog"), "    apikey ${apikey_1}\n    tls on\n\n"),
            (RouterKind::Fluentd, ("@type", "datadog"), "    apikey \"#{ENV['apikey_1']}\"\n    tls on\n</match>\n\n"),
        ] {
            let firelens = Firelens { kind, metadata: false, config_file: None, is_fetched: false };
            let mut app = sender(&[plugin, ("tls", "on")]);
            app.log.secret_options = vec!["apikey".to_owned()];
            let task = task(vec![container("router"), app]);
            let text = configuration(&task, &task.containers[0], &firelens, "i-1").unwrap();
            assert!(text.ends_with(expected), "{text}");
        }
        let mut app = sender(&[]);
        app.log.secret_options = vec!["a\n[OUTPUT]".to_owned()];
        let firelens = Firelens { kind: RouterKind::Fluentbit, metadata: false, config_file: None, is_fetched: false };
        let task = task(vec![container("router"), app]);
        assert!(configuration(&task, &task.containers[0], &firelens, "i-1").is_err());
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
