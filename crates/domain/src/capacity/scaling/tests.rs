use super::*;

const LARGE: Resources = Resources { cpu: 4096, memory: 16_384, interfaces: 8, ports: 100, gpus: 0 };
const SMALL: Resources = Resources { cpu: 1024, memory: 4096, interfaces: 2, ports: 100, gpus: 0 };

fn configuration() -> Configuration {
    Configuration { target_capacity: 100, step_min: 1, step_max: 10_000, warmup_seconds: 300 }
}

fn waiting(cpu: u32, memory: u32, tasks: u32) -> Waiting {
    Waiting { needs: Resources { cpu, memory, ..Resources::default() }, tasks, distinct: false }
}

fn group(instances: u32, busy: u32, waiting: Vec<Waiting>) -> Group {
    Group { instances, busy, waiting, types: vec![LARGE, SMALL] }
}

fn check(group: &Group, expected: u32) {
    assert_eq!(needed(group, &configuration()), expected, "{group:?}");
}

#[test]
fn without_waiting_tasks_the_busy_instances_are_needed() {
    check(&group(10, 10, vec![]), 10);
    check(&group(10, 4, vec![]), 4);
    check(&group(0, 0, vec![]), 0);
}

#[test]
fn waiting_tasks_need_what_they_fill_of_the_largest_type() {
    check(&group(10, 10, vec![waiting(1024, 512, 8)]), 12);
    check(&group(10, 10, vec![waiting(256, 4096, 5)]), 12);
    // The largest need of all groups, not their sum.
    check(&group(10, 10, vec![waiting(1024, 512, 8), waiting(1024, 256, 4)]), 12);
    check(&group(0, 0, vec![waiting(128, 128, 1)]), 1);
}

#[test]
fn tasks_that_do_not_fit_on_the_smallest_type_move_nothing() {
    check(&group(3, 3, vec![waiting(2048, 512, 8)]), 3);
    check(&group(3, 3, vec![Waiting { needs: Resources { gpus: 1, ..Resources::default() }, ..waiting(0, 0, 1) }]), 3);
    assert_eq!(needed(&Group { types: vec![], ..group(3, 1, vec![waiting(1, 1, 1)]) }, &configuration()), 1);
}

#[test]
fn distinct_tasks_need_an_instance_each() {
    check(&group(2, 2, vec![Waiting { distinct: true, ..waiting(128, 128, 5) }]), 7);
}

#[test]
fn steps_out_are_bounded() {
    let group = group(10, 10, vec![waiting(1024, 512, 40)]);
    assert_eq!(needed(&group, &Configuration { step_max: 3, ..configuration() }), 13);
    assert_eq!(needed(&group, &Configuration { step_min: 20, ..configuration() }), 30);
}

#[test]
fn the_metric_is_the_ratio_with_its_two_special_cases() {
    for (instances, needed, expected) in [(0, 0, 100.0), (5, 5, 100.0), (0, 3, 200.0), (10, 12, 120.0), (10, 5, 50.0)] {
        assert_eq!(reservation(instances, needed), expected, "{instances} {needed}");
    }
}

fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_seconds(60 * minutes)
}

#[test]
fn a_group_grows_in_proportion_at_once() {
    let next = |target, instances, metric| {
        let configuration = Configuration { target_capacity: target, ..configuration() };
        decide((instances, metric), (0, 100), &configuration, &Memory::default(), minute(0)).0
    };
    assert_eq!(next(100, 10, 120.0), 12);
    assert_eq!(next(80, 10, 100.0), 13);
    assert_eq!(next(100, 0, 200.0), 2);
    assert_eq!(next(100, 10, 100.0), 10);
}

#[test]
fn a_group_stays_within_its_own_bounds() {
    assert_eq!(decide((10, 120.0), (0, 11), &configuration(), &Memory::default(), minute(0)).0, 11);
    let ready = Memory { below: SCALE_IN_DATAPOINTS, grown_at: None };
    assert_eq!(decide((10, 50.0), (8, 20), &configuration(), &ready, minute(0)).0, 8);
}

#[test]
fn a_group_that_warms_up_does_not_grow_again() {
    let (count, memory) = decide((1, 200.0), (0, 9), &configuration(), &Memory::default(), minute(0));
    assert_eq!(count, 2);
    let (count, memory) = decide((2, 200.0), (0, 9), &configuration(), &memory, minute(4));
    assert_eq!(count, 2);
    assert_eq!(decide((2, 200.0), (0, 9), &configuration(), &memory, minute(5)).0, 4);
}

#[test]
fn a_group_shrinks_after_fifteen_datapoints_by_less_than_half() {
    let (mut instances, mut memory) = (16, Memory::default());
    let mut sizes = Vec::new();
    for at in 1..=19 {
        let (next, remembered) = decide((instances, 0.0), (0, 100), &configuration(), &memory, minute(at));
        assert!(next == instances || instances == 1 || (instances - next) * 2 < instances || instances == 2);
        (instances, memory) = (next, remembered);
        sizes.push(instances);
    }
    assert_eq!(sizes[..14], [16; 14]);
    assert_eq!(sizes[14..], [9, 5, 3, 2, 1]);
}

#[test]
fn a_datapoint_above_the_target_begins_the_count_anew() {
    let memory = Memory { below: 14, grown_at: None };
    let (_, memory) = decide((5, 120.0), (0, 9), &configuration(), &memory, minute(0));
    assert_eq!(memory.below, 0);
    assert_eq!(decide((6, 50.0), (0, 9), &configuration(), &memory, minute(1)).0, 6);
}

/// Tasks come and go; the group follows, and ends with what is needed.
#[test]
fn a_group_follows_its_tasks() {
    let configuration = Configuration { warmup_seconds: 60, ..configuration() };
    let (mut instances, mut memory, mut largest) = (0, Memory::default(), 0);
    for at in 0..120 {
        // 20 tasks of one vCPU for an hour: five large instances.
        let tasks: u32 = if at < 60 { 20 } else { 0 };
        let placed = tasks.min(instances * 4);
        let waiting = Vec::from_iter((tasks > placed).then(|| waiting(1024, 1024, tasks - placed)));
        let group = Group { instances, busy: placed.div_ceil(4), waiting, types: vec![LARGE] };
        let metric = reservation(instances, needed(&group, &configuration));
        (instances, memory) = decide((instances, metric), (0, 20), &configuration, &memory, minute(at));
        largest = largest.max(instances);
        if (10..60).contains(&at) {
            assert_eq!(instances, 5, "at {at}");
        }
    }
    assert_eq!((largest, instances), (5, 0));
}
