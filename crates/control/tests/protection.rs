//! Protection of a service's tasks: who can have it, what it keeps the service from, and its end.
#![allow(clippy::unwrap_used)]

mod support;

use gantry_api::ecs::{self, Ecs};
use gantry_control::reconcile::{Reconciler, Services, Wake};
use support::*;

struct Service {
    world: World,
    agent: Agent,
    tasks: Vec<String>,
}

impl Service {
    /// The service `web` with `count` running tasks, and the tasks.
    async fn new(count: i32) -> Self {
        let world = World::with_virtual_time().await;
        world.register(definition("web", 10, 16)).await;
        let mut agent = world.machine(1024, 1000, &[]).await;
        let request = ecs::CreateServiceRequest {
            service_name: Some("web".into()),
            task_definition: Some("web".into()),
            desired_count: Some(count),
            ..Default::default()
        };
        world.ecs.create_service(&world.caller, request).await.unwrap();
        settle(&world).await;
        let mut tasks =
            world.list(ecs::ListTasksRequest { service_name: Some("web".into()), ..Default::default() }).await;
        tasks.sort();
        agent.run(&tasks).await;
        Self { world, agent, tasks }
    }

    async fn update(&self, tasks: &[String], enabled: bool, minutes: Option<i32>) -> ecs::UpdateTaskProtectionResponse {
        let request = ecs::UpdateTaskProtectionRequest {
            cluster: Some("default".into()),
            tasks: Some(tasks.to_vec()),
            protection_enabled: Some(enabled),
            expires_in_minutes: minutes,
        };
        self.world.ecs.update_task_protection(&self.world.caller, request).await.unwrap()
    }

    /// For each task whether it is protected.
    async fn get(&self, tasks: &[String]) -> Vec<bool> {
        let request = ecs::GetTaskProtectionRequest { cluster: Some("default".into()), tasks: Some(tasks.to_vec()) };
        let answer = self.world.ecs.get_task_protection(&self.world.caller, request).await.unwrap();
        let protected = answer.protected_tasks.unwrap();
        assert!(protected.iter().all(|task| task.protection_enabled == Some(task.expiration_date.is_some())));
        protected.iter().map(|task| task.protection_enabled.unwrap()).collect()
    }

    /// Gives the service another size and returns when it is to be looked at again.
    async fn scale(&self, count: i32) -> Wake {
        let request =
            ecs::UpdateServiceRequest { service: Some("web".into()), desired_count: Some(count), ..Default::default() };
        self.world.ecs.update_service(&self.world.caller, request).await.unwrap();
        settle(&self.world).await
    }

    async fn wanted(&self) -> Vec<String> {
        let request = ecs::ListTasksRequest { service_name: Some("web".into()), ..Default::default() };
        let mut tasks = self.world.list(request).await;
        tasks.sort();
        tasks
    }
}

/// Reconciles until there is nothing to do at once.
async fn settle(world: &World) -> Wake {
    let reconciler = Services::new(world.control.clone());
    let mut wake = Wake::Again;
    for key in reconciler.keys() {
        wake = Wake::Again;
        while wake == Wake::Again {
            wake = reconciler.reconcile(&key).await.unwrap();
        }
    }
    wake
}

#[tokio::test(start_paused = true)]
async fn a_protected_task_outlives_scale_in_until_its_protection_ends() {
    let service = Service::new(3).await;
    let kept = service.tasks[..1].to_vec();
    let answer = service.update(&kept, true, Some(5)).await;
    assert!(answer.failures.unwrap().is_empty());
    assert_eq!(answer.protected_tasks.unwrap()[0].protection_enabled, Some(true));
    assert_eq!(service.get(&service.tasks).await, [true, false, false]);
    let wake = service.scale(0).await;
    assert_eq!(service.wanted().await, kept);
    assert!(matches!(wake, Wake::At(_)), "{wake:?}: nobody announces the end of a protection");
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    settle(&service.world).await;
    assert_eq!(service.wanted().await, Vec::<String>::new());
    drop(service.agent);
}

#[tokio::test(start_paused = true)]
async fn protection_can_be_taken_back_and_stop_task_knows_none() {
    let service = Service::new(2).await;
    service.update(&service.tasks, true, None).await;
    service.update(&service.tasks[1..], false, None).await;
    assert_eq!(service.get(&service.tasks).await, [true, false]);
    service.world.stop(&service.tasks[0]).await;
    let answer = service.update(&service.tasks[..1], true, None).await;
    assert_eq!(reasons(&answer.failures), ["TASK_NOT_VALID"], "it is on its way out");
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_are_protected_than_wanted() {
    let service = Service::new(3).await;
    service.update(&service.tasks, true, None).await;
    service.scale(2).await;
    assert_eq!(service.wanted().await.len(), 3);
    service.update(&service.tasks[2..], false, None).await;
    let answer = service.update(&service.tasks[2..], true, None).await;
    assert_eq!(reasons(&answer.failures), ["DEPLOYMENT_BLOCKED"]);
    let again = service.update(&service.tasks[..2], true, None).await;
    assert!(again.failures.unwrap().is_empty(), "what is protected already may be so for longer");
}

#[tokio::test(start_paused = true)]
async fn only_tasks_of_services_can_be_protected() {
    let service = Service::new(1).await;
    let alone = service.world.run_some("web", 1).await;
    let unknown = alone[0].replace(&alone[0][alone[0].len() - 8..], "00000000");
    let answer = service.update(&[alone[0].clone(), unknown], true, None).await;
    assert_eq!(reasons(&answer.failures), ["TASK_NOT_VALID", "MISSING"]);
    for (tasks, minutes) in [(vec![], None), (vec![alone[0].clone(); 11], None), (alone.clone(), Some(2881))] {
        let request = ecs::UpdateTaskProtectionRequest {
            cluster: Some("default".into()),
            tasks: Some(tasks),
            protection_enabled: Some(true),
            expires_in_minutes: minutes,
        };
        let fault = service.world.ecs.update_task_protection(&service.world.caller, request).await.unwrap_err();
        assert_eq!(fault.code, "InvalidParameterException", "{fault:?}");
    }
}
