//! Live orders: execution reports find theirs, and each adds to what was executed before.

use serde::{Deserialize, Serialize};

/// The context of an order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    order_id: String,
    quantity: f64,
    executed: f64,
    average_price: f64,
}

/// What the exchange reports. Its `orderId` is the matching rule's concern.
#[derive(Debug, Deserialize)]
pub struct Report {
    quantity: f64,
    price: f64,
}

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event, Failure, info, refuse};

    use super::{Order, Report};

    /// Whether nothing is left to execute after this report.
    #[guard]
    fn is_filled_by(call: &Call<Order, Report>) -> bool {
        call.context.executed + call.event.payload.quantity >= call.context.quantity
    }

    /// Adds a report. The payload is not merged, since the transition has matching rules: what is
    /// kept of it is decided here.
    #[action]
    fn accumulate(order: &mut Order, event: &Event<Report>) -> Result<(), Failure> {
        let Report { quantity, price } = event.payload;
        if quantity <= 0.0 {
            return Err(refuse("nothing_executed", "a report executes something"));
        }
        let executed = order.executed + quantity;
        if executed > order.quantity {
            return Err(refuse(
                "overfill",
                format!("{executed} of {} would be executed", order.quantity),
            ));
        }
        order.average_price = (order.average_price * order.executed + price * quantity) / executed;
        order.executed = executed;
        info!("{}: {executed} of {}", order.order_id, order.quantity);
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        const ORDER: &str = r#"{"orderId":"O-1","quantity":100,"executed":40,"averagePrice":10}"#;

        fn report(quantity: i32) -> String {
            format!(r#"{{"orderId":"O-1","quantity":{quantity},"price":20}}"#)
        }

        #[test]
        fn reports_add_up() {
            let order: Order = testing::action(accumulate, ORDER, &report(40)).context();
            assert_eq!((order.executed, order.average_price), (80.0, 15.0));
        }

        #[test]
        fn the_last_report_is_known_as_such() {
            let is_last = |quantity| testing::guard(is_filled_by, ORDER, &report(quantity));
            assert!(!is_last(59).result.unwrap());
            assert!(is_last(60).result.unwrap());
        }

        #[test]
        fn more_than_was_ordered_is_refused() {
            let run = testing::action(accumulate, ORDER, &report(61));
            assert_eq!(run.refusal(), "overfill");
            assert!(run.logs.is_empty());
        }

        #[test]
        fn a_report_about_nothing_is_refused() {
            let run = testing::action(accumulate, ORDER, &report(0));
            assert_eq!(run.refusal(), "nothing_executed");
        }
    }
}
