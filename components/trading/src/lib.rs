//! Trades, settled by a child machine that tells its parent how it went.

use serde::{Deserialize, Serialize};

/// The context of a trade.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trade {
    trade_id: String,
    instrument: String,
    quantity: f64,
    price: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_amount: Option<f64>,
}

/// The context of a settlement.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    trade_id: String,
    quantity: f64,
    price: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<f64>,
}

/// What a child tells its parent (`notifyParent` with `includeContext`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FromChild<C> {
    child_context: C,
}

/// The worth above which a trade is not executed without a person.
const LIMIT: f64 = 1_000_000.0;

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event, Failure, info};

    use super::{FromChild, LIMIT, Settlement, Trade};

    #[guard]
    fn is_within_limit(call: &Call<Trade>) -> bool {
        call.context.quantity * call.context.price <= LIMIT
    }

    /// What the buyer owes.
    #[action]
    fn compute_amount(settlement: &mut Settlement) {
        let amount = settlement.quantity * settlement.price;
        settlement.amount = Some(amount);
        info!("{} settles for {amount:.2}", settlement.trade_id);
    }

    /// Keeps what the child computed. A child without an amount has not settled anything.
    #[action]
    fn note_settlement(
        trade: &mut Trade,
        event: &Event<FromChild<Settlement>>,
    ) -> Result<(), Failure> {
        let Some(amount) = event.payload.child_context.amount else {
            return Err(Failure::Failed("the settlement names no amount".to_owned()));
        };
        trade.settled_amount = Some(amount);
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        fn trade(quantity: u32) -> String {
            format!(r#"{{"tradeId":"T-1","instrument":"ACME","quantity":{quantity},"price":20}}"#)
        }

        #[test]
        fn a_trade_over_the_limit_is_not_executed() {
            let allowed = |quantity| testing::guard(is_within_limit, &trade(quantity), "{}");
            assert!(allowed(50_000).result.unwrap());
            assert!(!allowed(50_001).result.unwrap());
        }

        #[test]
        fn a_settlement_is_worth_quantity_times_price() {
            let settlement = r#"{"tradeId":"T-1","quantity":3,"price":20}"#;
            let run = testing::action(compute_amount, settlement, "{}");
            assert_eq!(run.context::<Settlement>().amount, Some(60.0));
            assert_eq!(run.logs, ["T-1 settles for 60.00"]);
        }

        #[test]
        fn the_parent_takes_over_what_the_child_computed() {
            let told = r#"{"childMachine":"Settlement","childContext":{"tradeId":"T-1","quantity":3,"price":20,"amount":60}}"#;
            let run = testing::action(note_settlement, &trade(3), told);
            assert_eq!(run.context::<Trade>().settled_amount, Some(60.0));
        }

        #[test]
        fn a_settlement_without_an_amount_is_a_fault() {
            let told = r#"{"childContext":{"tradeId":"T-1","quantity":3,"price":20}}"#;
            let run = testing::action(note_settlement, &trade(3), told);
            assert!(matches!(run.result, Err(Failure::Failed(_))));
        }
    }
}
