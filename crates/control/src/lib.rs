//! The ECS control plane: one file per operation, one file per reconciler.
//!
//! A request is answered from the [`view`], an in-memory picture of the store. What changes something plans on that
//! picture and commits one compare-and-set transaction ([`Control::transact`]); whoever lost a race plans again.
//! Nothing else keeps state that matters: a new [`Control`] on the same store goes on where the old one stopped.

mod account_settings;
pub mod alarms;
mod attributes;
pub mod authorization;
mod capacity_providers;
mod clock;
mod clusters;
mod control;
mod daemons;
pub mod door;
pub mod events;
pub mod exec;
pub mod failures;
pub mod fault;
mod hook_caller;
mod image_digests;
mod instances;
pub mod keys;
pub mod launch;
pub mod metrics;
mod operations;
mod paging;
mod random;
pub mod reconcile;
pub mod records;
mod revisions;
mod service;
mod services;
pub mod settings;
mod taggable;
mod tags;
pub mod task_definition;
mod task_roles;
mod tasks;
pub mod view;
mod volumes;

pub use clock::{Clock, SharedClock, SystemClock, TokioClock};
pub use control::{Control, Plan};
pub use door::Door;
pub use hook_caller::{HOOK_ANSWER_BYTES_MAX, HOOK_CALL_TIMEOUT, HookCaller, HookResponse};
pub use image_digests::ImageDigests;
pub use metrics::Metrics;
pub use random::Random;
pub use service::EcsService;
pub use settings::Settings;
pub use task_roles::{NoRole, TaskRoles};
pub use view::EcsView;
