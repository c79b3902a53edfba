//! From a path to who is asked for what. Pure.

/// Which version of the metadata is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V4,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// Credentials of the task role; `2` or `1` is the version of the request.
    Credentials {
        version: u8,
        id: &'a str,
    },
    Metadata {
        version: Version,
        id: &'a str,
        what: What<'a>,
    },
    Protection {
        id: &'a str,
    },
    Fault {
        id: &'a str,
        kind: FaultKind,
        action: FaultAction,
    },
    /// To the same without doubled slashes.
    Redirect(String),
    Unknown,
}

/// Which fault of a task's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    BlackholePort,
    Latency,
    PacketLoss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultAction {
    Start,
    Stop,
    Status,
}

/// Which part of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    Container,
    Task,
    TaskWithTags,
    Stats,
    TaskStats,
    Associations { kind: &'a str, name: Option<&'a str> },
}

/// Reads a request's path and query.
pub(super) fn route<'a>(path: &'a str, query: Option<&'a str>) -> Route<'a> {
    if path.contains("//") {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        return Route::Redirect(format!("/{}", parts.join("/")));
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["v1", "credentials"] => Route::Credentials { version: 1, id: id_of(query) },
        ["v2", "credentials"] => Route::Credentials { version: 2, id: "" },
        ["v2", "credentials", id] => Route::Credentials { version: 2, id },
        ["v3", id, ref rest @ ..] => metadata(Version::V3, id, rest),
        ["v4", id, ref rest @ ..] => metadata(Version::V4, id, rest),
        ["api", id, "task-protection", "v1", "state"] => Route::Protection { id },
        ["api", id, "fault", "v1", kind, action] => fault(id, kind, action),
        _ => Route::Unknown,
    }
}

fn fault<'a>(id: &'a str, kind: &str, action: &str) -> Route<'a> {
    let kind = match kind {
        "network-blackhole-port" => FaultKind::BlackholePort,
        "network-latency" => FaultKind::Latency,
        "network-packet-loss" => FaultKind::PacketLoss,
        _ => return Route::Unknown,
    };
    let action = match action {
        "start" => FaultAction::Start,
        "stop" => FaultAction::Stop,
        "status" => FaultAction::Status,
        _ => return Route::Unknown,
    };
    Route::Fault { id, kind, action }
}

fn metadata<'a>(version: Version, id: &'a str, rest: &[&'a str]) -> Route<'a> {
    let what = match *rest {
        [] => What::Container,
        ["task"] => What::Task,
        ["taskWithTags"] => What::TaskWithTags,
        ["stats"] => What::Stats,
        ["task", "stats"] => What::TaskStats,
        ["associations", kind] => What::Associations { kind, name: None },
        ["associations", kind, name] => What::Associations { kind, name: Some(name) },
        _ => return Route::Unknown,
    };
    Route::Metadata { version, id, what }
}

fn id_of(query: Option<&str>) -> &str {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == "id").map(|(_, value)| value).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let metadata = |version, what| Route::Metadata { version, id: "x", what };
        for (path, expected) in [
            ("/v2/credentials/x", Route::Credentials { version: 2, id: "x" }),
            ("/v2/credentials/", Route::Credentials { version: 2, id: "" }),
            ("/v4/x", metadata(Version::V4, What::Container)),
            ("/v4/x/", metadata(Version::V4, What::Container)),
            ("/v3/x/task", metadata(Version::V3, What::Task)),
            ("/v4/x/taskWithTags", metadata(Version::V4, What::TaskWithTags)),
            ("/v4/x/stats", metadata(Version::V4, What::Stats)),
            ("/v3/x/task/stats", metadata(Version::V3, What::TaskStats)),
            (
                "/v4/x/associations/elastic-inference",
                metadata(Version::V4, What::Associations { kind: "elastic-inference", name: None }),
            ),
            ("/api/x/task-protection/v1/state", Route::Protection { id: "x" }),
            (
                "/api/x/fault/v1/network-latency/start",
                Route::Fault { id: "x", kind: FaultKind::Latency, action: FaultAction::Start },
            ),
            ("/api/x/fault/v1/network-blackhole-port/pause", Route::Unknown),
            ("/api/x/fault/v1/disk/start", Route::Unknown),
            ("//v4/x//task", Route::Redirect("/v4/x/task".into())),
            ("/v4/x/other", Route::Unknown),
            ("/v2/metadata", Route::Unknown),
            ("/", Route::Unknown),
        ] {
            assert_eq!(route(path, None), expected, "{path}");
        }
        assert_eq!(route("/v1/credentials", Some("a=b&id=x")), Route::Credentials { version: 1, id: "x" });
        assert_eq!(route("/v1/credentials", None), Route::Credentials { version: 1, id: "" });
    }
}
