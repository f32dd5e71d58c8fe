//! Payments: a means of payment is validated half a second after the payment was made.

use serde::{Deserialize, Serialize};

/// The context of a payment.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    order_id: String,
    amount: f64,
    method: String,
}

/// How long the validation takes, in milliseconds.
const VALIDATION_MS: u64 = 500;

/// The means of payment that are accepted.
const ACCEPTED: [&str; 3] = ["visa", "mastercard", "cb"];

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, info, sender};

    use super::{ACCEPTED, Payment, VALIDATION_MS};

    /// Sends the verdict to itself, later.
    #[action]
    fn check_payment_method(call: &Call<Payment>) {
        let Payment {
            order_id, method, ..
        } = &call.context;
        let verdict = if ACCEPTED.contains(&method.as_str()) {
            "VALIDATED"
        } else {
            "REFUSED"
        };
        sender::to_self_after(VALIDATION_MS, verdict, &serde_json::json!({}));
        info!("{method} for {order_id}: {verdict} in {VALIDATION_MS} ms");
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        fn verdict(method: &str) -> (String, Option<u64>) {
            let context = format!(r#"{{"orderId":"O-1","amount":10,"method":"{method}"}}"#);
            let run = testing::action(check_payment_method, &context, "{}");
            run.result.unwrap();
            (run.sends[0].event.clone(), run.sends[0].delay_ms)
        }

        #[test]
        fn three_means_of_payment_are_accepted_after_half_a_second() {
            for method in ["visa", "mastercard", "cb"] {
                assert_eq!(verdict(method), ("VALIDATED".to_owned(), Some(500)));
            }
            assert_eq!(verdict("seashells").0, "REFUSED");
        }
    }
}
