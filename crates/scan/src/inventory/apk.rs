//! Alpine's `lib/apk/db/installed`.

use super::{Manager, PACKAGES_PER_FILE_MAX, Package};

/// The packages that are installed.
pub(super) fn parse(text: &str, path: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(|paragraph| package(paragraph, path)).take(PACKAGES_PER_FILE_MAX).collect()
}

fn package(paragraph: &str, path: &str) -> Option<Package> {
    let mut package = Package::new(Manager::Apk, "", "", path);
    let mut origin = None;
    for line in paragraph.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key {
            "P" => package.name = value.trim().to_owned(),
            "V" => package.version = value.trim().to_owned(),
            "A" => package.arch = value.trim().to_owned(),
            "o" => origin = Some(value.trim().to_owned()),
            // Files of the package follow.
            "F" => break,
            _ => {}
        }
    }
    package.source = origin.filter(|origin| !origin.is_empty()).map(|origin| (origin, package.version.clone()));
    package.is_named().then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_their_origin_are_read() {
        let text =
            "C:Q1=\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\no:openssl\nF:lib\nR:libcrypto.so.3\n\nP:musl\nV:1.2.4-r2\n";
        let found = parse(text, "lib/apk/db/installed");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].source, Some(("openssl".into(), "3.1.4-r5".into())));
        assert_eq!((found[1].name.as_str(), &found[1].source), ("musl", &None));
    }
}
