//! Gives auto scaling the services of ECS: how they are, what they use, and their desired count.

use gantry_api::Caller;
use gantry_api::alarm::AlarmRow;
use gantry_api::ecs::{Ecs, UpdateServiceRequest};
use gantry_companions::application_autoscaling::{ServiceId, Services, Telling};
use gantry_control::keys::ServiceKey;
use gantry_control::records::{Scheduling, ServiceStatus};
use gantry_control::{Control, EcsService};
use gantry_domain::arn::Scope;
use gantry_domain::autoscaling::Observed;
use gantry_domain::deployment::RolloutState;
use gantry_domain::metrics::Point;

/// The control plane's services.
pub(crate) struct ScaledServices(pub(crate) Control);

impl Services for ScaledServices {
    fn look(&self, id: &ServiceId) -> Option<Observed> {
        let key = key(id)?;
        let view = self.0.read();
        let cluster = view.cluster(&key.scope, &key.cluster)?;
        let row = cluster.services().get(&key.service)?;
        let scalable = row.status == ServiceStatus::Active && row.scheduling == Scheduling::Replica;
        let counts = cluster.tasks().of_service(key.service.as_str()).map(|group| *group.counts()).unwrap_or_default();
        let deploying = row.deployments.len() > 1
            || row.deployments.iter().any(|deployment| deployment.rollout == RolloutState::InProgress);
        scalable.then(|| Observed { desired: row.desired_count, running: counts.running(), deploying })
    }

    fn points(&self, id: &ServiceId) -> Vec<Point> {
        key(id).map(|key| self.0.metrics.of_service(&key, self.0.now())).unwrap_or_default()
    }

    fn set_desired<'a>(&'a self, id: &'a ServiceId, count: u32) -> Telling<'a> {
        Box::pin(async move {
            let role = "role/aws-service-role/ecs.application-autoscaling.amazonaws.com/\
                        AWSServiceRoleForApplicationAutoScaling_ECSService";
            let caller = Caller {
                principal_arn: format!("arn:aws:iam::{}:{role}", id.account),
                ..Caller::root(&id.account, &id.region)
            };
            let input = UpdateServiceRequest {
                cluster: Some(id.cluster.clone()),
                service: Some(id.service.clone()),
                desired_count: i32::try_from(count).ok(),
                ..UpdateServiceRequest::default()
            };
            EcsService::new(self.0.clone()).update_service(&caller, input).await.map(|_| ())
        })
    }

    fn alarm(&self, account: &str, region: &str, name: &str) -> Option<AlarmRow> {
        let view = self.0.read();
        let alarms = view.namespace(&Scope::new(account, region))?.alarms();
        alarms.get(name).map(|row| row.record.clone())
    }
}

fn key(id: &ServiceId) -> Option<ServiceKey> {
    let scope = Scope::new(&id.account, &id.region);
    Some(ServiceKey::service(scope, id.cluster.parse().ok()?, id.service.parse().ok()?))
}
