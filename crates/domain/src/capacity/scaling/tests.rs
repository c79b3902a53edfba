use super::*;

const LARGE: Resources = Resources { cpu: 4096, memory: 16_384, interfaces: 8, ports: 100, gpus: 0 };
const SMALL: Resources = Resources { cpu: 1024, memory: 4096, interfaces: 2, ports: 100, gpus: 0 };

fn configuration() -> Configuration {
    Configuration { step_min: 1, step_max: 10_000 }
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
