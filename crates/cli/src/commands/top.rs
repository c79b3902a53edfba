//! `gantry top`: what a cluster's services, instances and tasks use, again and again on a terminal, else once.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Result;
use gantry_api::ecs;
use gantry_control::metrics::{ProviderNeed, Top, TopInstance, TopService, TopTask};

use crate::{
    arguments::{Output, TopOptions},
    client::Client,
    server::own::TopRequest,
};

/// How often the screen is drawn. What is shown is measured every ten seconds.
const REFRESH: Duration = Duration::from_secs(2);
/// Tasks on the screen.
const TASKS_SHOWN: usize = 20;
/// Letters of a name, so that a line has 80.
const NAME_WIDTH: usize = 24;

pub(crate) async fn run(options: &TopOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let look = async || -> Result<Top> {
        let input = TopRequest { cluster: options.cluster.clone() };
        client.own(ecs::SERVICE.signing_name, "top", &input).await
    };
    if options.client.output.output == Output::Json {
        super::print(&(serde_json::to_string_pretty(&look().await?)? + "\n"));
        return Ok(ExitCode::SUCCESS);
    }
    if options.once || !std::io::stdout().is_terminal() {
        super::print(&text(&look().await?));
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let screen = text(&look().await?);
        // Home, then the new picture over the old one, line by line, so that nothing flickers.
        let lines: String = screen.lines().map(|line| format!("{line}\x1b[K\n")).collect();
        super::print(&format!("\x1b[H{lines}\x1b[J"));
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn text(top: &Top) -> String {
    let mut out = format!(
        "Cluster {}: CPU {} reserved, memory {} reserved, {} tasks\n",
        top.cluster,
        percent(top.cpu_reservation),
        percent(top.memory_reservation),
        top.tasks_in_all
    );
    if !top.services.is_empty() {
        out += "\n";
        let header = ["SERVICE", "DESIRED", "RUNNING", "PENDING", "CPU", "MEMORY", "MIB"];
        out += &super::table(&header, top.services.iter().map(service));
    }
    for service in top.services.iter().filter(|service| !service.deployments.is_empty()) {
        for deployment in &service.deployments {
            out += &format!("  {}: {deployment}\n", short(&service.name));
        }
    }
    if !top.instances.is_empty() {
        out += "\n";
        let header = ["INSTANCE", "STATUS", "TASKS", "CPU USED/TAKEN/ALL", "MIB USED/TAKEN/ALL"];
        out += &super::table(&header, top.instances.iter().map(instance));
    }
    if !top.capacity_providers.is_empty() {
        out += "\n";
        let header = ["CAPACITY PROVIDER", "INSTANCES", "NEEDED", "WAITING", "RESERVATION"];
        out += &super::table(&header, top.capacity_providers.iter().map(provider));
    }
    if !top.tasks.is_empty() {
        out += "\n";
        let header = ["TASK", "GROUP", "STATUS", "CPU", "MIB"];
        out += &super::table(&header, top.tasks.iter().take(TASKS_SHOWN).map(task));
    }
    if top.tasks_in_all > TASKS_SHOWN {
        out += &format!("… and {} more\n", top.tasks_in_all - TASKS_SHOWN);
    }
    out
}

fn service(service: &TopService) -> Vec<String> {
    vec![
        short(&service.name),
        service.desired.to_string(),
        service.running.to_string(),
        service.pending.to_string(),
        percent(service.cpu),
        percent(service.memory),
        format!("{:.0}", service.memory_mib),
    ]
}

fn instance(instance: &TopInstance) -> Vec<String> {
    let TopInstance { id, status, tasks, cpu, cpu_reserved, cpu_units, memory, memory_reserved, memory_mib } = instance;
    vec![
        id.chars().take(8).collect(),
        status.clone(),
        tasks.to_string(),
        format!("{cpu_units:.0}/{cpu_reserved}/{cpu}"),
        format!("{memory_mib:.0}/{memory_reserved}/{memory}"),
    ]
}

fn provider(provider: &ProviderNeed) -> Vec<String> {
    vec![
        short(&provider.name),
        provider.instances.to_string(),
        provider.needed.to_string(),
        provider.waiting.to_string(),
        percent(Some(provider.reservation)),
    ]
}

fn task(task: &TopTask) -> Vec<String> {
    let of = |used: Option<f64>, all: Option<f64>| match (used, all) {
        (Some(used), Some(all)) if all > 0.0 => format!("{used:.0}/{all:.0}"),
        (Some(used), _) => format!("{used:.0}"),
        (None, _) => "-".to_owned(),
    };
    vec![
        task.id.chars().take(8).collect(),
        short(&task.group),
        task.status.clone(),
        of(task.cpu_units, task.cpu_reserved),
        of(task.memory_mib, task.memory_reserved),
    ]
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}%"))
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME_WIDTH {
        return name.to_owned();
    }
    name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_screen_fits_into_80_columns() {
        let service = |name: &str| TopService {
            name: name.repeat(30),
            desired: 5000,
            running: 4999,
            pending: 5000,
            cpu: Some(12_345.6),
            memory: Some(100.0),
            cpu_units: 1.0,
            memory_mib: 12_345_678.0,
            deployments: vec!["ecs-svc/1234567890123456789 IN_PROGRESS".to_owned()],
        };
        let instance = TopInstance {
            id: "0123456789abcdef".repeat(2),
            status: "DISCONNECTED".to_owned(),
            tasks: 1000,
            cpu: 196_608,
            cpu_reserved: 196_608,
            cpu_units: 196_608.0,
            memory: 1_000_000,
            memory_reserved: 1_000_000,
            memory_mib: 1_000_000.0,
        };
        let task = |number: usize| TopTask {
            id: format!("{number:032}"),
            group: "service:".to_owned() + &"long".repeat(20),
            status: "DEPROVISIONING".to_owned(),
            cpu_units: Some(1024.0),
            cpu_reserved: Some(1024.0),
            memory_mib: Some(16_384.0),
            memory_reserved: Some(16_384.0),
        };
        let top = Top {
            cluster: "default".to_owned(),
            services: vec![service("a"), service("b")],
            instances: vec![instance],
            capacity_providers: vec![ProviderNeed {
                name: "workers".repeat(9),
                instances: 5000,
                needed: 10_000,
                waiting: 500,
                reservation: 200.0,
            }],
            tasks: (0..30).map(task).collect(),
            tasks_in_all: 30,
            cpu_reservation: Some(37.5),
            memory_reservation: None,
        };
        let screen = text(&top);
        let widest = screen.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}\n{screen}");
        assert!(screen.contains("CPU 37.5% reserved, memory - reserved, 30 tasks"));
        assert!(screen.contains("… and 10 more"));
        assert!(screen.contains("IN_PROGRESS"));
    }
}
