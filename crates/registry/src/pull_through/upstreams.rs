//! Which upstream registries there are: those the API names, registries of this Gantry's other regions, and the
//! hosts the operator allows. Pure.

use std::collections::BTreeMap;
use std::fmt;

use gantry_domain::arn::Scope;

use crate::fault::RegistryError;

/// A password that does not show when it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A host the operator allows as an upstream, or says how to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Where the registry answers: `https://registry.example.com`, `http://10.0.0.7:5000`.
    pub url: String,
    /// Whom we are there, for rules that have no secret.
    pub credentials: Option<Credentials>,
}

/// A user name and a password or token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password or token.
    pub password: Password,
}

/// The hosts the operator configured, by the name that rules give as `upstreamRegistryUrl`.
pub type UpstreamConfigs = BTreeMap<String, UpstreamConfig>;

/// What a rule's upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamKind {
    /// A registry that is reached over HTTP.
    Remote {
        /// The name the API has for it, if it has one.
        name: Option<&'static str>,
        /// Where it answers.
        base: String,
        /// It serves nobody without a secret.
        needs_secret: bool,
        /// Whom the operator says we are.
        credentials: Option<Credentials>,
    },
    /// Another registry of this Gantry.
    Ours(Scope),
}

/// The upstreams the API names whose host is fixed: name, host, and whether they need a secret.
const KNOWN: [(&str, &str, bool); 7] = [
    ("ecr-public", "public.ecr.aws", false),
    ("k8s", "registry.k8s.io", false),
    ("quay", "quay.io", false),
    ("docker-hub", "registry-1.docker.io", true),
    ("github-container-registry", "ghcr.io", true),
    ("gitlab-container-registry", "registry.gitlab.com", true),
    ("chainguard", "cgr.dev", true),
];
const AZURE: &str = "azure-container-registry";
const AZURE_SUFFIX: &str = ".azurecr.io";
const ECR: &str = "ecr";

/// What the host of a rule is; refused when nobody said that it may be an upstream.
pub(crate) fn upstream_kind(
    configs: &UpstreamConfigs,
    host: &str,
    named: Option<&str>,
) -> Result<UpstreamKind, RegistryError> {
    let unsupported = || RegistryError::UpstreamUnsupported(host.to_owned());
    let host_of_name = KNOWN.iter().find(|(_, known, _)| *known == host);
    let is_azure = host.strip_suffix(AZURE_SUFFIX).is_some_and(|name| !name.is_empty() && !name.contains(['.', '/']));
    let registry = Scope::of_registry_host(host);
    let own_name = match (host_of_name, is_azure, &registry) {
        (Some((name, ..)), ..) => Some(*name),
        (None, true, _) => Some(AZURE),
        (None, false, Some(_)) => Some(ECR),
        (None, false, None) => None,
    };
    if named.is_some() && named != own_name {
        return Err(unsupported());
    }
    if let Some(config) = configs.get(host) {
        return Ok(UpstreamKind::Remote {
            name: own_name,
            base: config.url.trim_end_matches('/').to_owned(),
            needs_secret: false,
            credentials: config.credentials.clone(),
        });
    }
    if let Some(scope) = registry {
        return Ok(UpstreamKind::Ours(scope));
    }
    Ok(UpstreamKind::Remote {
        name: Some(own_name.ok_or_else(unsupported)?),
        base: format!("https://{host}"),
        needs_secret: is_azure || host_of_name.is_some_and(|(_, _, needs_secret)| *needs_secret),
        credentials: None,
    })
}

/// The hosts that requests may go to even when their address is a private one.
pub(crate) fn trusted_hosts(configs: &UpstreamConfigs) -> Vec<String> {
    let host_of = |config: &UpstreamConfig| Some(reqwest::Url::parse(&config.url).ok()?.host_str()?.to_owned());
    configs.values().filter_map(host_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_the_api_and_the_operator_say() {
        let mirror = UpstreamConfig { url: "http://10.0.0.7:5000/".to_owned(), credentials: None };
        let configs = UpstreamConfigs::from([
            ("registry.example.com".to_owned(), mirror.clone()),
            ("ghcr.io".to_owned(), mirror),
        ]);
        let known = |name: &'static str, base: &str, needs_secret| {
            let base = base.to_owned();
            Some(UpstreamKind::Remote { name: Some(name), base, needs_secret, credentials: None })
        };
        let own = Some(UpstreamKind::Remote {
            name: None,
            base: "http://10.0.0.7:5000".to_owned(),
            needs_secret: false,
            credentials: None,
        });
        let cases = [
            ("public.ecr.aws", None, known("ecr-public", "https://public.ecr.aws", false)),
            ("public.ecr.aws", Some("ecr-public"), known("ecr-public", "https://public.ecr.aws", false)),
            ("public.ecr.aws", Some("quay"), None),
            ("registry-1.docker.io", None, known("docker-hub", "https://registry-1.docker.io", true)),
            ("team.azurecr.io", None, known("azure-container-registry", "https://team.azurecr.io", true)),
            (".azurecr.io", None, None),
            // A mirror of a known registry serves whom it serves.
            ("ghcr.io", None, known("github-container-registry", "http://10.0.0.7:5000", false)),
            ("registry.example.com", None, own),
            ("registry.example.com", Some("quay"), None),
            ("other.example.com", None, None),
            ("localhost:5000", None, None),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                Some("ecr"),
                Some(UpstreamKind::Ours(Scope::new("123456789012", "eu-west-1"))),
            ),
            ("12345678901.dkr.ecr.eu-west-1.amazonaws.com", None, None),
        ];
        for (host, named, expected) in cases {
            assert_eq!(upstream_kind(&configs, host, named).ok(), expected, "{host} {named:?}");
        }
    }

    #[test]
    fn a_password_does_not_show() {
        let credentials = Credentials { username: "robot".to_owned(), password: Password("hunter2".to_owned()) };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
