//! The address of an issuer, and what follows from it: the name that ARNs and condition keys have for its provider,
//! and where its documents are.

use std::net::IpAddr;

/// Prefixes of condition keys that are not a provider's.
const PREFIXES_TAKEN: [&str; 3] = ["aws", "iam", "sts"];

/// What the provider of the issuer at `url` is called: the address without its scheme, as it was written, with the
/// slash at its end if it has one. None for what is no address of an issuer: `https://`, a host, a port if need be and
/// a path; `http://` only on this machine.
pub fn provider_name(url: &str) -> Option<&str> {
    let (is_plain, name) = match url.strip_prefix("https://") {
        Some(name) => (false, name),
        None => (true, url.strip_prefix("http://")?),
    };
    let (authority, path) = name.split_at(name.find('/').unwrap_or(name.len()));
    let host = host_of(authority)?;
    let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/+=,".contains(&byte));
    let is_usable = is_path && !PREFIXES_TAKEN.contains(&&*name.to_ascii_lowercase());
    (is_usable && (!is_plain || is_this_machine(host))).then_some(name)
}

/// Where the issuer at `url` says what it is.
pub fn discovery_url(url: &str) -> String {
    format!("{}/.well-known/openid-configuration", url.trim_end_matches('/'))
}

/// Whether a host, in brackets or not, is the loopback interface.
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The host of `HOST[:PORT]`, when both are well-formed.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest.get(..end)?.parse::<std::net::Ipv6Addr>().ok()?;
            authority.split_at(end + 2)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
            (is_host && host.starts_with(|first: char| first.is_ascii_alphanumeric())).then_some((host, port))?
        }
    };
    let is_port = |text: &str| !text.starts_with('+') && text.parse::<u16>().is_ok_and(|port| port > 0);
    let is_well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_well_formed.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_called_as_its_address_without_the_scheme() {
        for (url, name) in [
            ("https://token.actions.githubusercontent.com", Some("token.actions.githubusercontent.com")),
            ("https://tenant.auth0.com/", Some("tenant.auth0.com/")),
            ("https://id.internal:8443/realms/Build", Some("id.internal:8443/realms/Build")),
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://localhost/x", Some("localhost/x")),
            ("http://[::1]:80/x", Some("[::1]:80/x")),
            ("https://[fd00::1]/x", Some("[fd00::1]/x")),
            ("https://aws-x", Some("aws-x")),
            ("http://id.internal", None),
            ("http://127.0.0.1.example", None),
            ("http://[fd00::1]/", None),
            ("https://", None),
            ("https:///x", None),
            ("https://-x", None),
            ("https://user@host", None),
            ("https://host?x=1", None),
            ("https://host/x#y", None),
            ("https://host/x?y", None),
            ("https://host/*", None),
            ("https://ho st", None),
            ("https://host:", None),
            ("https://host:0", None),
            ("https://host:+1", None),
            ("https://host:99999", None),
            ("https://[::1", None),
            ("https://[::1]x", None),
            ("https://[é]", None),
            ("https://aws", None),
            ("https://STS", None),
            ("HTTPS://host", None),
            ("host", None),
            ("", None),
        ] {
            assert_eq!(provider_name(url), name, "{url}");
        }
    }

    #[test]
    fn the_documents_of_an_issuer_are_below_its_address() {
        for url in ["https://id.example/x", "https://id.example/x/"] {
            assert_eq!(discovery_url(url), "https://id.example/x/.well-known/openid-configuration");
        }
    }
}
