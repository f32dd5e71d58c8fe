//! Know your customer: papers are collected, checks run as children, and a person looks only at
//! what no rule could decide.

use serde::{Deserialize, Serialize};

/// The context of a customer-to-be.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    customer_id: String,
    country: String,
    papers: Vec<String>,
    passed: Vec<String>,
    open_checks: usize,
}

/// What `PAPER` carries.
#[derive(Debug, Deserialize)]
pub struct Paper {
    paper: String,
}

/// The context of a check.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    customer_id: String,
    kind: String,
}

/// What a provider answers.
#[derive(Debug, Deserialize)]
pub struct Answer {
    clear: bool,
}

/// What a check tells the customer it is about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    new_state: String,
    child_context: Check,
}

/// The papers that are needed.
const PAPERS: [&str; 2] = ["passport", "proofOfAddress"];

/// The checks that are made.
const CHECKS: [&str; 2] = ["identity", "sanctions"];

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event, Failure, info, refuse, sender};

    use super::{Answer, CHECKS, Check, Customer, Done, PAPERS, Paper};

    #[guard]
    fn is_last_paper(call: &Call<Customer, Paper>) -> bool {
        let arrived = |paper: &&str| {
            *paper == call.event.payload.paper || call.context.papers.iter().any(|own| own == paper)
        };
        PAPERS.iter().all(arrived)
    }

    /// Keeps a paper; the same one twice is one paper.
    #[action]
    fn keep_paper(customer: &mut Customer, event: &Event<Paper>) -> Result<(), Failure> {
        let paper = &event.payload.paper;
        if !PAPERS.contains(&paper.as_str()) {
            let message = format!("`{paper}` is none of {}", PAPERS.join(", "));
            return Err(refuse("unknown_paper", message));
        }
        if !customer.papers.contains(paper) {
            customer.papers.push(paper.clone());
        }
        Ok(())
    }

    /// One child for each check.
    #[action]
    fn start_checks(customer: &mut Customer) {
        for kind in CHECKS {
            let check = Check {
                customer_id: customer.customer_id.clone(),
                kind: kind.to_owned(),
            };
            sender::create("Check", &check);
        }
        customer.open_checks = CHECKS.len();
        info!("{} is checked", customer.customer_id);
    }

    #[guard]
    fn is_last_check(call: &Call<Customer>) -> bool {
        call.context.open_checks == 1
    }

    #[action]
    fn note_check(customer: &mut Customer, event: &Event<Done>) {
        let Done {
            new_state,
            child_context: Check { kind, .. },
        } = &event.payload;
        customer.open_checks -= 1;
        if new_state == "Passed" {
            customer.passed.push(kind.clone());
        }
        info!("{kind}: {new_state}");
    }

    #[guard]
    fn has_passed_all(call: &Call<Customer>) -> bool {
        call.context.passed.len() == CHECKS.len()
    }

    #[guard]
    fn is_clear(call: &Call<Check, Answer>) -> bool {
        call.event.payload.clear
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        fn customer(papers: &str, open_checks: u32) -> String {
            format!(
                r#"{{"customerId":"C-1","country":"FR","papers":[{papers}],"passed":[],"openChecks":{open_checks}}}"#
            )
        }

        const PASSPORT: &str = r#"{"paper":"passport"}"#;

        #[test]
        fn the_last_paper_is_known_as_such() {
            let is_last = |papers| testing::guard(is_last_paper, &customer(papers, 0), PASSPORT);
            assert!(!is_last("").result.unwrap());
            assert!(is_last(r#""proofOfAddress""#).result.unwrap());
        }

        #[test]
        fn a_paper_that_comes_twice_is_one_paper() {
            let run = testing::action(keep_paper, &customer(r#""passport""#, 0), PASSPORT);
            assert_eq!(run.context::<Customer>().papers, ["passport"]);
        }

        #[test]
        fn a_paper_that_nobody_wants_is_refused() {
            let run = testing::action(keep_paper, &customer("", 0), r#"{"paper":"poem"}"#);
            assert_eq!(run.refusal(), "unknown_paper");
        }

        #[test]
        fn every_check_is_a_child() {
            let run = testing::action(start_checks, &customer("", 0), "{}");
            assert_eq!(run.context::<Customer>().open_checks, 2);
            assert!(run.sends.iter().all(|send| send.to == "create Check"));
            assert!(run.sends[1].payload.contains(r#""kind":"sanctions""#));
        }

        #[test]
        fn only_a_check_that_was_passed_counts() {
            let done = |state| {
                format!(
                    r#"{{"newState":"{state}","childContext":{{"customerId":"C-1","kind":"identity"}}}}"#
                )
            };
            let note = |state| testing::action(note_check, &customer("", 2), &done(state));
            assert_eq!(note("Passed").context::<Customer>().passed, ["identity"]);
            let failed: Customer = note("Failed").context();
            assert!(failed.passed.is_empty() && failed.open_checks == 1);
        }
    }
}
