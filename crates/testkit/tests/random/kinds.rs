//! The kinds of worlds: how each begins, what may be done in it, and what it must become when it is left alone.
//! A seed's remainder chooses the kind.

mod daemon;
mod external;
mod managed;
mod placed;
mod rolling;
mod strategies;

use crate::dice::Dice;

/// See the module.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// A script, in parts.
    pub(crate) beginning: &'static [&'static str],
    /// What one step does.
    pub(crate) commands: fn(&Dice) -> Vec<String>,
    /// A script after which everything can become steady; all hosts are back by then.
    pub(crate) healing: &'static str,
    /// Commands and how their answers must begin in the end.
    pub(crate) end: &'static [(&'static str, &'static str)],
}

/// Three hosts in two zones.
const HOSTS: &str = "
    cluster prod
    instances i1 i2 zone=us-east-1a cpu=2048 memory=2048
    instances i3 zone=us-east-1b cpu=2048 memory=2048
";

/// Good and bad.
const IMAGES: &str = "
    image ok start=800ms stop=700ms
    image slow start=20s stop=30s
    image missing fails=pull_access_denied
    image crash exit=3s
    image checked healthy=6s
    image flaky healthy=4s unhealthy=30s
    image sick unhealthy=5s
";

/// Every host is there and takes tasks.
pub(crate) const HOSTS_BACK: &str = "
    return i1
    return i2
    return i3
    activate i1
    activate i2
    activate i3
";

pub(crate) const KINDS: &[Kind] =
    &[rolling::KIND, daemon::KIND, placed::KIND, external::KIND, strategies::KIND, managed::KIND];
