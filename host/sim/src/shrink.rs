//! Makes a failing run smaller: fewer kinds of things, fewer steps.

use crate::{Failure, Plan, plan::Kind, run};

/// The smallest run found that still fails, and how it fails.
pub fn shrink(failure: Failure) -> Failure {
    let mut smallest = failure;
    for kind in Kind::ALL {
        let mut plan = smallest.plan.clone();
        plan.without.insert(kind);
        smallest = fails(&plan).unwrap_or(smallest);
    }
    let mut cut = smallest.plan.steps / 2;
    while cut > 0 {
        let steps = smallest.plan.steps.saturating_sub(cut);
        let plan = Plan {
            steps,
            ..smallest.plan.clone()
        };
        match fails(&plan) {
            Some(failure) => smallest = failure,
            None => cut /= 2,
        }
        cut = cut.min(smallest.plan.steps / 2);
    }
    smallest
}

fn fails(plan: &Plan) -> Option<Failure> {
    run(plan).err().map(|failure| *failure)
}
