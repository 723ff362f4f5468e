//! Smaller plans that still fail: without the faults and the clients that a failure does not need.

use crate::history;
use crate::plan::Plan;

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
    for i in 0..plan.stepped.len() {
        with(true, &|plan| {
            plan.stepped.remove(i);
        });
    }
    let last = plan.processes - 1;
    let timed = plan.faults.iter().map(|(_, fault)| fault);
    let mut faults = timed.chain(plan.stepped.iter().map(|stepped| &stepped.fault));
    let is_used = plan.slow == Some(last) || faults.any(|fault| fault.process() == Some(last));
    with(last > 0 && !is_used, &|plan| plan.processes -= 1);
    with(plan.legacy_readers > 0, &|plan| plan.legacy_readers = 0);
    with(plan.legacy_writers > 0, &|plan| plan.legacy_writers = 0);
    let (reads, writes) = (&plan.reads, &plan.writes);
    with(writes.unknown > 0, &|plan| plan.writes.unknown = 0);
    with(writes.rollbacks > 0, &|plan| plan.writes.rollbacks = 0);
    with(writes.puts > 0, &|plan| plan.writes.puts = 0);
    with(writes.rows > 1, &|plan| plan.writes.rows = 1);
    with(writes.elsewhere > 0, &|plan| plan.writes.elsewhere = 0);
    with(writes.operators > 0, &|plan| plan.writes.operators = 0);
    with(reads.readers > 1, &|plan| plan.reads.readers = 1);
    with(reads.many > 0, &|plan| plan.reads.many = 0);
    with(reads.loading > 0, &|plan| plan.reads.loading = 0);
    with(reads.peeks > 0, &|plan| plan.reads.peeks = 0);
    with(plan.delayed > 0, &|plan| plan.delayed = 0);
    with(plan.is_grouped, &|plan| plan.is_grouped = false);
    let exact = plan.setup.drift() == 0;
    with(!exact, &|plan| {
        (plan.setup.drift, plan.setup.server_drift) = (Vec::new(), 0);
    });
    with(plan.setup.stops_clocks, &|plan| {
        plan.setup.stops_clocks = false;
    });
    with(plan.setup.last_known.is_some(), &|plan| {
        plan.setup.last_known = None;
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
