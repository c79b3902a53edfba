//! One family of task definitions.

use std::collections::{BTreeMap, BTreeSet};

use crate::records::{FamilyRecord, SharedRow, TaskDefinitionRecord, TaskDefinitionStatus};

/// The revisions of a family. Which are ACTIVE is indexed: "the latest ACTIVE one" is asked with every RunTask.
#[derive(Debug, Default)]
pub struct FamilyView {
    counter: Option<SharedRow<FamilyRecord>>,
    revisions: BTreeMap<u32, SharedRow<TaskDefinitionRecord>>,
    active: BTreeSet<u32>,
}

impl FamilyView {
    /// The highest number among deleted revisions, when any was deleted.
    pub fn counter(&self) -> Option<&SharedRow<FamilyRecord>> {
        self.counter.as_ref()
    }

    /// The revisions by number, whatever their status.
    pub fn revisions(&self) -> &BTreeMap<u32, SharedRow<TaskDefinitionRecord>> {
        &self.revisions
    }

    /// The numbers of the ACTIVE revisions.
    pub fn active(&self) -> &BTreeSet<u32> {
        &self.active
    }

    /// The latest ACTIVE revision.
    pub fn latest_active(&self) -> Option<(u32, &SharedRow<TaskDefinitionRecord>)> {
        let number = *self.active.last()?;
        self.revisions.get(&number).map(|row| (number, row))
    }

    /// The highest number this family has used.
    pub fn last_used(&self) -> u32 {
        let deleted = self.counter.as_ref().map_or(0, |counter| counter.last_revision);
        let present = self.revisions.last_key_value().map_or(0, |(number, _)| *number);
        deleted.max(present)
    }

    pub(super) fn set_counter(&mut self, counter: Option<SharedRow<FamilyRecord>>) {
        self.counter = counter;
    }

    /// Returns whether the revision is on its way out.
    pub(super) fn set_revision(&mut self, number: u32, row: Option<SharedRow<TaskDefinitionRecord>>) -> bool {
        let status = row.as_ref().map(|row| row.status);
        if status == Some(TaskDefinitionStatus::Active) {
            self.active.insert(number);
        } else {
            self.active.remove(&number);
        }
        super::set(&mut self.revisions, number, row);
        status == Some(TaskDefinitionStatus::DeleteInProgress)
    }
}
