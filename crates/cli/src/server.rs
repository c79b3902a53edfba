//! The server: everything behind the one port.

mod buckets;
mod door;
mod exec;
mod facts;
mod hooks;
mod http;
mod identities;
mod image_digests;
mod images_in_use;
pub(crate) mod own;
mod presences;
#[cfg(test)]
mod roles_for_tests;
mod run_tasks;
mod scaled_services;
mod task_files;
mod task_roles;
mod task_values;
mod tls;
mod transcripts;
mod upstream_access;

pub(crate) use buckets::Buckets;
pub(crate) use door::{Door, Shutdown};
pub(crate) use exec::SessionsOfTasks;
pub(crate) use facts::World;
pub(crate) use hooks::HttpHooks;
pub(crate) use http::Site;
pub(crate) use identities::Identities;
pub(crate) use image_digests::OwnImages;
pub(crate) use images_in_use::ImagesOfTasks;
pub(crate) use own::Own;
pub(crate) use presences::MachinesOfInstances;
pub(crate) use run_tasks::TasksFromInside;
pub(crate) use scaled_services::ScaledServices;
pub(crate) use task_files::TaskFiles;
pub(crate) use task_roles::RolesOfTasks;
pub(crate) use task_values::ValuesOfCompanions;
pub(crate) use tls::acceptor as tls_acceptor;
pub(crate) use transcripts::TranscriptsOfTasks;
pub(crate) use upstream_access::{UpstreamRoles, UpstreamSecrets};
