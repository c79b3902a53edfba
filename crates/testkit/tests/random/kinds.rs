//! The kinds of worlds: how each begins, what may be done in it, and what it must become when it is left alone.
//! A seed's remainder chooses the kind.

mod daemon;
mod external;
mod placed;
mod rolling;
mod strategies;

use crate::dice::Dice;

/// See the module.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// A script.
    pub(crate) beginning: &'static str,
    /// What one step does.
    pub(crate) commands: fn(&Dice) -> Vec<String>,
    /// A script after which everything can become steady.
    pub(crate) healing: &'static str,
    /// Commands and how their answers must begin in the end.
    pub(crate) end: &'static [(&'static str, &'static str)],
}

pub(crate) const KINDS: &[Kind] = &[rolling::KIND, daemon::KIND, placed::KIND, external::KIND, strategies::KIND];
