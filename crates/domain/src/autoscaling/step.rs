//! Step scaling: how far a breach is from the threshold says what is added or taken.

/// What the adjustment of a step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// So many more, or fewer.
    Change,
    /// So many.
    Exact,
    /// So many percent more, or fewer, but at least this many tasks.
    Percent {
        /// `MinAdjustmentMagnitude`.
        least: u32,
    },
}

/// One step; its bounds are relative to the threshold, none is open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Where it begins.
    pub lower: Option<f64>,
    /// Where it ends.
    pub upper: Option<f64>,
    /// Tasks or percent.
    pub adjustment: i32,
}

/// Why steps cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is none.
    #[error("at least one step is required")]
    Empty,
    /// A lower bound that is not below the upper one.
    #[error("a lower bound must be less than its upper bound")]
    Order,
    /// Two steps for one value, or a value between two steps without one.
    #[error("steps may neither overlap nor leave a gap")]
    Ranges,
    /// More than one end that is open in one direction.
    #[error("only one step may be without a lower bound, and one without an upper bound")]
    Open,
    /// Values below all steps that are for values below the threshold.
    #[error("with a negative lower bound, one step must be without a lower bound")]
    Below,
    /// Values above all steps that are for values above the threshold.
    #[error("with a positive upper bound, one step must be without an upper bound")]
    Above,
}

/// Whether every value has at most one step, and none on the way outwards has no step.
///
/// # Errors
/// [`Invalid`].
pub fn check(steps: &[Step]) -> Result<(), Invalid> {
    let (low, high) =
        (|step: &Step| step.lower.unwrap_or(f64::NEG_INFINITY), |step: &Step| step.upper.unwrap_or(f64::INFINITY));
    if steps.is_empty() {
        return Err(Invalid::Empty);
    }
    if steps.iter().any(|step| low(step) >= high(step)) {
        return Err(Invalid::Order);
    }
    let open = |of: fn(&Step) -> bool| steps.iter().filter(|step| of(step)).count();
    let (open_below, open_above) = (open(|step| step.lower.is_none()), open(|step| step.upper.is_none()));
    if open_below > 1 || open_above > 1 {
        return Err(Invalid::Open);
    }
    let mut sorted: Vec<&Step> = steps.iter().collect();
    sorted.sort_by(|a, b| low(a).total_cmp(&low(b)));
    if sorted.windows(2).any(|pair| high(pair[0]) != low(pair[1])) {
        return Err(Invalid::Ranges);
    }
    if open_below == 0 && steps.iter().any(|step| step.lower.is_some_and(|lower| lower < 0.0)) {
        return Err(Invalid::Below);
    }
    if open_above == 0 && steps.iter().any(|step| step.upper.is_some_and(|upper| upper > 0.0)) {
        return Err(Invalid::Above);
    }
    Ok(())
}

/// The step for a value, given by how far it is from the threshold. At and above the threshold a lower bound belongs to
/// its step, below it an upper bound does.
fn find(steps: &[Step], distance: f64) -> Option<&Step> {
    steps.iter().find(|step| {
        let (low, high) = (step.lower.unwrap_or(f64::NEG_INFINITY), step.upper.unwrap_or(f64::INFINITY));
        if distance >= 0.0 { low <= distance && distance < high } else { low < distance && distance <= high }
    })
}

/// What the steps make of `capacity` when the metric is so far from the threshold; none when no step is meant.
pub fn adjust(steps: &[Step], adjustment: Adjustment, distance: f64, capacity: u32) -> Option<u32> {
    let step = find(steps, distance)?;
    let capacity = i64::from(capacity);
    let wanted = match adjustment {
        Adjustment::Change => capacity + i64::from(step.adjustment),
        Adjustment::Exact => i64::from(step.adjustment),
        Adjustment::Percent { least } => capacity + percent(capacity, step.adjustment, least),
    };
    Some(u32::try_from(wanted.max(0)).unwrap_or(u32::MAX))
}

/// More than one is rounded down, and less than one in either direction is one.
fn percent(capacity: i64, percent: i32, least: u32) -> i64 {
    let product = capacity * i64::from(percent);
    let whole = product / 100;
    let rounded = if whole == 0 { product.signum() } else { whole };
    let least = i64::from(least);
    if rounded == 0 || rounded.abs() >= least { rounded } else { least * rounded.signum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(lower: Option<f64>, upper: Option<f64>, adjustment: i32) -> Step {
        Step { lower, upper, adjustment }
    }

    #[test]
    fn the_distance_from_the_threshold_chooses_the_step() {
        let steps = [
            step(None, Some(-20.0), -2),
            step(Some(-20.0), Some(0.0), -1),
            step(Some(0.0), Some(10.0), 1),
            step(Some(10.0), None, 3),
        ];
        assert_eq!(check(&steps), Ok(()));
        let table = [(0.0, 11), (9.9, 11), (10.0, 13), (500.0, 13), (-0.1, 9), (-20.0, 8), (-20.1, 8)];
        for (distance, expected) in table {
            assert_eq!(adjust(&steps, Adjustment::Change, distance, 10), Some(expected), "{distance}");
        }
        assert_eq!(adjust(&steps[2..], Adjustment::Change, -1.0, 10), None);
    }

    #[test]
    fn an_upper_bound_below_the_threshold_belongs_to_its_step() {
        let steps = [step(None, Some(-10.0), -4), step(Some(-10.0), None, -1)];
        assert_eq!(adjust(&steps, Adjustment::Change, -10.0, 10), Some(6));
        assert_eq!(adjust(&steps, Adjustment::Change, -9.9, 10), Some(9));
    }

    #[test]
    fn percentages_are_rounded_as_the_service_rounds() {
        let change = |capacity: u32, percent: i32, least: u32| {
            adjust(&[step(None, None, percent)], Adjustment::Percent { least }, 0.0, capacity)
        };
        assert_eq!(change(10, 127, 0), Some(22)); // 12.7 → 12
        assert_eq!(change(10, 3, 0), Some(11)); // 0.3 → 1
        assert_eq!(change(10, -3, 0), Some(9)); // −0.3 → −1
        assert_eq!(change(23, -29, 0), Some(17)); // −6.67 → −6
        assert_eq!(change(10, 10, 3), Some(13));
        assert_eq!(change(10, -10, 3), Some(7));
        assert_eq!(change(10, 50, 3), Some(15));
        assert_eq!(change(0, 50, 2), Some(0));
        assert_eq!(change(10, 0, 2), Some(10));
    }

    #[test]
    fn exact_capacity_and_the_floor_of_nothing() {
        assert_eq!(adjust(&[step(Some(0.0), None, 7)], Adjustment::Exact, 3.0, 10), Some(7));
        assert_eq!(adjust(&[step(None, None, -20)], Adjustment::Change, 3.0, 10), Some(0));
    }

    #[test]
    fn steps_that_leave_values_open_are_refused() {
        let table = [
            (vec![], Invalid::Empty),
            (vec![step(Some(5.0), Some(5.0), 1)], Invalid::Order),
            (vec![step(Some(0.0), Some(5.0), 1), step(Some(6.0), None, 1)], Invalid::Ranges),
            (vec![step(Some(0.0), Some(5.0), 1), step(Some(4.0), None, 1)], Invalid::Ranges),
            (vec![step(None, Some(0.0), 1), step(None, None, 1)], Invalid::Open),
            (vec![step(Some(-5.0), None, 1)], Invalid::Below),
            (vec![step(Some(0.0), Some(5.0), 1)], Invalid::Above),
        ];
        for (steps, expected) in table {
            assert_eq!(check(&steps), Err(expected), "{steps:?}");
        }
        assert_eq!(check(&[step(Some(0.0), None, 1)]), Ok(()));
        assert_eq!(check(&[step(None, Some(0.0), -1)]), Ok(()));
    }
}
