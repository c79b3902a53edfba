//! `[identity_providers."https://ISSUER"]`: issuers of OpenID Connect tokens that cannot be asked as others are, or that
//! a private authority vouches for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gantry_companions::{IssuerConfig, IssuerConfigs, Jwks};
use gantry_domain::web_identity::issuer::provider_name;
use serde::Deserialize;

use super::is_url;

/// One issuer, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentityProviderFile {
    /// Its keys: a file, or a URL.
    jwks: Option<String>,
    /// A file with the certificates of the authorities that vouch for it.
    ca: Option<PathBuf>,
}

/// Checks the issuers and reads their authorities. Mistakes are added to `mistakes`.
pub(super) fn build(file: BTreeMap<String, IdentityProviderFile>, mistakes: &mut Vec<String>) -> IssuerConfigs {
    let mut configs = IssuerConfigs::new();
    for (issuer, said) in file {
        match said.build(&issuer) {
            Ok(config) => drop(configs.insert(issuer, config)),
            Err(mistake) => mistakes.push(format!("identity_providers.{issuer:?}: {mistake}")),
        }
    }
    configs
}

impl IdentityProviderFile {
    fn build(self, issuer: &str) -> Result<IssuerConfig, String> {
        if provider_name(issuer).is_none() {
            return Err("is not the address of an issuer, such as https://id.example/realm".to_owned());
        }
        let jwks = match self.jwks {
            Some(text) if is_url(&text) => {
                Some(Jwks::Url(text.parse().map_err(|_| format!("jwks '{text}' is no URL"))?))
            }
            Some(text) if text.contains("://") => return Err(format!("jwks '{text}' is not http:// or https://")),
            Some(text) => Some(Jwks::File(PathBuf::from(text))),
            None => None,
        };
        let authorities = match self.ca {
            Some(path) => {
                let failed = |error: &dyn std::fmt::Display| format!("could not read {}: {error}", path.display());
                let pem = std::fs::read(&path).map_err(|error| failed(&error))?;
                let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
                if found.is_empty() {
                    return Err(format!("{} has no certificate", path.display()));
                }
                Some(pem)
            }
            None => None,
        };
        Ok(IssuerConfig { jwks, authorities })
    }
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    fn read(text: &str) -> (IssuerConfigs, Vec<String>) {
        let file: File = toml::from_str(text).expect("is TOML");
        let mut mistakes = Vec::new();
        (build(file.identity_providers, &mut mistakes), mistakes)
    }

    #[test]
    fn the_keys_of_an_issuer_are_in_a_file_or_at_a_url() {
        let (configs, mistakes) = read(
            "[identity_providers.\"https://a.example\"]\njwks = \"/etc/gantry/keys.json\"\n\
             [identity_providers.\"https://b.example/x\"]\njwks = \"http://10.0.0.7/keys\"\n",
        );
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let jwks = |issuer: &str| configs.get(issuer).and_then(|config| config.jwks.clone());
        assert_eq!(jwks("https://a.example"), Some(Jwks::File("/etc/gantry/keys.json".into())));
        assert_eq!(jwks("https://b.example/x"), Some(Jwks::Url("http://10.0.0.7/keys".parse().expect("a URL"))));
    }

    #[test]
    fn mistakes_name_the_issuer() {
        let empty = tempfile::NamedTempFile::new().expect("a file");
        let empty = format!("ca = {:?}", empty.path());
        for (issuer, said) in [
            ("a.example", ""),
            ("https://a.example", "jwks = \"ftp://x\""),
            ("https://a.example", "ca = \"/nowhere\""),
            ("https://a.example", &empty),
        ] {
            let (_, mistakes) = read(&format!("[identity_providers.\"{issuer}\"]\n{said}\n"));
            assert!(mistakes.len() == 1 && mistakes[0].contains("a.example"), "{said}: {mistakes:?}");
        }
    }
}
