//! A task's volume that was configured when it was launched.

use gantry_api::agent::ObservedVolume;
use gantry_domain::reason::trimmed;
use serde::{Deserialize, Serialize};

use super::AttachmentStatus;

/// The volume of a task; its size and file system are the agent's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Id of the attachment.
    pub attachment_id: String,
    /// How far the attachment is.
    pub status: AttachmentStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// `vol-…`
    pub id: String,
    /// In the task definition.
    pub name: String,
    /// In which ECS makes it.
    pub role_arn: String,
    /// GiB.
    pub size_gib: u32,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// It goes with the task.
    pub delete_on_termination: bool,
    /// Key and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
}

impl VolumeRecord {
    /// The task's host has it.
    pub fn is_attached(&self) -> bool {
        self.status == AttachmentStatus::Attached
    }

    /// Takes in what the host said. Its end is final.
    pub fn observe(&mut self, observed: &ObservedVolume) {
        if !matches!(self.status, AttachmentStatus::Precreated | AttachmentStatus::Created) {
            return;
        }
        match observed {
            ObservedVolume::Attached => self.status = AttachmentStatus::Attached,
            ObservedVolume::Failed(why) => {
                self.status = AttachmentStatus::Failed;
                self.status_reason = Some(trimmed(why).into_owned());
            }
        }
    }

    /// Its task is gone.
    pub fn release(&mut self) {
        self.status = match self.status {
            AttachmentStatus::Failed => AttachmentStatus::Failed,
            // One that never was stays with nobody.
            AttachmentStatus::Attached if !self.delete_on_termination => AttachmentStatus::Detached,
            _ => AttachmentStatus::Deleted,
        };
    }
}
