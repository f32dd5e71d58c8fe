//! Some hundred seeds, all as they should be.

use xcomponent_sim::{
    Plan, fleet,
    plan::{Bug, Kind},
    run,
};

#[test]
fn hundreds_of_seeds_are_as_they_should_be() {
    for seed in 0..400 {
        if let Err(failure) = run(&Plan::new(seed, 300)) {
            panic!("{failure}");
        }
    }
}

#[test]
fn seeds_that_found_something_are_as_they_should_be() {
    for seed in [
        1_962, 3_395, 11_158, 11_963, 17_010, 23_209, 56_776, 74_927, 101_254, 107_054, 303_802,
        312_006, 322_469, 323_229, 342_486, 348_090, 501_678, 759_730,
    ] {
        if let Err(failure) = run(&Plan::new(seed, 500)) {
            panic!("{failure}");
        }
    }
}

#[test]
fn hundreds_of_fleets_lose_nothing_and_do_nothing_twice() {
    let tallies: Vec<_> = (0..600)
        .map(|seed| fleet::run(seed, 600).unwrap_or_else(|failure| panic!("{failure}")))
        .collect();
    let sum = |of: fn(&fleet::Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let reached = [
        sum(|tally| tally.crossed as u64),
        sum(|tally| tally.repeated),
        sum(|tally| tally.crashes),
        sum(|tally| tally.truncations),
        sum(|tally| tally.forgotten),
    ];
    assert!(reached.iter().all(|times| *times > 100), "{reached:?}");
}

#[test]
fn long_runs_without_truncations_are_as_they_should_be() {
    for seed in 0..20 {
        let mut plan = Plan::new(seed, 2_000);
        plan.without.insert(Kind::Truncate);
        if let Err(failure) = run(&plan) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..20 {
        let plan = Plan::new(seed, 500);
        let (first, second) = (run(&plan).unwrap(), run(&plan).unwrap());
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found = (0..10_000).find(|seed| {
            let plan = Plan {
                bug: Some(bug),
                ..Plan::new(*seed, 400)
            };
            run(&plan).is_err()
        });
        assert!(found.is_some(), "{bug:?} was not found");
    }
}

#[test]
fn runs_reach_what_they_are_for() {
    let reports: Vec<_> = (0..50)
        .map(|seed| run(&Plan::new(seed, 600)).unwrap())
        .collect();
    let seen = |text: &str| {
        reports
            .iter()
            .flat_map(|report| &report.trace)
            .filter(|line| line.contains(text))
            .count()
    };
    for text in [
        "truncated",
        "crashed",
        " inherits ",
        " recalls ",
        " deferred ",
        " retrying ",
        " dead-lettered ",
        "$terminated",
        "$deleted",
        "InstanceActive",
        "InstanceDeleted",
        "Finished",
        "NoLongerMatches",
        "NoAutoPassed",
        " parked ",
        " sent ",
        " chose ",
        "NotCommitted",
        "KeyReused",
        "InstanceExists",
        "SingletonExists",
        "UnexpectedState",
        "@2 in",
        ".r1 ",
        "(true)",
    ] {
        assert!(seen(text) > 0, "no run shows `{text}`");
    }
    assert!(reports.iter().any(|report| report.truncations > 3));
    assert!(reports.iter().any(|report| report.passive > 3));
}
