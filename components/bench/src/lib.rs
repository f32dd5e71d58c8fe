//! What the bench measures: an action that parses and rewrites a context of five fields.

use serde::{Deserialize, Serialize};

/// The context of five fields.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    order_id: String,
    total: f64,
    executed: f64,
    customer: String,
    tier: String,
}

/// What `ADD` and `CHECK` carry.
#[derive(Debug, Deserialize)]
pub struct Execution {
    quantity: f64,
}

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event};

    use super::{Execution, Order};

    /// Adds what was executed.
    #[action]
    fn add(order: &mut Order, event: &Event<Execution>) {
        order.executed += event.payload.quantity;
    }

    /// Whether the execution fits into the order.
    #[guard]
    fn is_room_left(call: &Call<Order, Execution>) -> bool {
        call.context.executed + call.event.payload.quantity <= call.context.total
    }
}
