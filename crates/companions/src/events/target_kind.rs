//! What a target is: where events go, and what they become. What Gantry cannot deliver to is refused here, by name.

use std::collections::BTreeMap;

use gantry_api::events::{EcsParameters, HttpParameters, Target};
use gantry_domain::event_input::{EventInput, InputError, Path};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::rows::Scope;

/// Where events go.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A POST to a URL.
    Http { url: Url, parameters: HttpParameters },
    /// An event of a log group of the same account and region.
    LogGroup { name: String },
    /// RunTask on a cluster.
    Ecs { cluster_arn: String, role_arn: String, parameters: Box<EcsParameters> },
}

/// Where a target of a rule in `scope` sends events.
///
/// # Errors
/// The sentence that says why there is no such target.
pub(super) fn kind(scope: &Scope, target: &Target) -> Result<Kind, String> {
    let arn = target.arn.as_deref().unwrap_or_default();
    refuse_parameters(target)?;
    if arn.starts_with("http://") || arn.starts_with("https://") {
        return http(arn, target);
    }
    let mut parts = arn.splitn(6, ':');
    let (Some("arn"), Some("aws"), Some(service), Some(region), Some(account), Some(resource)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("Provided Arn is not in correct format.".to_owned());
    };
    if region != scope.region || account != scope.account {
        return Err("Targets of other accounts and regions are not supported.".to_owned());
    }
    match (service, resource.split_once(['/', ':'])) {
        ("logs", Some(("log-group", name))) => log_group(name),
        ("ecs", Some(("cluster", _))) => ecs(arn, target),
        _ => Err(format!(
            "Gantry delivers to ECS clusters, log groups and HTTP endpoints, not to {service}: {resource}."
        )),
    }
}

/// Parameters of targets that there are not.
fn refuse_parameters(target: &Target) -> Result<(), String> {
    let given = [
        ("AppSyncParameters", target.app_sync_parameters.is_some()),
        ("BatchParameters", target.batch_parameters.is_some()),
        ("KinesisParameters", target.kinesis_parameters.is_some()),
        ("RedshiftDataParameters", target.redshift_data_parameters.is_some()),
        ("RunCommandParameters", target.run_command_parameters.is_some()),
        ("SageMakerPipelineParameters", target.sage_maker_pipeline_parameters.is_some()),
        ("SqsParameters", target.sqs_parameters.is_some()),
    ];
    if let Some((name, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(format!("{name} is for a service that Gantry does not have."));
    }
    if target.dead_letter_config.as_ref().is_some_and(|config| config.arn.is_some()) {
        return Err("DeadLetterConfig needs SQS, which Gantry does not have.".to_owned());
    }
    Ok(())
}

fn http(text: &str, target: &Target) -> Result<Kind, String> {
    let parameters = target.http_parameters.clone().unwrap_or_default();
    check_headers(&parameters)?;
    let mut values = parameters.path_parameter_values.iter().flatten();
    let mut filled = String::with_capacity(text.len());
    for (index, piece) in text.split('*').enumerate() {
        if index > 0 {
            let value = values.next().ok_or("A * of the URL has no PathParameterValue.")?;
            filled.extend(percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC));
        }
        filled.push_str(piece);
    }
    let url = Url::parse(&filled).map_err(|error| format!("The URL cannot be read: {error}."))?;
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err("A URL needs a host and may carry no user.".to_owned());
    }
    Ok(Kind::Http { url, parameters })
}

/// Headers that say where a request ends or who it is for are the client's own.
fn check_headers(parameters: &HttpParameters) -> Result<(), String> {
    use reqwest::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
    for (name, value) in parameters.header_parameters.iter().flatten() {
        let parsed = name.parse::<HeaderName>().map_err(|_| format!("{name} is no name of a header."))?;
        if [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(&parsed) {
            return Err(format!("The header {name} may not be given."));
        }
        // The value may be a secret.
        HeaderValue::from_str(value).map_err(|_| format!("The value of the header {name} is not one."))?;
    }
    Ok(())
}

fn log_group(name: &str) -> Result<Kind, String> {
    let name = name.strip_suffix(":*").unwrap_or(name);
    match name.starts_with("/aws/events/") && !name.contains(':') {
        true => Ok(Kind::LogGroup { name: name.to_owned() }),
        false => Err("The name of a log group that is a target begins with /aws/events/.".to_owned()),
    }
}

fn ecs(arn: &str, target: &Target) -> Result<Kind, String> {
    let parameters = target.ecs_parameters.clone();
    let parameters = parameters.ok_or_else(|| format!("EcsParameters is required for target {arn}."))?;
    let role_arn = target.role_arn.clone();
    let role_arn = role_arn.ok_or_else(|| format!("RoleArn is required for target {arn}."))?;
    Ok(Kind::Ecs { cluster_arn: arn.to_owned(), role_arn, parameters: Box::new(parameters) })
}

/// What a target is given.
///
/// # Errors
/// The sentence that says what is wrong.
pub(super) fn input(target: &Target) -> Result<EventInput, String> {
    let given = (&target.input, &target.input_path, &target.input_transformer);
    let input = match given {
        (None, None, None) => EventInput::Whole,
        (Some(text), None, None) => {
            serde_json::from_str::<serde_json::Value>(text).map_err(|error| format!("Input is not JSON: {error}."))?;
            EventInput::Constant(text.clone())
        }
        (None, Some(path), None) => EventInput::Part(parse_path(path)?),
        (None, None, Some(transformer)) => {
            let mut paths = BTreeMap::new();
            for (name, path) in transformer.input_paths_map.iter().flatten() {
                if name.starts_with("AWS") {
                    return Err(format!("InputPathsMap may not define {name}: names do not begin with AWS."));
                }
                paths.insert(name.clone(), parse_path(path)?);
            }
            let template = transformer.input_template.clone().unwrap_or_default();
            EventInput::Template { paths, template }
        }
        _ => return Err("Only one of Input, InputPath, or InputTransformer must be provided.".to_owned()),
    };
    input.check().map_err(|error| match error {
        InputError::Undefined(name) => {
            format!("Invalid InputTemplate: the template names <{name}>, which InputPathsMap does not define.")
        }
        error => error.to_string(),
    })?;
    Ok(input)
}

fn parse_path(text: &str) -> Result<Path, String> {
    text.parse().map_err(|error| format!("{text} is {error}."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_api::events::InputTransformer;

    use super::*;

    fn scope() -> Scope {
        Scope { account: "000000000000".into(), region: "us-east-1".into() }
    }

    fn target(arn: &str) -> Target {
        Target { id: Some("1".into()), arn: Some(arn.into()), ..Default::default() }
    }

    #[test]
    fn targets_are_recognised_or_refused_by_name() {
        let table = [
            ("arn:aws:logs:us-east-1:000000000000:log-group:/aws/events/x", ""),
            ("arn:aws:logs:us-east-1:000000000000:log-group:/aws/events/x:*", ""),
            ("arn:aws:logs:us-east-1:000000000000:log-group:/other", "begins with /aws/events/"),
            ("arn:aws:logs:eu-west-1:000000000000:log-group:/aws/events/x", "other accounts and regions"),
            ("arn:aws:ecs:us-east-1:000000000000:cluster/default", "EcsParameters is required"),
            ("arn:aws:lambda:us-east-1:000000000000:function:f", "not to lambda"),
            ("http://127.0.0.1:9/hook", ""),
            ("https://example.com/a/*", "has no PathParameterValue"),
            ("http://user:pw@example.com/", "may carry no user"),
            ("http://", "cannot be read"),
            ("nothing", "not in correct format"),
        ];
        for (arn, refusal) in table {
            match kind(&scope(), &target(arn)) {
                Ok(_) => assert_eq!(refusal, "", "{arn}"),
                Err(sentence) => assert!(!refusal.is_empty() && sentence.contains(refusal), "{arn}: {sentence}"),
            }
        }
        let parameters = HttpParameters { path_parameter_values: Some(vec!["a/b".into()]), ..Default::default() };
        let with_values = Target { http_parameters: Some(parameters), ..target("http://h/x/*/y") };
        let Kind::Http { url, .. } = kind(&scope(), &with_values).unwrap() else { panic!("is an endpoint") };
        assert_eq!(url.as_str(), "http://h/x/a%2Fb/y");
    }

    #[test]
    fn headers_that_frame_a_request_are_refused() {
        for (name, allowed) in
            [("x-who", true), ("Authorization", true), ("Content-Length", false), ("HOST", false), ("a b", false)]
        {
            let headers = std::collections::BTreeMap::from([(name.to_owned(), "v".to_owned())]);
            let parameters = HttpParameters { header_parameters: Some(headers), ..Default::default() };
            let target = Target { http_parameters: Some(parameters), ..target("http://h/") };
            assert_eq!(kind(&scope(), &target).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn inputs_are_understood_or_refused() {
        let with = |change: fn(&mut Target)| {
            let mut target = target("http://h/");
            change(&mut target);
            input(&target)
        };
        assert_eq!(with(|_| ()), Ok(EventInput::Whole));
        assert!(with(|target| target.input = Some("{".into())).unwrap_err().contains("not JSON"));
        assert!(with(|target| target.input_path = Some("x".into())).unwrap_err().contains("JSONPath"));
        let both = with(|target| (target.input, target.input_path) = (Some("1".into()), Some("$".into())));
        assert!(both.unwrap_err().contains("Only one of"));
        let template = |target: &mut Target| {
            target.input_transformer =
                Some(InputTransformer { input_template: Some("<x>".into()), ..Default::default() });
        };
        assert!(with(template).unwrap_err().contains("<x>"));
    }
}
