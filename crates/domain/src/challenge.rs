//! Reads the `WWW-Authenticate` headers of image registries.

/// What a registry asks for with a 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from `realm`, for `service` and `scope` when given.
    Bearer {
        /// Where the token comes from, a URL.
        realm: String,
        /// Who the token is for.
        service: Option<String>,
        /// What the token is for.
        scope: Option<String>,
    },
}

/// The strongest challenge in `header` that we can answer. Scheme and parameter names are case-insensitive, values
/// quoted or not.
pub fn parse(header: &str) -> Option<Challenge> {
    let (scheme, parameters) = header.trim().split_once([' ', '\t']).unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (name, value) in split_parameters(parameters) {
        match name.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

fn split_parameters(mut text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches(|c: char| c == ',' || c.is_whitespace()).to_owned();
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        parameters.push((name, value));
        text = rest;
    }
    parameters
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_real_registries_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (header, expected) in [
            ("Basic realm=\"https://x/\",service=\"ecr.amazonaws.com\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"",
                bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push")),
            ),
            ("BEARER Realm=https://x/t , Service=y", bearer("https://x/t", Some("y"), None)),
            ("Bearer realm=\"a\\\"b\"", bearer("a\"b", None, None)),
            ("Bearer service=\"x\"", None),
            ("Bearer realm=\"unterminated", bearer("unterminated", None, None)),
            ("Negotiate abc", None),
            ("", None),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }
}
