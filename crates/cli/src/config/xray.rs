//! Where segments of traces go on to: keys of the table `[xray]`. Each has a variable `GANTRY_XRAY_` in capitals.

use reqwest::Url;
use serde::Deserialize;

use super::is_url;

/// Where a collector takes traces over HTTP.
const TRACES: &str = "v1/traces";

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct XRayFile {
    /// A collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` names one.
    forward: Option<String>,
}

/// Where a collector takes traces, when one is named. Mistakes are added to `mistakes`.
pub(super) fn collector(
    file: XRayFile,
    variable: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Option<Url> {
    let named = variable("GANTRY_XRAY_FORWARD").or(file.forward)?;
    let url = Url::parse(&named).ok().filter(|_| is_url(&named));
    let Some(mut url) = url else {
        mistakes.push(format!("xray.forward: '{named}' is not a URL such as http://collector:4318"));
        return None;
    };
    let path = url.path().trim_end_matches('/');
    if !path.ends_with(TRACES) {
        url.set_path(&format!("{path}/{TRACES}"));
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::super::File;

    #[test]
    fn a_collector_is_named_by_its_address() {
        let collector = |text: &str, variable: Option<&str>| {
            let file: File = toml::from_str(text).expect("is TOML");
            let mut mistakes = Vec::new();
            let get = |name: &str| variable.filter(|_| name == "GANTRY_XRAY_FORWARD").map(str::to_owned);
            (super::collector(file.xray, get, &mut mistakes).map(String::from), mistakes)
        };
        let named = "[xray]\nforward = \"http://collector:4318\"\n";
        for (text, variable, expected) in [
            ("", None, None),
            (named, None, Some("http://collector:4318/v1/traces")),
            (named, Some("https://other/otlp/"), Some("https://other/otlp/v1/traces")),
            (named, Some("https://other/v1/traces"), Some("https://other/v1/traces")),
        ] {
            assert_eq!(collector(text, variable), (expected.map(str::to_owned), Vec::new()));
        }
        let (none, mistakes) = collector("", Some("collector:4318"));
        assert_eq!(none, None);
        assert_eq!(mistakes, ["xray.forward: 'collector:4318' is not a URL such as http://collector:4318"]);
    }
}
