//! Capacity providers: which provider gets the next task of a strategy ([`strategy`]), and how many instances the group
//! behind a provider should have ([`scaling`]).

pub mod scaling;
pub mod strategy;
