//! dpkg's `status` file, and the one file per package that distroless images have.

use super::{Manager, PACKAGES_PER_FILE_MAX, Package};

/// The packages that are installed.
pub(super) fn parse(text: &str, path: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(|paragraph| package(paragraph, path)).take(PACKAGES_PER_FILE_MAX).collect()
}

fn package(paragraph: &str, path: &str) -> Option<Package> {
    let mut package = Package::new(Manager::Dpkg, "", "", path);
    let mut installed = true;
    for line in paragraph.lines() {
        // Continuation lines begin with a space; none of them is of interest.
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key {
            "Package" => package.name = value.to_owned(),
            "Version" => package.version = value.to_owned(),
            "Architecture" => package.arch = value.to_owned(),
            // `want flag status`; files of distroless have no Status.
            "Status" => installed = value.split_whitespace().nth(2) == Some("installed"),
            "Source" => {
                let (name, version) = match value.split_once(' ') {
                    Some((name, version)) => (name, Some(version.trim().trim_matches(['(', ')']).to_owned())),
                    None => (value, None),
                };
                package.source = Some((name.to_owned(), version.unwrap_or_default()));
            }
            _ => {}
        }
    }
    if let Some((_, version)) = &mut package.source
        && version.is_empty()
    {
        *version = package.version.clone();
    }
    (installed && package.is_named()).then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_and_their_sources_are_read() {
        let text = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\n\
            Version: 3.0.11-1~deb12u1\nDescription: x\n Package: not-this\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: gcc-12-base\nStatus: install ok installed\nSource: gcc-12 (12.2.0-14)\nVersion: 12.2.0-14+b1\n";
        let found = parse(text, "var/lib/dpkg/status");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].source, Some(("openssl".into(), "3.0.11-1~deb12u1".into())));
        assert_eq!(found[1].source, Some(("gcc-12".into(), "12.2.0-14".into())));
        assert_eq!((found[1].name.as_str(), found[1].version.as_str()), ("gcc-12-base", "12.2.0-14+b1"));
    }
}
