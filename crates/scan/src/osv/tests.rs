#![allow(clippy::unwrap_used)]

use super::*;

fn kept(json: &str) -> Record {
    match Record::parse(json.as_bytes()).unwrap() {
        Parsed::Kept(record) => *record,
        left_out => panic!("{left_out:?}"),
    }
}

fn affected(ecosystem: &str, body: &str) -> Affected {
    let json = format!(r#"{{"id":"X-1","affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"p"}},{body}}}]}}"#);
    kept(&json).affected.into_values().next().unwrap()
}

fn check(ecosystem: &str, body: &str, inside: &[&str], outside: &[&str]) {
    let key = ecosystem::of_osv(ecosystem).unwrap();
    let (affected, scheme) = (affected(ecosystem, body), ecosystem::scheme(&key));
    for version in inside {
        assert!(affected.contains(scheme, version), "{version} is affected by {body}");
    }
    for version in outside {
        assert!(!affected.contains(scheme, version), "{version} is not affected by {body}");
    }
}

#[test]
fn ranges_begin_and_end_where_they_say() {
    let events = r#""ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"3.0.11-1~deb12u2"}]}]"#;
    check("Debian:12", events, &["3.0.9-1", "3.0.11-1~deb12u1"], &["3.0.11-1~deb12u2", "3.0.11-1"]);
    let events = r#""ranges":[{"type":"SEMVER","events":[{"fixed":"1.2.5"},{"introduced":"1.2.0"},{"introduced":"2.0.0-0"},{"last_affected":"2.0.3"}]}]"#;
    check("npm", events, &["1.2.0", "1.2.4", "2.0.0-rc.1", "2.0.3"], &["1.1.9", "1.2.5", "1.9.0", "2.0.4"]);
    let events = r#""ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"limit":"1.5.0"}]}]"#;
    check("Go", events, &["v1.4.9", "0.0.0-2020"], &["v1.5.0"]);
    // Alpine's way to say "never affected".
    let events = r#""ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"0"}]}]"#;
    check("Alpine:v3.19", events, &[], &["0", "1.0-r0"]);
}

#[test]
fn versions_named_one_by_one_count_too() {
    let body = r#""ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"2"},{"fixed":"3"}]},
        {"type":"GIT","repo":"r","events":[{"introduced":"0"}]}],"versions":["1.0","2.1","2.2"]"#;
    check("PyPI", body, &["1.0", "1.0.0", "2.1", "2.9"], &["0.9", "3", "4"]);
    assert_eq!(affected("PyPI", body).versions, ["1.0"], "what a range says already is not kept");
}

#[test]
fn the_fix_is_the_next_one() {
    let body = r#""ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.5"},{"introduced":"2.0.0"},{"fixed":"2.0.4"}]}]"#;
    let affected = affected("npm", body);
    assert_eq!(affected.fixed_in(Scheme::Semver, "1.0.0"), Some("1.2.5"));
    assert_eq!(affected.fixed_in(Scheme::Semver, "2.0.1"), Some("2.0.4"));
    assert_eq!(affected.fixed_in(Scheme::Semver, "1.3.0"), None);
}

#[test]
fn records_that_say_nothing_yield_nothing() {
    for json in [
        r#"{"id":"A","withdrawn":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"p"},"versions":["1"]}]}"#,
        r#"{"id":"A"}"#,
        r#"{"id":"A","affected":null}"#,
        r#"{"id":"A","affected":[{"package":{"ecosystem":"Maven","name":"p"},"versions":["1"]}]}"#,
        r#"{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]}]}"#,
    ] {
        assert!(matches!(Record::parse(json.as_bytes()).unwrap(), Parsed::LeftOut { .. }), "{json}");
    }
    for json in ["", "[]", "{}", r#"{"id":""}"#, r#"{"id":5}"#, "{\"id\":\"a\""] {
        assert!(Record::parse(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn cve_names_come_from_wherever_a_publisher_puts_them() {
    let cves_in = |ecosystem: &str, head: &str| {
        let json = format!(
            r#"{{{head},"affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"p"}},"versions":["1"]}}]}}"#
        );
        kept(&json).advisory.cves
    };
    let cves = |head: &str| cves_in("npm", head);
    assert_eq!(cves(r#""id":"GHSA-1","aliases":["CVE-2","GO-1","CVE-1"],"related":["CVE-3"]"#), ["CVE-1", "CVE-2"]);
    assert_eq!(cves(r#""id":"DEBIAN-CVE-1","upstream":["CVE-1"]"#), ["CVE-1"]);
    assert_eq!(cves(r#""id":"CVE-1","aliases":null"#), ["CVE-1"]);
    assert_eq!(cves_in("Rocky Linux:9", r#""id":"RLSA-1","related":["CVE-9"]"#), ["CVE-9"]);
    assert!(cves(r#""id":"GHSA-1","related":["CVE-9"]"#).is_empty());
}

#[test]
fn severities_come_as_vectors_and_as_words() {
    let json = r#"{"id":"G","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"},
        {"type":"CVSS_V3","score":"broken"}],"database_specific":{"severity":"MODERATE","cwe_ids":[1]},
        "affected":[{"package":{"ecosystem":"Debian:12","name":"p"},"versions":["1"],
        "ecosystem_specific":{"urgency":"low"},"database_specific":{"x":{"y":1}}}]}"#;
    let record = kept(json);
    assert_eq!(record.advisory.cvss.len(), 1);
    assert_eq!(record.advisory.vendor_severity, Some(Severity::Medium));
    assert_eq!(record.affected.values().next().unwrap().vendor_severity, Some(Severity::Low));
}
