//! The conditions of one request, ready to be asked of many instances.
//!
//! What depends on attributes alone is answered once per set of attributes: machines of one kind share one set, and a
//! task definition names a dozen capabilities.

use std::collections::BTreeMap;

use super::{Attributes, Constraint, Instance, Needs, has_attribute, ports_lack};
use crate::{query::Expression, task_definition::Protocol};

/// Tells sets of attributes apart by where they are kept, as long as they are borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttributesId(Option<*const Attributes>, *const Attributes);

impl AttributesId {
    pub(super) fn of(instance: &Instance<'_>) -> Self {
        let custom = Some(instance.custom_attributes).filter(|custom| !custom.is_empty());
        Self(custom.map(std::ptr::from_ref), instance.attributes)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Conditions<'a> {
    needs: &'a Needs,
    /// About attributes and nothing else.
    by_attributes: Vec<&'a Expression>,
    by_instance: Vec<&'a Expression>,
    distinct: bool,
    known: BTreeMap<AttributesId, bool>,
    /// Neighbours are often alike.
    last: Option<(AttributesId, bool)>,
}

impl<'a> Conditions<'a> {
    /// Those of `needs`.
    pub fn of(needs: &'a Needs) -> Self {
        let member_of = |constraint: &'a Constraint| match constraint {
            Constraint::MemberOf(expression) => Some(expression),
            Constraint::DistinctInstance => None,
        };
        let expressions = needs.constraints.iter().filter_map(member_of);
        let (by_attributes, by_instance) = expressions.partition(|expression| expression.asks_for_attributes_only());
        let distinct = needs.constraints.iter().any(|constraint| matches!(constraint, Constraint::DistinctInstance));
        Self { needs, by_attributes, by_instance, distinct, known: BTreeMap::new(), last: None }
    }

    /// Whether the instance is of the kind that the task needs: its attributes and the `memberOf` expressions. What is
    /// free on it does not matter. A daemon belongs on every such instance.
    pub fn eligible(&mut self, instance: &Instance<'_>) -> bool {
        self.attributes_do(instance) && self.by_instance.iter().all(|expression| expression.matches(instance))
    }

    /// Whether the instance may take the task now.
    pub fn fit(&mut self, instance: &Instance<'_>) -> bool {
        let resources = &self.needs.resources;
        // The cheap and common reasons first: most instances of a busy cluster fail one of these.
        instance.takes_tasks()
            && self.room_on(instance)
            && !ports_lack(instance, Protocol::Tcp, &resources.tcp_ports)
            && !ports_lack(instance, Protocol::Udp, &resources.udp_ports)
            && !(self.distinct && instance.has_group(&self.needs.group))
            && self.eligible(instance)
    }

    /// Whether the instance has CPU, memory, GPUs and disk for the task.
    pub(super) fn room_on(&self, instance: &Instance<'_>) -> bool {
        let resources = &self.needs.resources;
        resources.cpu_units <= instance.cpu_free
            && resources.memory_mib <= instance.memory_free
            && resources.gpus <= instance.gpus_free
            && resources.volume_gib <= instance.volume_gib_free
    }

    /// Whether a task placed on an instance can forbid another one there although there is room: it takes ports, and its
    /// group is there.
    pub(super) fn change_with_each_task(&self) -> bool {
        !self.needs.resources.tcp_ports.is_empty()
            || !self.needs.resources.udp_ports.is_empty()
            || self.distinct
            || self.by_instance.iter().any(|expression| expression.asks_for_groups())
    }

    fn attributes_do(&mut self, instance: &Instance<'_>) -> bool {
        let id = AttributesId::of(instance);
        if let Some((last, does)) = self.last
            && last == id
        {
            return does;
        }
        let does = *self.known.entry(id).or_insert_with(|| {
            self.needs.attributes.iter().all(|attribute| has_attribute(instance, attribute))
                && self.by_attributes.iter().all(|expression| expression.matches(instance))
        });
        self.last = Some((id, does));
        does
    }
}
