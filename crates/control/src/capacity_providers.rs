//! Capacity providers: FARGATE and FARGATE_SPOT, which every account has, and those that an account makes of its Auto
//! Scaling groups.

mod attach;
mod group;
mod known;
mod wire;

pub(crate) use attach::{attach, attached_to, in_use, with_provider};
pub(crate) use group::{changed, created};
pub(crate) use known::{BUILT_IN, Kind, check_name, find, kind};
pub(crate) use wire::{built_in, wire};
