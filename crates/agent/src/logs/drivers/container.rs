//! What drivers say of a container: its ids and names, its tag, and the labels and variables that options ask for. Pure.

use std::collections::BTreeMap;

use regex::Regex;

use super::Options;
use crate::task::{ContainerDefinition, TaskSpec};

/// Docker's default tag.
const TAG_DEFAULT: &str = "{{.ID}}";

/// A container as drivers describe it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Described {
    pub(crate) id: String,
    /// As Docker would have called it on ECS, without the slash in front.
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) command: String,
    pub(crate) created_ms: u64,
    pub(crate) labels: BTreeMap<String, String>,
    /// `KEY=value`.
    pub(crate) env: Vec<String>,
}

impl Described {
    /// `labels` and `env` are those of the running container, or of the definition when it is not known.
    pub(crate) fn new(task: &TaskSpec, definition: &ContainerDefinition, id: &str, created_ms: u64) -> Self {
        let plain: String =
            definition.name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        let unique = id.rsplit('-').next().unwrap_or(id);
        Self {
            id: id.to_owned(),
            name: format!("ecs-{}-{}-{plain}-{unique}", task.family, task.revision),
            image: definition.image.clone(),
            command: definition.command.clone().unwrap_or_default().join(" "),
            created_ms,
            labels: definition.docker_labels.clone(),
            env: definition.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        }
    }

    /// The first twelve characters of the id, as Docker shows it.
    pub(crate) fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// The option `tag` with its fields filled in.
    pub(super) fn tag(&self, options: Options<'_>) -> Result<String, String> {
        self.expand(options.get("tag").unwrap_or(TAG_DEFAULT))
    }

    /// Docker's template with the fields that a container of a task has.
    pub(crate) fn expand(&self, template: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            text.push_str(before);
            let (field, after) = after
                .split_once("}}")
                .ok_or_else(|| format!("template: log-tag:1: unclosed action in {template:?}"))?;
            text.push_str(match field.trim() {
                ".ID" => self.short_id(),
                ".FullID" => &self.id,
                ".Name" => &self.name,
                ".FullName" | ".ContainerName" => &self.name,
                ".ImageName" => &self.image,
                ".Command" => &self.command,
                ".DaemonName" => "gantry",
                other => {
                    return Err(format!(
                        "template: log-tag:1:2: executing \"log-tag\" at <{other}>: can't evaluate field {} in type \
                         loggerutils.Info",
                        other.trim_start_matches('.')
                    ));
                }
            });
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }

    /// Labels and variables that the options `labels`, `labels-regex`, `env` and `env-regex` name.
    pub(super) fn attributes(&self, options: Options<'_>) -> Result<BTreeMap<String, String>, String> {
        let mut attributes = BTreeMap::new();
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        choose(labels, options.get("labels"), options.get("labels-regex"), &mut attributes)?;
        let env = self.env.iter().filter_map(|pair| pair.split_once('='));
        choose(env, options.get("env"), options.get("env-regex"), &mut attributes)?;
        Ok(attributes)
    }
}

fn choose<'a>(
    from: impl Iterator<Item = (&'a str, &'a str)>,
    names: Option<&str>,
    pattern: Option<&str>,
    into: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let names: Vec<&str> = names.into_iter().flat_map(|names| names.split(',')).map(str::trim).collect();
    let pattern = pattern.map(Regex::new).transpose().map_err(|error| format!("error parsing regexp: {error}"))?;
    for (name, value) in from {
        if names.contains(&name) || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name)) {
            into.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn described() -> Described {
        Described {
            id: "0123456789abcdef0123456789abcdef-0000000001".to_owned(),
            name: "ecs-web-3-app-1".to_owned(),
            image: "app:1".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "red".to_owned()), ("x".to_owned(), "y".to_owned())]),
            env: vec!["STAGE=prod".to_owned(), "DB_HOST=h".to_owned(), "DB_PORT=1".to_owned()],
            ..Described::default()
        }
    }

    #[test]
    fn tags_are_filled_in() {
        let described = described();
        for (template, expected) in [
            ("{{.ID}}", "0123456789ab"),
            ("{{ .FullID }}", "0123456789abcdef0123456789abcdef-0000000001"),
            ("app/{{.Name}}/{{.ImageName}}.", "app/ecs-web-3-app-1/app:1."),
            ("plain", "plain"),
        ] {
            assert_eq!(described.expand(template).unwrap(), expected, "{template}");
        }
        assert!(described.expand("{{.Secret}}").unwrap_err().contains("can't evaluate field Secret"));
        assert!(described.expand("{{.ID").is_err());
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_or_pattern() {
        let chosen = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            described().attributes(Options(&options)).map(|chosen| chosen.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(chosen(&[("labels", "team,none"), ("env-regex", "^DB_")]).unwrap(), ["DB_HOST", "DB_PORT", "team"]);
        assert_eq!(chosen(&[("env", "STAGE")]).unwrap(), ["STAGE"]);
        assert!(chosen(&[("env-regex", "(")]).is_err());
    }
}
