//! The search: histories of many seeds, on several threads.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiercache::simulated::Mutant;

use crate::arguments::Arguments;
use crate::coverage::Coverage;
use crate::history::{self, Outcome};
use crate::minimize::minimize;
use crate::plan::Plan;
use crate::{timeline, transitions};

#[derive(Default)]
struct Total {
    histories: u64,
    events: u64,
    reads: u64,
    memory_reads: u64,
    writes: u64,
    coverage: Coverage,
    failed: Vec<(u64, String)>,
}

/// Runs what the arguments say.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.is_single {
        return replay(arguments);
    }
    if !arguments.mutants.is_empty() {
        return test_mutants(arguments);
    }
    let began = Instant::now();
    let total = search(arguments, None);
    report(&total, began.elapsed(), arguments);
    exit(total.failed.is_empty())
}

fn exit(is_right: bool) -> ExitCode {
    if is_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn search(arguments: &Arguments, mutant: Option<Mutant>) -> Total {
    let next = AtomicU64::new(arguments.seeds.start);
    let total = Mutex::new(Total::default());
    let limit = arguments.seconds.map(Duration::from_secs);
    let began = Instant::now();
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let is_late = limit.is_some_and(|limit| began.elapsed() >= limit);
        if seed >= arguments.seeds.end || is_late {
            return;
        }
        let outcome = history::run(Plan::of_kind(seed, mutant, arguments.kind), false);
        if arguments.prints_hashes {
            println!("{seed} {:016x} {}", outcome.hash, outcome.events);
        }
        let Ok(mut total) = total.lock() else {
            return;
        };
        total.add(&outcome);
        if !total.failed.is_empty() && (mutant.is_some() || total.failed.len() >= 5) {
            next.store(arguments.seeds.end, Ordering::Relaxed);
            return;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_default()
}

impl Total {
    fn add(&mut self, outcome: &Outcome) {
        self.histories += 1;
        self.events += outcome.events;
        self.reads += outcome.reads;
        self.memory_reads += outcome.memory_reads;
        self.writes += outcome.writes;
        self.coverage.add("writes", outcome.writes);
        self.coverage.merge(&outcome.coverage);
        if let Some(text) = &outcome.violation {
            self.failed.push((outcome.seed, text.clone()));
        }
    }
}

fn report(total: &Total, elapsed: Duration, arguments: &Arguments) {
    let seconds = elapsed.as_secs_f64();
    println!(
        "{} histories, {} events, {} judged reads ({} from memory), {} writes in {seconds:.1} s: \
         {:.0} reads/s, {:.1} histories/s",
        total.histories,
        total.events,
        total.reads,
        total.memory_reads,
        total.writes,
        total.reads as f64 / seconds,
        total.histories as f64 / seconds,
    );
    if !arguments.is_quiet {
        for (name, count) in total.coverage.iter() {
            println!("  {name}: {count}");
        }
    }
    match transitions::missing(&total.coverage) {
        missing if missing.is_empty() => println!("all transitions of the model were taken"),
        missing => println!("transitions not taken: {}", missing.join(", ")),
    }
    for (seed, text) in &total.failed {
        println!("seed {seed}: {text}");
    }
    println!("{} violations", total.failed.len());
}

fn replay(arguments: &Arguments) -> ExitCode {
    let mutant = arguments.mutants.first().copied();
    let mut plan = Plan::of_kind(arguments.seeds.start, mutant, arguments.kind);
    if arguments.minimizes {
        plan = minimize(plan);
    }
    println!("{plan:#?}");
    let outcome = history::run(plan, true);
    timeline::print(&outcome.lines);
    println!(
        "trace hash {:016x}, {} events",
        outcome.hash, outcome.events
    );
    match &outcome.violation {
        Some(text) => println!("violation: {text}"),
        None => println!("{} reads, 0 violations", outcome.reads),
    }
    exit(outcome.violation.is_none())
}

fn test_mutants(arguments: &Arguments) -> ExitCode {
    let mut needed = Vec::new();
    for mutant in &arguments.mutants {
        let total = search(arguments, Some(*mutant));
        match total.failed.first() {
            Some((seed, text)) => {
                println!(
                    "{mutant:?}: {} seeds (seed {seed}: {text})",
                    total.histories
                );
                needed.push(total.histories);
            }
            None => println!("{mutant:?}: NOT DETECTED in {} seeds", total.histories),
        }
    }
    needed.sort_unstable();
    let (count, all) = (needed.len(), arguments.mutants.len());
    let median = needed.get(count / 2).copied().unwrap_or_default();
    println!("{count} of {all} mutants detected; median {median} seeds");
    exit(count == all)
}
