#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::{
    prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as Generator,
};

use super::*;
use crate::time::Timestamp;

/// An instance that owns what [`Instance`] borrows.
#[derive(Debug, Clone, Default)]
struct Machine {
    connected: bool,
    held_back: bool,
    cpu: u32,
    memory: u32,
    gpus: u32,
    volume_gib: u32,
    reserved: BTreeSet<u16>,
    taken: BTreeMap<u16, u32>,
    attributes: Attributes,
    none: Attributes,
    groups: Groups,
    udp: (BTreeSet<u16>, BTreeMap<u16, u32>),
}

fn machine(cpu: u32, memory: u32) -> Machine {
    Machine { connected: true, cpu, memory, ..Machine::default() }
}

impl Machine {
    fn zone(mut self, zone: &str) -> Self {
        self.attributes.insert("zone".into(), Some(zone.into()));
        self
    }

    fn running(mut self, group: &str, tasks: u32) -> Self {
        (0..tasks).for_each(|_| self.groups.add(group));
        self
    }

    fn borrow(&self) -> Instance<'_> {
        Instance {
            agent_connected: self.connected,
            held_back: self.held_back,
            cpu_free: self.cpu,
            memory_free: self.memory,
            gpus_free: self.gpus,
            volume_gib_free: self.volume_gib,
            tcp_reserved: &self.reserved,
            udp_reserved: &self.udp.0,
            tcp_taken: &self.taken,
            udp_taken: &self.udp.1,
            custom_attributes: &self.none,
            attributes: &self.attributes,
            groups: &self.groups,
            running_tasks: 0,
            agent_version: None,
            ec2_instance_id: None,
            registered_at: Timestamp::from_millis(0),
            taken: Default::default(),
        }
    }
}

fn needs(cpu: u32, memory: u32) -> Needs {
    let resources = TaskResources { cpu_units: cpu, memory_mib: memory, ..TaskResources::default() };
    Needs { resources, group: "g".into(), ..Needs::default() }
}

fn run(needs: &Needs, machines: &[Machine], count: usize, seed: u64) -> Placement {
    let mut instances: Vec<_> = machines.iter().map(Machine::borrow).collect();
    place(needs, &mut instances, count, seed)
}

fn reasons(placement: &Placement) -> Vec<Lack> {
    placement.rejections.iter().map(|rejection| rejection.lack.clone()).collect()
}

#[test]
fn each_rejected_instance_says_what_it_lacks_first() {
    let mut needs = needs(100, 100);
    needs.resources.tcp_ports = vec![80];
    needs.attributes = vec![RequiredAttribute { name: "zone".into(), value: Some("a".into()) }];
    let mut lost = machine(0, 0);
    lost.connected = false;
    let mut busy = machine(100, 100).zone("a");
    busy.taken.insert(80, 1);
    let mut reserved = machine(100, 100).zone("a");
    reserved.reserved.insert(80);
    let machines = [lost, machine(99, 100), machine(100, 99), busy, reserved, machine(100, 100).zone("b")];
    let placement = run(&needs, &machines, 2, 0);
    assert_eq!(placement.unplaced, 2);
    assert_eq!(
        reasons(&placement),
        [Lack::Agent, Lack::Cpu, Lack::Memory, Lack::Ports, Lack::Ports, Lack::Attribute("zone".into())]
    );
    assert_eq!(placement.closest().unwrap().lacks, 1);
}

#[test]
fn an_instance_that_waits_for_a_critical_daemon_takes_no_task_and_says_so() {
    let mut waits = machine(100, 100);
    waits.held_back = true;
    let placement = run(&needs(1, 1), &[waits.clone(), machine(1, 1)], 2, 0);
    assert_eq!((placement.chosen.as_slice(), placement.unplaced), ([1].as_slice(), 1));
    assert_eq!(reasons(&placement), [Lack::Daemon, Lack::Cpu]);
    assert_eq!(resource_lacks(&needs(1, 1), &waits.borrow()), [Lack::Daemon]);
}

#[test]
fn one_port_is_given_once_per_instance() {
    let mut needs = needs(1, 1);
    needs.resources.tcp_ports = vec![80];
    let placement = run(&needs, &[machine(9, 9), machine(9, 9)], 3, 7);
    assert_eq!((placement.chosen.len(), placement.unplaced), (2, 1));
    assert_eq!(reasons(&placement), [Lack::Ports, Lack::Ports]);
}

#[test]
fn gpus_are_given_as_long_as_there_are_any() {
    let mut needs = needs(1, 1);
    needs.resources.gpus = 2;
    let (mut three, mut four) = (machine(9, 9), machine(9, 9));
    (three.gpus, four.gpus) = (3, 4);
    let placement = run(&needs, &[machine(9, 9), three, four], 4, 7);
    let mut chosen = placement.chosen.clone();
    chosen.sort_unstable();
    assert_eq!((chosen, placement.unplaced), (vec![1, 2, 2], 1));
    assert_eq!(reasons(&placement), [Lack::Gpu, Lack::Gpu, Lack::Gpu]);
}

#[test]
fn volumes_are_placed_as_long_as_there_is_disk_and_other_tasks_whether_or_not() {
    let mut needs = needs(1, 1);
    needs.resources.volume_gib = 2;
    let (mut three, mut four) = (machine(9, 9), machine(9, 9));
    (three.volume_gib, four.volume_gib) = (3, 4);
    let machines = [machine(9, 9), three, four];
    let placement = run(&needs, &machines, 4, 7);
    let mut chosen = placement.chosen.clone();
    chosen.sort_unstable();
    assert_eq!((chosen, placement.unplaced), (vec![1, 2, 2], 1));
    assert_eq!(reasons(&placement), [Lack::Disk, Lack::Disk, Lack::Disk]);
    needs.resources.volume_gib = 0;
    assert_eq!(run(&needs, &machines, 27, 7).unplaced, 0);
}

#[test]
fn distinct_instance_counts_tasks_that_are_there_and_tasks_just_placed() {
    let mut needs = needs(1, 1);
    needs.constraints = vec![Constraint::DistinctInstance];
    let machines = [machine(9, 9).running("g", 1), machine(9, 9), machine(9, 9).running("other", 4)];
    let placement = run(&needs, &machines, 3, 3);
    let mut chosen = placement.chosen.clone();
    chosen.sort_unstable();
    assert_eq!((chosen, placement.unplaced), (vec![1, 2], 1));
    assert!(reasons(&placement).iter().all(|lack| *lack == Lack::DistinctInstance));
}

#[test]
fn member_of_is_binding() {
    let mut needs = needs(1, 1);
    needs.constraints = vec![Constraint::MemberOf("attribute:zone == b".parse().unwrap())];
    let machines = [machine(9, 9).zone("a"), machine(1, 9).zone("b")];
    let placement = run(&needs, &machines, 2, 0);
    assert_eq!(placement.chosen, [1]);
    assert_eq!(reasons(&placement), [Lack::MemberOf, Lack::Cpu]);
}

#[test]
fn spreading_over_zones_and_then_instances_fills_evenly() {
    let mut needs = needs(1, 1);
    needs.strategies = vec![Strategy::Spread(Field::Attribute("zone".into())), Strategy::Spread(Field::Instance)];
    let machines = [machine(99, 99).zone("a"), machine(99, 99).zone("a"), machine(99, 99).zone("b").running("g", 1)];
    let placement = run(&needs, &machines, 5, 11);
    let on = |index| placement.chosen.iter().filter(|chosen| **chosen == index).count();
    assert_eq!(on(0) + on(1), 3);
    assert_eq!(on(2), 2);
    assert!(on(0) >= 1 && on(1) >= 1);
}

#[test]
fn a_full_zone_is_not_an_empty_zone() {
    let mut needs = needs(1, 1);
    needs.strategies = vec![Strategy::Spread(Field::Attribute("zone".into()))];
    // Zone a: three tasks on a full instance and an empty one; zone b: one task.
    let machines =
        [machine(0, 0).zone("a").running("g", 3), machine(9, 9).zone("a"), machine(9, 9).zone("b").running("g", 1)];
    assert_eq!(run(&needs, &machines, 1, 5).chosen, [2]);
}

#[test]
fn binpack_fills_the_fullest_first() {
    let mut needs = needs(10, 10);
    needs.strategies = vec![Strategy::Binpack(Resource::Memory)];
    let machines = [machine(100, 100), machine(100, 25), machine(5, 5)];
    assert_eq!(run(&needs, &machines, 3, 9).chosen, [1, 1, 0]);
}

#[test]
fn the_same_seed_gives_the_same_answer_and_seeds_differ() {
    let machines: Vec<_> = (0..50).map(|_| machine(9, 9)).collect();
    let one = |seed| run(&needs(1, 1), &machines, 5, seed);
    assert_eq!(one(1), one(1));
    assert!((2..20).any(|seed| one(seed) != one(1)));
}

fn machines() -> impl Generator<Value = Vec<Machine>> {
    let one = (0_u32..20, 0_u32..20, any::<bool>(), 0_u8..3, 0_u32..3, prop::collection::btree_set(0_u16..4, 0..3));
    prop::collection::vec(one, 0..8).prop_map(|all| {
        all.into_iter()
            .map(|(cpu, memory, connected, zone, tasks, ports)| {
                let mut machine = machine(cpu, memory).zone(&zone.to_string());
                machine.connected = connected;
                machine.taken = ports.into_iter().map(|port| (port, 1)).collect();
                if tasks > 0 { machine.running("g", tasks) } else { machine }
            })
            .collect()
    })
}

fn strategies() -> impl Generator<Value = Vec<Strategy>> {
    let one = prop_oneof![
        Just(Strategy::Random),
        Just(Strategy::Binpack(Resource::Cpu)),
        Just(Strategy::Binpack(Resource::Memory)),
        Just(Strategy::Spread(Field::Instance)),
        Just(Strategy::Spread(Field::Attribute("zone".into()))),
    ];
    prop::collection::vec(one, 0..3)
}

proptest! {
    #[test]
    fn nothing_is_over_committed_and_nothing_that_fits_is_ignored(
        machines in machines(),
        strategies in strategies(),
        (cpu, memory, port, distinct) in (0_u32..6, 0_u32..6, prop::option::of(0_u16..4), any::<bool>()),
        count in 1_usize..10,
        seed in any::<u64>(),
    ) {
        let mut needs = needs(cpu, memory);
        needs.strategies = strategies;
        needs.resources.tcp_ports = port.into_iter().collect();
        needs.constraints = distinct.then_some(Constraint::DistinctInstance).into_iter().collect();
        let placement = run(&needs, &machines, count, seed);
        prop_assert_eq!(placement.chosen.len() + placement.unplaced, count);

        let mut instances: Vec<_> = machines.iter().map(Machine::borrow).collect();
        for &chosen in &placement.chosen {
            // It may take the task at the moment it is chosen ...
            prop_assert_eq!(lacks(&needs, &instances[chosen]), vec![]);
            // ... and by the first strategy, nothing that may take it is better.
            if let Some(first) = needs.strategies.first() {
                let cost = |index: usize| cost(first, &instances, index);
                let fitting = (0..instances.len()).filter(|index| lacks(&needs, &instances[*index]).is_empty());
                prop_assert_eq!(Some(cost(chosen)), fitting.map(cost).min());
            }
            instances[chosen].take(&needs.resources, &needs.group);
        }
        for (index, machine) in machines.iter().enumerate() {
            let tasks = u32::try_from(placement.chosen.iter().filter(|chosen| **chosen == index).count()).unwrap();
            prop_assert!(tasks * cpu <= machine.cpu && tasks * memory <= machine.memory);
            prop_assert!(tasks == 0 || machine.connected);
            prop_assert!(port.is_none_or(|port| tasks <= 1 && (tasks == 0 || !machine.taken.contains_key(&port))));
        }
        // A task is refused only when nothing may take it, and then every instance says why.
        if placement.unplaced > 0 {
            prop_assert!(instances.iter().all(|instance| !lacks(&needs, instance).is_empty()));
            prop_assert_eq!(placement.rejections.len(), machines.len());
        }
    }
}

/// The cost of an instance by a strategy, worked out the slow way.
fn cost(strategy: &Strategy, instances: &[Instance<'_>], index: usize) -> u32 {
    let own = &instances[index];
    match strategy {
        Strategy::Random => 0,
        Strategy::Binpack(Resource::Cpu) => own.cpu_free,
        Strategy::Binpack(Resource::Memory) => own.memory_free,
        Strategy::Spread(Field::Instance) => own.tasks_in_group(GroupKey::new("g")),
        Strategy::Spread(Field::Attribute(name)) => instances
            .iter()
            .filter(|other| other.attribute(name) == own.attribute(name))
            .map(|other| other.tasks_in_group(GroupKey::new("g")))
            .sum(),
    }
}

/// Instances that differ in everything a request can ask for: two attributes, each present or not, tasks of several
/// groups, ports of both protocols.
fn any_machines() -> impl Generator<Value = Vec<Machine>> {
    let attribute = || prop::option::of(prop::option::of(0_u8..3));
    let ports = || prop::collection::btree_set(0_u16..4, 0..3);
    let one = (
        (0_u32..24, 0_u32..24, 0_u32..6, prop::bool::weighted(0.9)),
        (attribute(), attribute()),
        prop::collection::btree_map(prop_oneof![Just("g"), Just("h"), Just("service:x")], 1_u32..4, 0..3),
        (ports(), ports(), ports()),
    );
    type Row = ((u32, u32, u32, bool), (Option<Option<u8>>, Option<Option<u8>>), BTreeMap<&'static str, u32>, Ports);
    type Ports = (BTreeSet<u16>, BTreeSet<u16>, BTreeSet<u16>);
    let machine = |((cpu, memory, gpus, connected), (zone, rack), groups, (tcp, udp, reserved)): Row| {
        let mut machine = machine(cpu, memory);
        machine.gpus = gpus;
        machine.connected = connected;
        for (name, value) in [("zone", zone), ("rack", rack)] {
            if let Some(value) = value {
                machine.attributes.insert(name.into(), value.map(|value| value.to_string()));
            }
        }
        let taken = |ports: BTreeSet<u16>| ports.into_iter().map(|port| (port, 1)).collect();
        for (group, tasks) in groups {
            machine = machine.running(group, tasks);
        }
        machine.reserved = reserved;
        machine.taken = taken(tcp);
        machine.udp.1 = taken(udp);
        machine
    };
    prop::collection::vec(one, 0..24).prop_map(move |all| all.into_iter().map(machine).collect())
}

fn any_needs() -> impl Generator<Value = Needs> {
    let strategy = prop_oneof![
        Just(Strategy::Random),
        Just(Strategy::Binpack(Resource::Cpu)),
        Just(Strategy::Binpack(Resource::Memory)),
        Just(Strategy::Spread(Field::Instance)),
        Just(Strategy::Spread(Field::Attribute("zone".into()))),
        Just(Strategy::Spread(Field::Attribute("rack".into()))),
        Just(Strategy::Spread(Field::Attribute("nobody-has-it".into()))),
    ];
    let constraint = prop_oneof![
        Just(Constraint::DistinctInstance),
        prop_oneof![
            Just("attribute:zone exists"),
            Just("attribute:zone != 1"),
            Just("attribute:rack in [0, 2] or agentConnected == false"),
            Just("not(task:group == service:x)"),
            Just("task:group !~ g|h"),
            Just("task:group in [h] or runningTasksCount == 0 and task:group != g"),
        ]
        .prop_map(|text| Constraint::MemberOf(text.parse().unwrap())),
    ];
    let port = || prop::collection::vec(0_u16..6, 0..2);
    let attribute = prop::option::weighted(0.2, prop::option::of(0_u8..3));
    (
        (0_u32..5, 0_u32..5, prop_oneof![2 => Just(0_u32), 1 => 1_u32..4], (port(), port())),
        prop::collection::vec(strategy, 0..5),
        prop::collection::vec(constraint, 0..2),
        attribute,
    )
        .prop_map(|((cpu, memory, gpus, (tcp, udp)), strategies, constraints, attribute)| {
            let mut needs = needs(cpu, memory);
            needs.resources.gpus = gpus;
            (needs.resources.tcp_ports, needs.resources.udp_ports) = (tcp, udp);
            (needs.strategies, needs.constraints) = (strategies, constraints);
            let required = |value: Option<u8>| RequiredAttribute {
                name: "zone".into(),
                value: value.map(|value| value.to_string()),
            };
            needs.attributes = attribute.map(required).into_iter().collect();
            needs
        })
}

proptest! {
    #![proptest_config(prop::test_runner::Config::with_cases(2000))]
    /// Not only equally good: the same instance for every task, so the same set of candidates at every step.
    #[test]
    fn the_index_answers_what_looking_at_every_instance_for_every_task_answers(
        machines in any_machines(),
        needs in any_needs(),
        count in 1_usize..40,
        seed in any::<u64>(),
    ) {
        let mut instances: Vec<_> = machines.iter().map(Machine::borrow).collect();
        let expected = oracle::place(&needs, &mut instances, count, seed);
        prop_assert_eq!(run(&needs, &machines, count, seed), expected);
    }

    #[test]
    fn a_second_request_on_the_same_instances_sees_what_the_first_one_took(
        machines in any_machines(),
        (first, second) in (any_needs(), any_needs()),
        (count, seed) in (1_usize..10, any::<u64>()),
    ) {
        let mut instances: Vec<_> = machines.iter().map(Machine::borrow).collect();
        let mut expected = instances.clone();
        for needs in [first, second] {
            let placed = place(&needs, &mut instances, count, seed);
            prop_assert_eq!(placed, oracle::place(&needs, &mut expected, count, seed));
        }
    }
}

#[test]
fn among_equals_every_instance_is_chosen_about_as_often() {
    let machines: Vec<_> = (0..30).map(|number| machine(1_000_000, 9).zone(&(number % 7).to_string())).collect();
    for strategies in [vec![], vec![Strategy::Binpack(Resource::Memory), Strategy::Random]] {
        let mut needs = needs(1, 0);
        needs.strategies = strategies;
        let placement = run(&needs, &machines, 30_000, 4);
        for index in 0..30 {
            let on = placement.chosen.iter().filter(|chosen| **chosen == index).count();
            assert!((800..1200).contains(&on), "{on} of 30,000 tasks on instance {index} of 30");
        }
    }
}
