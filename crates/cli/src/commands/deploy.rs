//! `gantry deploy`: a new revision of a service's task definition, a deployment of it, and how that goes.
//!
//! The deployment belongs to the server from the moment it is begun: whatever happens to this program, it goes on.

mod progress;
mod revision;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use gantry_api::ecs::{self, *};

use self::progress::{Progress, Teller};
use crate::{
    arguments::{DeployOptions, DeployStrategy},
    client::Client,
};

/// How often to look.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

pub(crate) async fn run(options: &DeployOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let service = find(&client, options).await?;
    let before = service.current_service_deployment.clone();
    let newest_event = service.events.as_ref().and_then(|events| events.first()?.id.clone());
    let definition = match &options.task_definition {
        Some(reference) => reference.clone(),
        None => {
            let current = service.task_definition.context("the service has no task definition")?;
            revision::with_images(&client, &current, &options.image).await?
        }
    };
    let mut teller = Teller::new(options.client.output.output);
    teller.say(&format!("deploying {} to {}", progress::last_part(&definition), options.service));
    let input = UpdateServiceRequest {
        cluster: Some(options.cluster.clone()),
        service: Some(options.service.clone()),
        task_definition: Some(definition),
        deployment_configuration: configuration(options),
        ..UpdateServiceRequest::default()
    };
    let answer: UpdateServiceResponse = client.call(&ecs::SERVICE, "UpdateService", &input).await?;
    let begun = answer.service.and_then(|service| service.current_service_deployment);
    let begun = begun.context("the service is not deployed by ECS")?;
    if Some(&begun) == before.as_ref() {
        teller.say("the service runs this already; nothing to deploy");
        return Ok(ExitCode::SUCCESS);
    }
    if options.no_wait {
        teller.begun(&begun);
        return Ok(ExitCode::SUCCESS);
    }
    let follow = Follow { client: &client, options, deployment: &begun, newest_event };
    tokio::select! {
        outcome = follow.watch(&mut teller) => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            teller.say("interrupted; the deployment goes on without me");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

async fn find(client: &Client, options: &DeployOptions) -> Result<ecs::Service> {
    let input = DescribeServicesRequest {
        cluster: Some(options.cluster.clone()),
        services: Some(vec![options.service.clone()]),
        ..DescribeServicesRequest::default()
    };
    let answer: DescribeServicesResponse = client.call(&ecs::SERVICE, "DescribeServices", &input).await?;
    let found = answer.services.unwrap_or_default().into_iter().next();
    match found.filter(|service| service.status.as_deref() == Some("ACTIVE")) {
        Some(service) => Ok(service),
        None => bail!("there is no active service {} in cluster {}", options.service, options.cluster),
    }
}

fn configuration(options: &DeployOptions) -> Option<DeploymentConfiguration> {
    if options.strategy.is_none() && options.bake_minutes.is_none() {
        return None;
    }
    let strategy = options.strategy.map(|strategy| match strategy {
        DeployStrategy::Rolling => DeploymentStrategy::Rolling,
        DeployStrategy::BlueGreen => DeploymentStrategy::BlueGreen,
        DeployStrategy::Linear => DeploymentStrategy::Linear,
        DeployStrategy::Canary => DeploymentStrategy::Canary,
    });
    Some(DeploymentConfiguration {
        strategy,
        bake_time_in_minutes: options.bake_minutes,
        ..DeploymentConfiguration::default()
    })
}

/// One deployment that is watched.
struct Follow<'a> {
    client: &'a Client,
    options: &'a DeployOptions,
    deployment: &'a str,
    newest_event: Option<String>,
}

impl Follow<'_> {
    async fn watch(mut self, teller: &mut Teller) -> Result<ExitCode> {
        let began = Instant::now();
        let mut seen: Option<Progress> = None;
        loop {
            let deployment = self.describe().await?;
            let service = find(self.client, self.options).await?;
            for event in self.news(&service) {
                teller.event(&event);
            }
            let now = Progress::of(&deployment, &service, seen.as_ref());
            if seen.as_ref() != Some(&now) {
                teller.change(&now);
            }
            if now.is_over() {
                teller.end(self.deployment, &now);
                return Ok(if now.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            teller.wait(&now);
            seen = Some(now);
            if self.options.timeout.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds)) {
                teller.say("it takes longer than --timeout allows; the deployment goes on without me");
                return Ok(ExitCode::FAILURE);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn describe(&self) -> Result<ServiceDeployment> {
        let arns = Some(vec![self.deployment.to_owned()]);
        let input = DescribeServiceDeploymentsRequest { service_deployment_arns: arns };
        let answer: DescribeServiceDeploymentsResponse =
            self.client.call(&ecs::SERVICE, "DescribeServiceDeployments", &input).await?;
        let found = answer.service_deployments.unwrap_or_default().into_iter().next();
        found.context("the service deployment is gone")
    }

    /// Events of the service that were not told yet, oldest first.
    fn news(&mut self, service: &ecs::Service) -> Vec<ServiceEvent> {
        let events = service.events.as_deref().unwrap_or_default();
        let fresh = events.iter().take_while(|event| self.newest_event.is_none() || event.id != self.newest_event);
        let mut fresh: Vec<ServiceEvent> = fresh.cloned().collect();
        fresh.reverse();
        self.newest_event = events.first().and_then(|event| event.id.clone()).or(self.newest_event.take());
        fresh
    }
}
