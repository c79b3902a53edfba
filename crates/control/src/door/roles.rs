//! Credentials of tasks' roles, as an agent has been given them: renewed when half of their time is over.
//!
//! What was given is remembered with the session and nowhere else. Another session gives others; the ones before hold
//! until their end, or the task's.

use std::collections::BTreeMap;

use gantry_api::{
    TaskSession,
    agent::{ControlMessage, RoleGrant, RoleKind},
};
use gantry_domain::{Timestamp, arn::TaskId};

use crate::{Control, keys::TaskKey, task_roles, view::TaskRow};

/// Grants in one message.
const GRANTS_MAX: usize = 256;
/// A role that could not be taken on is tried again after this long.
const RETRY_SECONDS: i64 = 30;
const KINDS: [RoleKind; 2] = [RoleKind::Task, RoleKind::Execution];

/// When what an agent was given is to be renewed.
#[derive(Debug, Default)]
pub(super) struct Granted {
    renew_at: BTreeMap<(TaskId, RoleKind), Timestamp>,
}

impl Granted {
    /// What the agent of `tasks` is to be given now.
    pub(super) fn due<'a>(
        &mut self,
        control: &Control,
        tasks: impl Iterator<Item = (TaskKey, &'a TaskRow)> + Clone,
        now: Timestamp,
    ) -> Option<ControlMessage> {
        let mut before = std::mem::take(&mut self.renew_at);
        let mut grants = Vec::new();
        for (key, task) in tasks {
            for kind in KINDS {
                // Nobody acts in the task role of a task that has ended; its output may still be on its way.
                let over = kind == RoleKind::Task && task.is_stopped();
                let Some(role) = task_roles::of_task(task, kind).filter(|_| !over) else { continue };
                let renew_at = before.remove(&(task.id, kind));
                let waits = renew_at.filter(|renew_at| now < *renew_at || grants.len() >= GRANTS_MAX);
                let renew_at = match waits {
                    Some(renew_at) => renew_at,
                    None if grants.len() >= GRANTS_MAX => continue,
                    None => {
                        let (grant, renew_at) = grant(control, role, key.arn(), kind, now);
                        grants.push(grant);
                        renew_at
                    }
                };
                self.renew_at.insert((task.id, kind), renew_at);
            }
        }
        (!grants.is_empty()).then_some(ControlMessage::Roles { grants })
    }

    /// When something is to be renewed next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.renew_at.values().min().copied()
    }
}

fn grant(control: &Control, role: &str, task_arn: String, kind: RoleKind, now: Timestamp) -> (RoleGrant, Timestamp) {
    let credentials = control.roles.credentials(role, TaskSession { task_arn: task_arn.clone(), role: kind });
    let renew_at = match &credentials {
        Some(credentials) => {
            let end = Timestamp::from_millis(i64::try_from(credentials.expires_at_ms).unwrap_or(i64::MAX));
            now.plus_millis(end.millis_since(now).max(0) / 2)
        }
        None => {
            tracing::warn!(role, task_arn, "a role cannot be taken on for its task");
            now.plus_seconds(RETRY_SECONDS)
        }
    };
    (RoleGrant { task_arn, role: kind, credentials }, renew_at)
}
