//! The agent's settings under the names that the agent of Amazon ECS gives them: from the environment, else from
//! `/etc/ecs/ecs.config`. docs/machines.md lists them. A variable that means nothing here is passed over, as the real
//! agent does with one that it does not know.

use std::{collections::BTreeMap, path::Path, time::Duration};

use gantry_agent::{Config, ImagePullBehavior};

use super::variable;

const FILE: &str = "/etc/ecs/ecs.config";
/// The real agent takes its default for less.
const TASK_CLEANUP_WAIT_MIN: Duration = Duration::from_secs(1);
const IMAGE_CLEANUP_INTERVAL_MIN: Duration = Duration::from_secs(600);
/// Most processes and threads that the kernel counts.
const PIDS_MAX: u64 = 4_194_304;

/// What the variables say.
pub(crate) struct EcsVariables {
    file: BTreeMap<String, String>,
}

impl EcsVariables {
    /// Reads the file, if there is one that can be read.
    pub(crate) fn read() -> anyhow::Result<Self> {
        match std::fs::read_to_string(Path::new(FILE)) {
            Ok(text) => Ok(Self { file: parse_file(&text) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self { file: BTreeMap::new() }),
            Err(error) => Err(anyhow::Error::new(error).context(format!("could not read {FILE}"))),
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        variable(name).or_else(|| self.file.get(name).cloned()).filter(|value| !value.is_empty())
    }

    /// Applies them; what cannot be read is a mistake.
    pub(crate) fn apply(&self, config: &mut Config, mistakes: &mut Vec<String>) {
        apply(config, |name| self.get(name), mistakes);
    }
}

fn parse_file(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim()).to_owned())).collect()
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

fn apply(config: &mut Config, get: impl Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) {
    let mut read = Reader { get, mistakes };
    read.json("ECS_RESERVED_PORTS", &mut config.reserved_ports);
    read.json("ECS_RESERVED_PORTS_UDP", &mut config.reserved_ports_udp);
    read.parsed("ECS_RESERVED_MEMORY", "a number of MiB", &mut config.reserved_memory_mib, |text| text.parse().ok());
    let mut attributes: BTreeMap<String, String> = BTreeMap::new();
    read.json("ECS_INSTANCE_ATTRIBUTES", &mut attributes);
    config.attributes.extend(attributes);
    read.json("ECS_CONTAINER_INSTANCE_TAGS", &mut config.instance_tags);
    read.duration("ECS_CONTAINER_STOP_TIMEOUT", &mut config.container_stop_timeout);
    let default = config.task_cleanup_wait;
    read.duration("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", &mut config.task_cleanup_wait);
    if config.task_cleanup_wait < TASK_CLEANUP_WAIT_MIN {
        config.task_cleanup_wait = default;
    }
    read.duration("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER", &mut config.task_cleanup_jitter);
    read.parsed(
        "ECS_IMAGE_PULL_BEHAVIOR",
        "default, always, once or prefer-cached",
        &mut config.image_pull_behavior,
        pull_behavior,
    );
    image_cleanup(config, &mut read);
    read.flag("ECS_SHARED_VOLUME_MATCH_FULL_CONFIG", &mut config.shared_volume_match_full_config);
    read.flag("ECS_ENABLE_CONTAINER_METADATA", &mut config.container_metadata);
    read.flag("ECS_DISABLE_PRIVILEGED", &mut config.disable_privileged);
    read.flag("ECS_ENABLE_GPU_SUPPORT", &mut config.gpu_support);
    let pids = |text: &str| text.parse().ok().filter(|pids| (1..=PIDS_MAX).contains(pids)).map(Some);
    read.parsed("ECS_TASK_PIDS_LIMIT", "a number from 1 to 4194304", &mut config.task_pids_limit, pids);
    let mut drivers: Vec<String> = Vec::new();
    read.json("ECS_AVAILABLE_LOGGING_DRIVERS", &mut drivers);
    config.logging_drivers = Some(drivers).filter(|drivers| !drivers.is_empty());
}

fn image_cleanup(config: &mut Config, read: &mut Reader<'_, impl Fn(&str) -> Option<String>>) {
    let mut interval = config.image_cleanup_interval.unwrap_or_default();
    let default = interval;
    read.duration("ECS_IMAGE_CLEANUP_INTERVAL", &mut interval);
    config.image_cleanup_interval = Some(if interval < IMAGE_CLEANUP_INTERVAL_MIN { default } else { interval });
    read.duration("ECS_IMAGE_MINIMUM_CLEANUP_AGE", &mut config.image_minimum_cleanup_age);
    let mut disabled = false;
    read.flag("ECS_DISABLE_IMAGE_CLEANUP", &mut disabled);
    if disabled {
        config.image_cleanup_interval = None;
    }
}

struct Reader<'a, G> {
    get: G,
    mistakes: &'a mut Vec<String>,
}

impl<G: Fn(&str) -> Option<String>> Reader<'_, G> {
    fn parsed<T>(&mut self, name: &str, wanted: &str, into: &mut T, parse: impl Fn(&str) -> Option<T>) {
        let Some(text) = (self.get)(name) else { return };
        match parse(text.trim()) {
            Some(value) => *into = value,
            None => self.mistakes.push(format!("{name}: must be {wanted}")),
        }
    }

    fn duration(&mut self, name: &str, into: &mut Duration) {
        self.parsed(name, "a duration such as 30s, 10m or 1h30m", into, duration);
    }

    fn flag(&mut self, name: &str, into: &mut bool) {
        self.parsed(name, "true or false", into, |text| text.parse().ok());
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, name: &str, into: &mut T) {
        self.parsed(name, "JSON of the right shape", into, |text| serde_json::from_str(text).ok());
    }
}

fn pull_behavior(text: &str) -> Option<ImagePullBehavior> {
    Some(match text {
        "default" => ImagePullBehavior::Default,
        "always" => ImagePullBehavior::Always,
        "once" => ImagePullBehavior::Once,
        "prefer-cached" => ImagePullBehavior::PreferCached,
        _ => return None,
    })
}

/// `1h30m`, `10m`, `250ms`, as Go writes durations.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use gantry_agent::Join;

    use super::*;

    fn applied(variables: &[(&str, &str)]) -> (Config, Vec<String>) {
        let mut config = Config::new("http://x", Join::Known, "/data".into());
        let mut mistakes = Vec::new();
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        apply(&mut config, get, &mut mistakes);
        (config, mistakes)
    }

    #[test]
    fn variables_set_what_they_set_on_ecs() {
        let (config, mistakes) = applied(&[
            ("ECS_RESERVED_MEMORY", "256"),
            ("ECS_RESERVED_PORTS", "[80, 443]"),
            ("ECS_INSTANCE_ATTRIBUTES", r#"{"stack": "prod"}"#),
            ("ECS_CONTAINER_STOP_TIMEOUT", "1m30s"),
            ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "10ms"),
            ("ECS_IMAGE_PULL_BEHAVIOR", "prefer-cached"),
            ("ECS_IMAGE_CLEANUP_INTERVAL", "1m"),
            ("ECS_DISABLE_PRIVILEGED", "true"),
            ("ECS_ENABLE_CONTAINER_METADATA", "true"),
            ("ECS_ENABLE_GPU_SUPPORT", "true"),
            ("ECS_TASK_PIDS_LIMIT", "100"),
            ("ECS_AVAILABLE_LOGGING_DRIVERS", r#"["json-file","syslog"]"#),
        ]);
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!((config.reserved_memory_mib, config.reserved_ports), (256, vec![80, 443]));
        assert_eq!(config.attributes["stack"], "prod");
        assert_eq!(config.container_stop_timeout, Duration::from_secs(90));
        assert_eq!(config.task_cleanup_wait, Duration::from_secs(3 * 3600), "too short: the default");
        assert_eq!(config.image_cleanup_interval, Some(Duration::from_secs(1800)), "too short: the default");
        assert_eq!(config.image_pull_behavior, ImagePullBehavior::PreferCached);
        assert_eq!((config.disable_privileged, config.gpu_support, config.task_pids_limit), (true, true, Some(100)));
        assert!(config.container_metadata);
        assert_eq!(config.logging_drivers, Some(vec!["json-file".to_owned(), "syslog".to_owned()]));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_name() {
        let (_, mistakes) = applied(&[
            ("ECS_IMAGE_PULL_BEHAVIOR", "never"),
            ("ECS_RESERVED_PORTS", "22"),
            ("ECS_CONTAINER_STOP_TIMEOUT", "soon"),
            ("ECS_TASK_PIDS_LIMIT", "0"),
        ]);
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with("ECS_IMAGE_PULL_BEHAVIOR: must be default,")));
    }

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("", None),
            ("10", None),
            ("10 m", None),
            ("-1s", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_file_has_a_variable_a_line() {
        let file = parse_file("# comment\nECS_CLUSTER=web\n ECS_X = \"a b\" \nbroken\nECS_Y='1'\n");
        let pairs: Vec<(&str, &str)> = file.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("ECS_CLUSTER", "web"), ("ECS_X", "a b"), ("ECS_Y", "1")]);
    }
}
