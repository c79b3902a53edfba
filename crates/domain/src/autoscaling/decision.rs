//! What the policies of one service together make of its desired count.

use crate::Timestamp;

/// The service as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// What it wants.
    pub desired: u32,
    /// What it has: proportional scaling goes by it.
    pub running: u32,
    /// A deployment is under way: nothing is taken away from it.
    pub deploying: bool,
}

/// MinCapacity and MaxCapacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Not fewer.
    pub min: u32,
    /// Not more.
    pub max: u32,
}

impl Bounds {
    /// The nearest count within them.
    pub fn clamp(&self, count: u32) -> u32 {
        count.max(self.min).min(self.max)
    }
}

/// SuspendedState, as far as policies go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Suspended {
    /// DynamicScalingInSuspended.
    pub scale_in: bool,
    /// DynamicScalingOutSuspended.
    pub scale_out: bool,
}

/// What a policy asks for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Nothing: no alarm of it fires, or nothing is known.
    Nothing,
    /// So many tasks.
    Capacity(u32),
}

/// A policy with what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What it asks for.
    pub ask: Ask,
    /// It tracks a target and may scale in: it has to agree before anything is taken away.
    pub must_agree: bool,
    /// After a step out.
    pub out_cooldown_seconds: u32,
    /// After a step in.
    pub in_cooldown_seconds: u32,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More tasks.
    Out,
    /// Fewer tasks.
    In,
}

/// The last step of a policy in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaled {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: u32,
    /// To where.
    pub to: u32,
    /// How long it cools down.
    pub cooldown_seconds: u32,
}

impl Scaled {
    fn cools_at(&self, now: Timestamp) -> bool {
        now.millis_since(self.at) < i64::from(self.cooldown_seconds) * 1000
    }
}

/// What scaling remembers of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// The last step out.
    pub out: Option<Scaled>,
    /// The last step in; forgotten with the next step out.
    pub inward: Option<Scaled>,
}

impl History {
    /// What a step that changes a capacity begins from: while a step out cools down it is part of the next one.
    pub fn base(&self, desired: u32, now: Timestamp) -> u32 {
        self.out.filter(|out| out.cools_at(now)).map_or(desired, |out| out.from.min(desired))
    }
}

/// Why nothing happens although a policy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotScaled {
    /// It has what the bounds allow.
    AlreadyAtMaxCapacity,
    /// It has what the bounds demand.
    AlreadyAtMinCapacity,
    /// It has what is asked for.
    AlreadyAtDesiredCapacity,
}

impl NotScaled {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyAtMaxCapacity => "AlreadyAtMaxCapacity",
            Self::AlreadyAtMinCapacity => "AlreadyAtMinCapacity",
            Self::AlreadyAtDesiredCapacity => "AlreadyAtDesiredCapacity",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is asked for, or it has to wait.
    Nothing,
    /// The policy of this index asks for what cannot be.
    NotScaled(usize, NotScaled),
    /// The policy of this index brings the service there.
    Scale {
        /// Index of the policy.
        policy: usize,
        /// Which way.
        direction: Direction,
        /// The new desired count.
        to: u32,
        /// What is remembered of it.
        history: History,
    },
}

/// What tracking a target asks for: more when the metric is above it, fewer when it is below nine tenths of it, in
/// proportion to the tasks that run. The result is never so small that it would be scaled out again.
pub fn tracking_ask(metric: f64, target: f64, running: u32) -> u32 {
    // A hair less, so that a product that is whole but for rounding stays whole.
    let wanted = (f64::from(running) * metric / target - 1e-9).ceil();
    if wanted >= f64::from(u32::MAX) { u32::MAX } else { wanted.max(0.0) as u32 }
}

/// Puts the policies together.
pub fn decide(
    observed: Observed,
    bounds: Bounds,
    suspended: Suspended,
    policies: &[Policy],
    history: &History,
    now: Timestamp,
) -> Decision {
    let asks = || {
        policies.iter().enumerate().filter_map(|(index, policy)| match policy.ask {
            Ask::Capacity(count) => Some((index, policy, count)),
            Ask::Nothing => None,
        })
    };
    // The largest wins; the earlier one of equals.
    let Some((index, policy, wanted)) = asks().max_by_key(|(index, _, wanted)| (*wanted, std::cmp::Reverse(*index)))
    else {
        return Decision::Nothing;
    };
    if wanted > observed.desired {
        return out(observed, bounds, suspended, (index, policy, wanted), history, now);
    }
    if wanted == observed.desired {
        return Decision::NotScaled(index, NotScaled::AlreadyAtDesiredCapacity);
    }
    let all_agree = policies.iter().filter(|policy| policy.must_agree).all(|policy| policy.ask != Ask::Nothing);
    let cooling = history.inward.is_some_and(|step| step.cools_at(now));
    if suspended.scale_in || observed.deploying || cooling || !all_agree {
        return Decision::Nothing;
    }
    // Above the maximum the service first goes there.
    let to = if observed.desired > bounds.max { bounds.max } else { bounds.clamp(wanted) };
    if to >= observed.desired {
        return Decision::NotScaled(index, NotScaled::AlreadyAtMinCapacity);
    }
    let step = Scaled { at: now, from: observed.desired, to, cooldown_seconds: policy.in_cooldown_seconds };
    let history = History { inward: Some(step), ..*history };
    Decision::Scale { policy: index, direction: Direction::In, to, history }
}

fn out(
    observed: Observed,
    bounds: Bounds,
    suspended: Suspended,
    (index, policy, wanted): (usize, &Policy, u32),
    history: &History,
    now: Timestamp,
) -> Decision {
    if suspended.scale_out {
        return Decision::Nothing;
    }
    // Below the minimum the service first goes there.
    let to = if observed.desired < bounds.min { bounds.min } else { bounds.clamp(wanted) };
    if to <= observed.desired {
        return Decision::NotScaled(index, NotScaled::AlreadyAtMaxCapacity);
    }
    // Within a cooldown only a larger increase than the one that cools down.
    if history.out.is_some_and(|step| step.cools_at(now) && to <= step.to) {
        return Decision::Nothing;
    }
    let step = Scaled { at: now, from: observed.desired, to, cooldown_seconds: policy.out_cooldown_seconds };
    Decision::Scale { policy: index, direction: Direction::Out, to, history: History { out: Some(step), inward: None } }
}

#[cfg(test)]
mod tests;
