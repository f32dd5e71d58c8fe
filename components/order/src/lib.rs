//! Orders: submitted, paid by another component, shipped, delivered.

use serde::{Deserialize, Serialize};

/// The context of an order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    order_id: String,
    amount: f64,
    method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
}

/// What `SHIP` may carry.
#[derive(Debug, Deserialize)]
pub struct Ship {
    carrier: Option<String>,
}

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event, Failure, info, refuse};

    use super::{Order, Ship};

    /// An order over nothing is not submitted.
    #[guard]
    fn is_worth_it(call: &Call<Order>) -> bool {
        call.context.amount > 0.0
    }

    /// The carrier that was asked for, or the usual one.
    #[action]
    fn choose_carrier(order: &mut Order, event: &Event<Ship>) -> Result<(), Failure> {
        let carrier = event
            .payload
            .carrier
            .clone()
            .unwrap_or_else(|| "Post".to_owned());
        if carrier.trim().is_empty() {
            return Err(refuse("no_carrier", "name a carrier, or leave it out"));
        }
        order.carrier = Some(carrier);
        Ok(())
    }

    /// Tells the history what leaves.
    #[action]
    fn book_parcel(call: &Call<Order>) {
        let order = &call.context;
        info!(
            "parcel of {} over {:.2} leaves by {}",
            order.order_id,
            order.amount,
            order.carrier.as_deref().unwrap_or("?")
        );
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        const ORDER: &str = r#"{"orderId":"O-1","amount":10,"method":"visa"}"#;

        #[test]
        fn an_order_over_nothing_is_not_submitted() {
            let worth_it = |order: &str| testing::guard(is_worth_it, order, "{}");
            assert!(worth_it(ORDER).result.unwrap());
            assert!(!worth_it(&ORDER.replace("10", "0")).result.unwrap());
        }

        #[test]
        fn the_usual_carrier_is_chosen_where_none_is_named() {
            let run = testing::action(choose_carrier, ORDER, "{}");
            assert_eq!(run.context::<Order>().carrier.unwrap(), "Post");
        }

        #[test]
        fn an_empty_carrier_is_refused() {
            let run = testing::action(choose_carrier, ORDER, r#"{"carrier":" "}"#);
            assert_eq!(run.refusal(), "no_carrier");
        }

        #[test]
        fn what_leaves_is_written_to_the_history() {
            let shipped = r#"{"orderId":"O-1","amount":10,"method":"visa","carrier":"Post"}"#;
            let run = testing::action(book_parcel, shipped, "{}");
            assert_eq!(run.logs, ["parcel of O-1 over 10.00 leaves by Post"]);
        }
    }
}
