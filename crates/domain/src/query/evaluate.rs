//! Whether an expression is true of an instance.

use std::cmp::Ordering;

use super::{Expression, Literal, Order, Subject, Test};
use crate::placement::Instance;

impl Expression {
    /// Whether it is true of the instance.
    pub fn matches(&self, instance: &Instance<'_>) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.matches(instance)),
            Self::And(parts) => parts.iter().all(|part| part.matches(instance)),
            Self::Not(inner) => !inner.matches(instance),
            Self::Compare(subject, test) => compare(subject, test, instance),
        }
    }

    /// Whether the tasks on an instance have a say in it: everything else stays as it is while tasks are placed.
    pub fn asks_for_groups(&self) -> bool {
        self.asks_for(&|subject| *subject == Subject::TaskGroup)
    }

    /// Whether instances with the same attributes have the same answer.
    pub fn asks_for_attributes_only(&self) -> bool {
        !self.asks_for(&|subject| !matches!(subject, Subject::Attribute(_)))
    }

    fn asks_for(&self, wanted: &dyn Fn(&Subject) -> bool) -> bool {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().any(|part| part.asks_for(wanted)),
            Self::Not(inner) => inner.asks_for(wanted),
            Self::Compare(subject, _) => wanted(subject),
        }
    }
}

fn compare(subject: &Subject, test: &Test, instance: &Instance<'_>) -> bool {
    match subject {
        Subject::Attribute(name) => match instance.attribute(name) {
            None => matches!(test, Test::Absent),
            // An attribute without a value is there, and equals nothing but the empty text.
            Some(value) => text(value.unwrap_or(""), test),
        },
        Subject::AgentConnected => text(if instance.agent_connected { "true" } else { "false" }, test),
        Subject::Ec2InstanceId => instance.ec2_instance_id.is_some_and(|id| text(id, test)),
        Subject::TaskGroup => group(instance, test),
        Subject::RunningTasksCount => order(test, |literal| match literal {
            Literal::Number(number) => Some(i64::from(instance.running_tasks).cmp(number)),
            _ => None,
        }),
        Subject::RegisteredAt => order(test, |literal| match literal {
            Literal::Moment(moment) => Some(instance.registered_at.cmp(moment)),
            _ => None,
        }),
        Subject::AgentVersion => order(test, |literal| match literal {
            Literal::Version(wanted) => instance.agent_version.and_then(version).map(|own| own.cmp(wanted)),
            _ => None,
        }),
    }
}

fn text(value: &str, test: &Test) -> bool {
    match test {
        Test::Exists => true,
        Test::Absent => false,
        Test::In(values) => values.iter().any(|one| one == value),
        Test::NotIn(values) => values.iter().all(|one| one != value),
        Test::Matches(pattern) => pattern.is_match(value.as_bytes()),
        Test::NotMatches(pattern) => !pattern.is_match(value.as_bytes()),
        Test::Order(..) => order(test, |literal| match literal {
            Literal::Text(wanted) => Some(value.cmp(wanted.as_str())),
            _ => None,
        }),
    }
}

/// The groups of an instance's tasks are a set: a positive test asks for one that passes, a negative one for none.
fn group(instance: &Instance<'_>, test: &Test) -> bool {
    let mut groups = instance.groups();
    match test {
        Test::Order(Order::Equal, Literal::Text(name)) => instance.has_group(name),
        Test::Order(Order::NotEqual, Literal::Text(name)) => !instance.has_group(name),
        Test::In(names) => names.iter().any(|name| instance.has_group(name)),
        Test::NotIn(names) => !names.iter().any(|name| instance.has_group(name)),
        Test::Matches(pattern) => groups.any(|name| pattern.is_match(name.as_bytes())),
        Test::NotMatches(pattern) => !groups.any(|name| pattern.is_match(name.as_bytes())),
        Test::Exists | Test::Absent | Test::Order(..) => false,
    }
}

fn order(test: &Test, compare: impl Fn(&Literal) -> Option<Ordering>) -> bool {
    let Test::Order(order, literal) = test else { return false };
    compare(literal).is_some_and(|found| match order {
        Order::Equal => found.is_eq(),
        Order::NotEqual => found.is_ne(),
        Order::Greater => found.is_gt(),
        Order::GreaterOrEqual => found.is_ge(),
        Order::Less => found.is_lt(),
        Order::LessOrEqual => found.is_le(),
    })
}

/// `1.14.5` as numbers; trailing zeros do not count.
pub(super) fn version(text: &str) -> Option<Vec<u64>> {
    let numbers: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
    numbers.map(|mut numbers| {
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        numbers
    })
}
