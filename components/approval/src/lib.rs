//! Approval of requests: guards on the amount, escalation when nobody decides.

use serde::{Deserialize, Serialize};

/// The context of a request.
#[derive(Debug, Deserialize, Serialize)]
pub struct Request {
    title: String,
    requester: String,
    amount: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<String>,
}

/// What `APPROVE` and `REJECT` carry.
#[derive(Debug, Deserialize)]
pub struct Decision {
    by: String,
}

/// Up to here nobody is asked.
const PETTY_CASH_MAX: f64 = 50.0;

/// Above this a manager is not enough.
const MANAGER_MAX: f64 = 10_000.0;

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event, Failure, info, refuse};

    use super::{Decision, MANAGER_MAX, PETTY_CASH_MAX, Request};

    #[guard]
    fn is_petty_cash(call: &Call<Request>) -> bool {
        call.context.amount <= PETTY_CASH_MAX
    }

    #[guard]
    fn needs_director(call: &Call<Request>) -> bool {
        call.context.amount > MANAGER_MAX
    }

    #[action]
    fn assign_manager(request: &mut Request) {
        assign(request, "manager");
    }

    #[action]
    fn assign_director(request: &mut Request) {
        assign(request, "director");
    }

    /// Nobody decides about what they asked for.
    #[action]
    fn decide(request: &mut Request, event: &Event<Decision>) -> Result<(), Failure> {
        let by = &event.payload.by;
        if *by == request.requester {
            let message = format!("{by} cannot decide about their own request");
            return Err(refuse("own_request", message));
        }
        request.approver = Some(by.clone());
        Ok(())
    }

    fn assign(request: &mut Request, role: &str) {
        info!("{} waits for the {role}", request.title);
        request.assignee = Some(role.to_owned());
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        fn request(amount: f64) -> String {
            format!(r#"{{"title":"Chair","requester":"ann","amount":{amount}}}"#)
        }

        #[test]
        fn the_amount_says_who_decides() {
            let petty = |amount| testing::guard(is_petty_cash, &request(amount), "{}");
            let director = |amount| testing::guard(needs_director, &request(amount), "{}");
            assert!(petty(50.0).result.unwrap() && !petty(50.01).result.unwrap());
            assert!(!director(10_000.0).result.unwrap() && director(10_000.01).result.unwrap());
        }

        #[test]
        fn whoever_has_to_decide_is_named() {
            let run = testing::action(assign_director, &request(1.0), "{}");
            assert_eq!(run.context::<Request>().assignee.unwrap(), "director");
            assert_eq!(run.logs, ["Chair waits for the director"]);
        }

        #[test]
        fn a_decision_keeps_who_made_it() {
            let run = testing::action(decide, &request(1.0), r#"{"by":"bob"}"#);
            assert_eq!(run.context::<Request>().approver.unwrap(), "bob");
        }

        #[test]
        fn nobody_decides_about_their_own_request() {
            let run = testing::action(decide, &request(1.0), r#"{"by":"ann"}"#);
            assert_eq!(run.refusal(), "own_request");
        }
    }
}
