#![allow(clippy::unwrap_used)]

use super::*;
use crate::ecosystem::Distribution;

struct Sample {
    _folder: tempfile::TempDir,
    database: Database,
}

fn sample() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/advisories");
    crate::database::import(folder.path(), &[samples], 1, &mut |_| {}).unwrap();
    let database = Database::open(folder.path()).unwrap();
    Sample { _folder: folder, database }
}

fn package(manager: Manager, name: &str, version: &str, source: Option<(&str, &str)>) -> Package {
    Package {
        manager,
        name: name.into(),
        version: version.into(),
        source: source.map(|(name, version)| (name.into(), version.into())),
        arch: String::new(),
        path: "p".into(),
    }
}

fn inventory(os: &str, packages: &[Package]) -> Inventory {
    Inventory { distribution: Distribution::parse(os), packages: packages.to_vec(), notes: Vec::new() }
}

fn found(os: &str, packages: &[Package]) -> Vec<(String, Severity, String)> {
    match find(&inventory(os, packages), &sample().database, &|| false).unwrap() {
        Matched::Findings { findings, .. } => findings
            .into_iter()
            .map(|finding| (finding.name, finding.severity, finding.fixed_in.unwrap_or_default()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn expect(rows: &[(&str, Severity, &str)]) -> Vec<(String, Severity, String)> {
    rows.iter().map(|(name, severity, fixed)| ((*name).to_owned(), *severity, (*fixed).to_owned())).collect()
}

const DEBIAN: &str = "ID=debian\nVERSION_ID=12";

#[test]
fn debian_is_matched_by_source_package() {
    let packages = [
        package(Manager::Dpkg, "libssl3", "3.0.11-1~deb12u1", Some(("openssl", "3.0.11-1~deb12u1"))),
        package(Manager::Dpkg, "zlib1g", "1:1.2.13.dfsg-1", Some(("zlib", "1:1.2.13.dfsg-1"))),
        package(Manager::Dpkg, "libgcc-s1", "12.2.0-14", Some(("gcc-12", "12.2.0-14"))),
        package(Manager::Dpkg, "libc6", "2.36-9+deb12u4", Some(("glibc", "2.36-9+deb12u4"))),
    ];
    let rows = [
        ("CVE-2026-90001", Severity::Critical, "3.0.13-1~deb12u1"),
        ("CVE-2026-90003", Severity::High, "1:1.2.13.dfsg-2"),
        ("CVE-2026-90002", Severity::Low, ""),
        ("CVE-2026-90005", Severity::Informational, ""),
    ];
    assert_eq!(found(DEBIAN, &packages), expect(&rows));
}

#[test]
fn each_distribution_has_its_own_rules() {
    let openssl = |version| package(Manager::Apk, "libcrypto3", version, Some(("openssl", version)));
    let alpine = "ID=alpine\nVERSION_ID=3.19.1";
    let musl = package(Manager::Apk, "musl", "1.2.4-r2", None);
    assert_eq!(
        found(alpine, &[openssl("3.1.4-r4"), musl]),
        expect(&[("CVE-2026-90009", Severity::Medium, "3.1.4-r5")])
    );
    assert_eq!(found(alpine, &[openssl("3.1.4-r5")]), []);

    let libs = |version| package(Manager::Rpm, "openssl-libs", version, Some(("openssl", version)));
    for os in ["ID=rhel\nVERSION_ID=9.3", "ID=rocky\nVERSION_ID=9.3"] {
        let rows = [("CVE-2026-90012", Severity::Medium, "1:3.0.7-25.el9_3")];
        assert_eq!(found(os, &[libs("1:3.0.7-16.el9_2")]), expect(&rows), "{os}");
        assert_eq!(found(os, &[libs("1:3.0.7-25.el9_3")]), [], "{os}");
    }
    let suse =
        package(Manager::Rpm, "libopenssl1_1", "1.1.1l-150500.17.1", Some(("openssl-1_1", "1.1.1l-150500.17.1")));
    assert_eq!(found("ID=opensuse-leap\nVERSION_ID=15.5", &[suse]).len(), 1);
    let curl = package(Manager::Dpkg, "curl", "7.81.0-1ubuntu1.10", None);
    let rows = [("CVE-2026-90007", Severity::Medium, "7.81.0-1ubuntu1.15")];
    assert_eq!(found("ID=ubuntu\nVERSION_ID=22.04", &[curl]), expect(&rows));
}

#[test]
fn languages_are_matched_without_a_distribution() {
    let packages = [
        package(Manager::Python, "jinja2", "3.1.2", None),
        package(Manager::Python, "urllib3", "2.0.6", None),
        package(Manager::Python, "Django", "3.2.20", None),
        package(Manager::Python, "requests", "2.31.0", None),
        package(Manager::Npm, "minimist", "1.2.5", None),
        package(Manager::Npm, "@gantry/example", "2.0.0-rc.1", None),
        package(Manager::Go, "golang.org/x/net", "0.7.0", None),
        package(Manager::Go, "stdlib", "1.21.2", None),
        package(Manager::Cargo, "time", "0.1.40", None),
    ];
    let rows = [
        ("CVE-2026-90021", Severity::Critical, "1.2.6"),
        ("CVE-2026-90018", Severity::High, ""),
        ("CVE-2026-90019", Severity::High, ""),
        ("CVE-2026-90023", Severity::High, "0.17.0"),
        ("CVE-2026-90025", Severity::High, "0.2.23"),
        ("CVE-2026-90016", Severity::Medium, "3.1.3"),
        ("CVE-2026-90022", Severity::Low, "2.0.0-rc.2"),
        ("CVE-2026-90024", Severity::Undefined, "1.21.3"),
    ];
    assert_eq!(found("", &packages), expect(&rows));
}

#[test]
fn a_database_that_does_not_know_the_image_does_not_acquit_it() {
    let sample = sample();
    let matched = |os: &str, packages: &[Package]| find(&inventory(os, packages), &sample.database, &|| false).unwrap();
    let dpkg = package(Manager::Dpkg, "bash", "5", None);
    let pip = package(Manager::Python, "flask", "1", None);
    let uncovered = |key: &str| Matched::Uncovered { ecosystems: [key.to_owned()].into() };
    assert_eq!(matched("ID=debian\nVERSION_ID=11", std::slice::from_ref(&dpkg)), uncovered("Debian:11"));
    assert_eq!(matched("ID=debian\nVERSION_ID=11", &[dpkg.clone(), pip.clone()]), uncovered("Debian:11"));
    let unsupported = |name: &str| Matched::Unsupported { distribution: name.to_owned() };
    assert_eq!(matched("ID=amzn\nVERSION_ID=2023", &[package(Manager::Rpm, "x", "1", None)]), unsupported("amzn 2023"));
    assert_eq!(matched("", &[dpkg]), unsupported(""));
    assert_eq!(matched("", &[]), unsupported(""));
    // A distribution that is known and has nothing installed is fine; so are languages in an unknown one.
    assert!(matches!(matched(DEBIAN, &[]), Matched::Findings { .. }));
    assert!(matches!(matched("ID=unknown", std::slice::from_ref(&pip)), Matched::Findings { .. }));
}

#[test]
fn a_comparison_ends_when_its_time_is_over() {
    let image = inventory(DEBIAN, &[package(Manager::Dpkg, "bash", "5", None)]);
    assert_eq!(find(&image, &sample().database, &|| true).unwrap(), Matched::TimedOut);
}

#[test]
fn an_image_cannot_have_findings_without_end() {
    // Every one of these is the same vulnerable source package under another name.
    let packages: Vec<Package> = (0..FINDINGS_MAX)
        .map(|number| package(Manager::Dpkg, &format!("p{number}"), "1", Some(("openssl", "1"))))
        .collect();
    match find(&inventory(DEBIAN, &packages), &sample().database, &|| false).unwrap() {
        Matched::Findings { findings, cut, .. } => assert!(cut && findings.len() <= FINDINGS_MAX + 1),
        other => panic!("{other:?}"),
    }
}
