//! What the end of a deployment changes: in the service, and in what is kept of its deployments.

use gantry_domain::{
    deployment::{Cause, DeploymentId, Failures, RolloutState},
    reason::{RolloutReason, ServiceEvent},
};

use super::{
    super::{
        deploy,
        history::{self, End},
        rollout, wire,
    },
    Act,
};
use crate::records::DeploymentRecord;

impl Act<'_> {
    pub(super) fn complete(&mut self, id: DeploymentId) {
        self.deployment(id, |record| {
            record.rollout = RolloutState::Completed;
            record.rollout_reason = RolloutReason::Completed.message(&id.to_string());
        });
        let Some(record) = self.record.deployments.iter().find(|record| record.id == id).cloned() else { return };
        self.record.completed_revision = Some(record.revision);
        if self.record.rollout.as_ref().is_some_and(|rollout| rollout.green == id) {
            self.record.rollout = None;
        }
        self.end(&record, End::Completed);
    }

    fn end(&mut self, deployment: &DeploymentRecord, how: End) {
        let txn = std::mem::take(&mut self.txn);
        let service = &self.observed.row.record;
        self.txn = history::end(txn, self.view, self.key, (service, deployment), how, self.now);
    }

    pub(super) fn fail(&mut self, id: DeploymentId, cause: &Cause, rollback: bool) {
        if self.record.rollout.as_ref().is_some_and(|rollout| rollout.green == id) {
            return self.turn_back(id, cause);
        }
        let revision = self.record.deployments.iter().find(|record| record.id == id).map(|record| record.revision);
        let target = self.record.completed_revision.filter(|target| rollback && Some(*target) != revision);
        // What still runs of the revision goes on.
        let known = |target| self.record.deployments.iter().find(|record| record.revision == target);
        let id_of = |target| known(target).map_or_else(|| deploy::new_ids(self.random).deployment, |record| record.id);
        let target = target.map(|target| (target, id_of(target)));
        let Some(failed) = self.give_up(id, cause, target) else { return };
        if let Some((revision, back)) = target {
            deploy::begin_rollback(self.view, self.key, &mut self.record, &failed, (revision, back), self.now);
            self.txn = deploy::replan_placements(std::mem::take(&mut self.txn), self.view, self.key);
            self.tell(&ServiceEvent::RollingBack { deployment: back.to_string() });
        }
    }

    /// Production is with blue again at once; green goes.
    fn turn_back(&mut self, green: DeploymentId, cause: &Cause) {
        let Some(mut row) = self.record.rollout.take() else { return };
        let blue = self.record.deployments.iter().find(|deployment| Some(deployment.id) == row.blue).cloned();
        let target = blue.as_ref().map(|blue| (blue.revision, blue.id));
        if self.give_up(green, cause, target).is_none() {
            return;
        }
        let (Some(blue), Some(rollout)) = (blue, rollout::of(&row)) else { return };
        let stop = match cause {
            Cause::Stopped(kind) => Some(*kind),
            _ => None,
        };
        row.update(&rollout.back(self.now, stop));
        self.record.rollout = Some(row);
        self.record.deployments.sort_by_key(|deployment| deployment.id != blue.id);
        if let Some(revision) = wire::revision(self.view, self.key, blue.revision) {
            self.record.launch_type = revision.launch_type;
        }
        // What was given up itself once must serve again now. What went wrong with it before does not count.
        let now = self.now;
        self.deployment(blue.id, |record| {
            record.failures = Failures::default();
            if record.rollout != RolloutState::Completed {
                *record = record.back(now);
            }
        });
        self.tell(&ServiceEvent::RollingBack { deployment: blue.id.to_string() });
    }

    /// Marks a deployment as failed, with what comes back instead: its revision and its deployment.
    fn give_up(
        &mut self,
        id: DeploymentId,
        cause: &Cause,
        target: Option<(u64, DeploymentId)>,
    ) -> Option<DeploymentRecord> {
        let to = target.map(|(_, to)| to.to_string());
        let reason = RolloutReason::GivenUp { cause: cause.clone(), to }.message(&id.to_string());
        self.deployment(id, |record| {
            record.rollout = RolloutState::Failed;
            record.rollout_reason.clone_from(&reason);
        });
        let record = self.record.deployments.iter().find(|record| record.id == id).cloned()?;
        let rollback_to = target.map(|(revision, _)| revision);
        self.end(&record, End::Failed { reason, cause: cause.clone(), rollback_to });
        Some(record)
    }

    pub(super) fn end_rollback(&mut self, failed: Option<&Cause>) {
        let Some(row) = self.record.rollout.take() else { return };
        let how = match failed {
            None => End::Completed,
            Some(cause) => {
                let reason = RolloutReason::GivenUp { cause: cause.clone(), to: None };
                let reason = reason.message(&row.green.to_string());
                End::Failed { reason, cause: cause.clone(), rollback_to: None }
            }
        };
        let (txn, id) = (std::mem::take(&mut self.txn), &row.service_deployment);
        self.txn = history::end_rollback(txn, self.view, self.key, id, &how, self.now);
    }
}
