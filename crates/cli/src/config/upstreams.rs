//! `[registry.upstreams."HOST"]`: upstream registries that pull-through cache rules may name besides those the API
//! knows, and where known ones are really reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gantry_registry::pull_through::upstreams::{Credentials, Password, UpstreamConfig, UpstreamConfigs};
use serde::Deserialize;

/// The `[registry]` table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistryFile {
    /// `disk` or `s3`; with the others below see `blobs`.
    pub(super) blobs: Option<String>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<super::blobs::Secret>,
    /// How long what no image needs is kept.
    pub(super) grace_seconds: Option<u64>,
    /// How much there may be, and how often it may be asked for: see `quotas`.
    pub(super) repositories_max: Option<u64>,
    pub(super) images_max: Option<u64>,
    pub(super) rates: BTreeMap<String, u32>,
    pub(crate) upstreams: BTreeMap<String, UpstreamFile>,
}

/// One upstream.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpstreamFile {
    /// Where it answers; `https://HOST` when absent.
    url: Option<String>,
    /// Whom we are there, for rules without a secret.
    username: Option<String>,
    /// A file with the password or token, so that it is not in the configuration.
    password_file: Option<PathBuf>,
}

/// Checks the upstreams and reads their passwords.
pub(crate) fn build(file: RegistryFile, mistakes: &mut Vec<String>) -> UpstreamConfigs {
    let mut configs = UpstreamConfigs::new();
    for (host, upstream) in file.upstreams {
        match upstream.build(&host) {
            Ok(config) => drop(configs.insert(host, config)),
            Err(mistake) => mistakes.push(format!("registry.upstreams.{host:?}: {mistake}")),
        }
    }
    configs
}

impl UpstreamFile {
    fn build(self, host: &str) -> Result<UpstreamConfig, String> {
        let url = self.url.unwrap_or_else(|| format!("https://{host}"));
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_usable = |rest: &str| {
            let rest = rest.trim_end_matches('/');
            !rest.is_empty() && !rest.contains(['/', '@', '?', '#']) && !rest.contains(char::is_whitespace)
        };
        if !rest.is_some_and(is_usable) {
            return Err(format!("url '{url}' is not http:// or https:// and a host"));
        }
        let credentials = match (self.username, self.password_file) {
            (None, None) => None,
            (Some(username), Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("could not read {}: {error}", path.display()))?;
                Some(Credentials { username, password: Password(text.trim_end_matches(['\n', '\r']).to_owned()) })
            }
            _ => return Err("username and password_file go together".to_owned()),
        };
        Ok(UpstreamConfig { url, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (UpstreamConfigs, Vec<String>) {
        let mut mistakes = Vec::new();
        let configs = build(toml::from_str(text).expect("is TOML"), &mut mistakes);
        (configs, mistakes)
    }

    #[test]
    fn upstreams_are_read_and_their_passwords_with_them() {
        let password = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(password.path(), "hunter2\n").expect("writes");
        let (configs, mistakes) = read(&format!(
            "[upstreams.\"registry.example.com\"]\n\
             [upstreams.\"ghcr.io\"]\nurl = \"http://10.0.0.7:5000\"\nusername = \"robot\"\npassword_file = {:?}\n",
            password.path()
        ));
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(configs["registry.example.com"].url, "https://registry.example.com");
        let credentials = configs["ghcr.io"].credentials.as_ref().expect("has credentials");
        assert_eq!((credentials.username.as_str(), credentials.password.0.as_str()), ("robot", "hunter2"));
    }

    #[test]
    fn mistakes_name_the_upstream() {
        for upstream in
            ["url = \"ftp://x\"", "url = \"https://\"", "url = \"http://user@host\"", "username = \"robot\""]
        {
            let (_, mistakes) = read(&format!("[upstreams.\"up.example\"]\n{upstream}\n"));
            assert!(mistakes.len() == 1 && mistakes[0].contains("up.example"), "{upstream}: {mistakes:?}");
        }
    }
}
