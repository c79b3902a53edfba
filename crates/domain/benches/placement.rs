//! How fast tasks are placed on 5,000 instances, on one core: `cargo bench -p gantry-domain --bench placement`.
//!
//! Prints a table in Markdown for docs/benchmarks.md. Three sizes of request, because every instance is looked at once
//! per request: all 100,000 tasks at once (what SwarmKit's `Constraints5kNodes100kTasks` and one Nomad job do), a
//! service's batches of 100, and RunTask with its 1 to 10 tasks, where each request begins with everything that is
//! known of the instances.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::{Duration, Instant as Clock},
};

use gantry_domain::{
    Timestamp,
    placement::{Attributes, Constraint, Field, Groups, Instance, Needs, Resource, Strategy, place},
    task_definition::{RequiredAttribute, TaskResources},
};

const INSTANCES: usize = 5_000;
const TASKS: usize = 100_000;

/// A machine with room for 40 tasks, of one of two types, in one of three zones and 50 racks. What an agent says about a
/// machine is kept once for all machines that are alike, as in the control plane's picture.
struct Machine {
    cpu: u32,
    memory: u32,
    ports: BTreeSet<u16>,
    taken: BTreeMap<u16, u32>,
    custom: Rc<Attributes>,
    attributes: Rc<Attributes>,
    groups: Groups,
}

/// Twenty services' tasks, as at full size.
fn groups(machine: usize) -> Groups {
    let mut groups = Groups::default();
    (0..20).for_each(|service| groups.add(&format!("service:other-{}", machine * 7 + service)));
    groups
}

impl Machine {
    fn all() -> Vec<Self> {
        let kinds: Vec<Rc<Attributes>> = (0..6).map(|number| Rc::new(attributes(number))).collect();
        let rack = |number| Rc::new([("rack".to_owned(), Some(format!("r{number}")))].into());
        let racks: Vec<Rc<Attributes>> = (0..50).map(rack).collect();
        (0..INSTANCES).map(|number| Self::new(&kinds[number % 6], &racks[number % 50], number)).collect()
    }

    fn new(attributes: &Rc<Attributes>, custom: &Rc<Attributes>, number: usize) -> Self {
        Self {
            cpu: 4096,
            memory: 16_384,
            ports: [22, 2375, 2376, 51678, 51679].into(),
            taken: BTreeMap::new(),
            custom: custom.clone(),
            attributes: attributes.clone(),
            groups: groups(number),
        }
    }

    fn borrow(&self) -> Instance<'_> {
        Instance {
            agent_connected: true,
            held_back: false,
            cpu_free: self.cpu,
            memory_free: self.memory,
            gpus_free: 0,
            volume_gib_free: u32::MAX,
            tcp_reserved: &self.ports,
            udp_reserved: &self.ports,
            tcp_taken: &self.taken,
            udp_taken: &self.taken,
            custom_attributes: &self.custom,
            attributes: &self.attributes,
            groups: &self.groups,
            running_tasks: 8,
            agent_version: Some("1.0.0"),
            ec2_instance_id: None,
            registered_at: Timestamp::from_millis(0),
            taken: Default::default(),
        }
    }
}

fn capability(number: usize) -> String {
    format!("com.amazonaws.ecs.capability.feature-{number:02}")
}

fn attributes(number: usize) -> Attributes {
    let mut attributes: Attributes = (0..30).map(|number| (capability(number), None)).collect();
    attributes.insert("ecs.availability-zone".into(), Some(format!("us-east-1{}", ["a", "b", "c"][number % 3])));
    attributes.insert("ecs.instance-type".into(), Some(["m5.large", "c5.large"][number % 2].into()));
    attributes
}

fn main() {
    let machines = Machine::all();
    let zone = || Strategy::Spread(Field::Attribute("ecs.availability-zone".into()));
    let member =
        || Constraint::MemberOf("attribute:ecs.instance-type =~ m5.* and not(task:group == db)".parse().unwrap());
    let kinds: [(&str, Vec<Strategy>, Vec<Constraint>); 8] = [
        ("binpack(memory)", vec![Strategy::Binpack(Resource::Memory)], vec![]),
        (
            "binpack(cpu), binpack(memory)",
            vec![Strategy::Binpack(Resource::Cpu), Strategy::Binpack(Resource::Memory)],
            vec![],
        ),
        ("spread(instanceId)", vec![Strategy::Spread(Field::Instance)], vec![]),
        (
            "spread(zone), spread(instanceId): a service's default",
            vec![zone(), Strategy::Spread(Field::Instance)],
            vec![],
        ),
        ("spread(zone), binpack(memory)", vec![zone(), Strategy::Binpack(Resource::Memory)], vec![]),
        ("spread(attribute:rack), 50 racks", vec![Strategy::Spread(Field::Attribute("rack".into()))], vec![]),
        ("random", vec![Strategy::Random], vec![]),
        (
            "binpack(memory), memberOf a pattern and not task:group",
            vec![Strategy::Binpack(Resource::Memory)],
            vec![member()],
        ),
    ];
    println!("\n### Placement: {TASKS} tasks on {INSTANCES} instances, one core\n");
    println!(
        "| | one request, tasks/s | requests of 100, tasks/s | requests of 10, tasks/s | one RunTask of 1, p50 / p99 ms |"
    );
    println!("|---|---|---|---|---|");
    for (name, strategies, constraints) in kinds {
        let needs = Needs {
            resources: TaskResources { cpu_units: 100, memory_mib: 400, ..TaskResources::default() },
            attributes: (7..17).map(|number| RequiredAttribute { name: capability(number), value: None }).collect(),
            group: "service:web".into(),
            constraints,
            strategies,
        };
        let rates: Vec<String> = [TASKS, 100, 10].map(|each| rate(&machines, &needs, each)).into();
        println!("| {name} | {} | {} |", rates.join(" | "), latency(&machines, &needs));
    }
}

/// Tasks per second when they are placed `each` at a time, by machines that fill up.
fn rate(machines: &[Machine], needs: &Needs, each: usize) -> String {
    // Small requests are measured on a part of the tasks: every one of them costs the same.
    let tasks = TASKS.min(each * 500);
    let mut left: Vec<(u32, u32)> = machines.iter().map(|machine| (machine.cpu, machine.memory)).collect();
    let start = Clock::now();
    let mut placed = 0;
    for seed in 0..tasks / each {
        let mut instances = borrow(machines, &left);
        let placement = place(needs, &mut instances, each, u64::try_from(seed).unwrap());
        placed += placement.chosen.len();
        for index in placement.chosen {
            (left[index].0, left[index].1) = (instances[index].cpu_free, instances[index].memory_free);
        }
    }
    let rate = f64::from(u32::try_from(placed).unwrap()) / start.elapsed().as_secs_f64();
    // Half of the machines have room for 80,000.
    assert!(placed == tasks || placed > TASKS / 2, "{placed} of {tasks} placed");
    format!("{:.0}", rate)
}

fn borrow<'a>(machines: &'a [Machine], left: &[(u32, u32)]) -> Vec<Instance<'a>> {
    let one = |(machine, (cpu, memory)): (&'a Machine, &(u32, u32))| Instance {
        cpu_free: *cpu,
        memory_free: *memory,
        ..machine.borrow()
    };
    machines.iter().zip(left).map(one).collect()
}

fn latency(machines: &[Machine], needs: &Needs) -> String {
    let left: Vec<_> = machines.iter().map(|machine| (machine.cpu, machine.memory)).collect();
    let mut took: Vec<Duration> = (0..1000)
        .map(|seed| {
            let start = Clock::now();
            let placement = place(needs, &mut borrow(machines, &left), 1, seed);
            assert_eq!(placement.chosen.len(), 1);
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    format!("{:.2} / {:.2}", millis(took[500]), millis(took[990]))
}
