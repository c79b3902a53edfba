//! Queries over small lists of records.
#![allow(clippy::unwrap_used)]

use super::*;

/// Newest first, as the store gives them.
fn records() -> Vec<Record> {
    let messages = [
        r#"{"level":"ERROR","ms":30,"path":"/a","user":{"id":1}}"#,
        r#"{"level":"INFO","ms":10,"path":"/a"}"#,
        r#"{"level":"ERROR","ms":20,"path":"/b"}"#,
        "GET /c took 40 ms",
    ];
    let scope = Scope { account: "1".into(), region: "r".into() };
    let names = BTreeMap::from([(7, ("g".to_owned(), "s".to_owned()))]);
    let found = |(index, message): (usize, &&str)| Found {
        position: Position { timestamp: 600_000 - index as u64 * 60_000, stream: 7, sequence: 10 - index as u64 },
        ingestion: 5,
        message: (*message).to_owned(),
    };
    messages.iter().enumerate().map(|found_at| record(&scope, &names, found(found_at))).collect()
}

fn rows(query: &str) -> Vec<String> {
    let mut run = Run::new(parse::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")), 100);
    for record in records() {
        if !run.add(record) {
            break;
        }
    }
    let shown = |(name, value): &(String, String)| format!("{name}={value}");
    let visible = |row: Row| row.iter().filter(|(name, _)| name != "@ptr").map(shown).collect::<Vec<_>>().join(" ");
    run.finish().into_iter().map(visible).collect()
}

#[track_caller]
fn check(query: &str, expected: &[&str]) {
    assert_eq!(rows(query), expected, "{query}");
}

#[test]
fn queries() {
    check("fields level, ms | filter level = 'ERROR'", &["level=ERROR ms=30", "level=ERROR ms=20"]);
    check(
        "fields @timestamp, ms | sort ms asc | limit 2",
        &["@timestamp=1970-01-01 00:07:00.000", "@timestamp=1970-01-01 00:09:00.000 ms=10"],
    );
    check("fields @timestamp | limit 1", &["@timestamp=1970-01-01 00:10:00.000"]);
    check(
        "fields ms * 2 + 1 as twice | filter ms > 10 and not level like /INF/ | sort twice",
        &["twice=41", "twice=61"],
    );
    check("fields path | filter path in ['/b', \"/c\"]", &["path=/b"]);
    check("fields user.id | filter ispresent(user.id)", &["user.id=1"]);
    check("stats count(*)", &["count(*)=4"]);
    check("filter level = 'none' | stats count(*) as n", &["n=0"]);
    check(
        "stats count(*) as n, avg(ms), max(ms) by level | sort n desc, level",
        &["level=ERROR n=2 avg(ms)=25 max(ms)=30", "n=1", "level=INFO n=1 avg(ms)=10 max(ms)=10"],
    );
    check(
        "stats count(*) by bin(5m) | sort bin desc",
        &["bin(5m)=1970-01-01 00:05:00.000 count(*)=3", "bin(5m)=1970-01-01 00:10:00.000 count(*)=1"],
    );
    check(
        "parse @message 'GET * took * ms' as url, took | filter ispresent(took) | display url, took",
        &["url=/c took=40"],
    );
    check("parse @message /took (?<took>\\d+) ms/ | stats sum(took)", &["sum(took)=40"]);
    check("fields level | dedup level", &["level=ERROR", "level=INFO", ""]);
    check("# what is slow\nfields ms\n| filter @message like 'took'", &[""]);
    check("filter @logStream = 's' and @log = '1:g' | stats count(*)", &["count(*)=4"]);
    check("fields toupper(path) as p, strlen(path) | limit 1", &["p=/A strlen(path)=2"]);
    check(
        "stats latest(level), earliest(ms), pct(ms, 50), count_distinct(path)",
        &["latest(level)=ERROR earliest(ms)=20 pct(ms, 50)=20 count_distinct(path)=2"],
    );
    check("fields `level` | filter level not like 'ERR' and ispresent(level)", &["level=INFO"]);
    check("filter strcontains(@message, 'GET')", &["@timestamp=1970-01-01 00:07:00.000 @message=GET /c took 40 ms"]);
}

#[test]
fn what_is_no_query_is_refused() {
    for query in [
        "",
        "nothing",
        "fields",
        "fields a |",
        "filter",
        "filter a =",
        "filter (a = 1",
        "stats avg()",
        "stats nonsense(a)",
        "sort",
        "limit x",
        "limit 0",
        "parse 'a*' as a, b",
        "parse a",
        "filter a like 3",
        "filter a like /(/",
        "fields 'open",
        "fields f(1)",
        "filter a in [1",
        "fields a b",
        "filter ;",
        "| | fields a",
    ] {
        assert!(parse::parse(query).is_err(), "{query}");
    }
    let deep = format!("filter {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse::parse(&deep).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,60}", words in proptest::collection::vec("[a-z@]{1,6}|[0-9]{1,3}[smh]?|[|()=<>,*/'\"#`-]", 0..20)) {
        for query in [text, words.join(" "), format!("filter {}", words.join(" ")), format!("stats {}", words.join(""))] {
            if let Ok(commands) = parse::parse(&query) {
                let mut run = Run::new(commands, 10);
                for record in records() {
                    run.add(record);
                }
                run.finish();
            }
        }
    }
}
