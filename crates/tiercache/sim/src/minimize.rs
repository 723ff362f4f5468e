//! Smaller plans that still fail: without the faults and the clients that a failure does not need.

use crate::history;
use crate::plan::{Fault, Plan};

/// Removes from a failing plan what it does not need. A plan that does not fail is returned as it
/// is.
pub(crate) fn minimize(mut plan: Plan) -> Plan {
    if !fails(&plan) {
        return plan;
    }
    while let Some(smaller) = smaller(&plan).into_iter().find(fails) {
        plan = smaller;
    }
    plan
}

fn fails(plan: &Plan) -> bool {
    history::run(plan.clone(), false).violation.is_some()
}

/// Plans that are a step smaller.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut with = |is_smaller: bool, change: &dyn Fn(&mut Plan)| {
        if is_smaller {
            let mut smaller = plan.clone();
            change(&mut smaller);
            plans.push(smaller);
        }
    };
    for i in 0..plan.faults.len() {
        with(true, &|plan| {
            plan.faults.remove(i);
        });
    }
    let last = plan.processes - 1;
    let is_used = plan
        .faults
        .iter()
        .any(|(_, fault)| fault.process() == Some(last));
    with(last > 0 && !is_used, &|plan| plan.processes -= 1);
    with(plan.legacy_readers > 0, &|plan| plan.legacy_readers = 0);
    with(plan.legacy_writers > 0, &|plan| plan.legacy_writers = 0);
    with(plan.unknown > 0, &|plan| plan.unknown = 0);
    with(plan.puts > 0, &|plan| plan.puts = 0);
    with(plan.delayed > 0, &|plan| plan.delayed = 0);
    with(plan.readers > 1, &|plan| plan.readers = 1);
    with(plan.is_grouped, &|plan| plan.is_grouped = false);
    let exact = plan.setup.drift() == 0;
    with(!exact, &|plan| {
        (plan.setup.drift, plan.setup.server_drift) = (Vec::new(), 0);
    });
    with(plan.setup.stops_clocks, &|plan| {
        plan.setup.stops_clocks = false;
    });
    with(plan.setup.padding > 0, &|plan| plan.setup.padding = 0);
    let after = plan.faults.last().map_or(500, |(at, _)| at + 500);
    for shorter in [
        plan.horizon / 2,
        plan.horizon * 3 / 4,
        plan.horizon * 9 / 10,
    ] {
        with(shorter > after, &|plan| plan.horizon = shorter);
    }
    plans
}

impl Fault {
    /// The process that it concerns alone.
    fn process(self) -> Option<usize> {
        match self {
            Self::Cut { process }
            | Self::Close { process }
            | Self::HoldOut { process, .. }
            | Self::HoldIn { process, .. }
            | Self::Refuse { process, .. }
            | Self::Pause { process, .. }
            | Self::Crash { process, .. } => Some(process),
            _ => None,
        }
    }
}
