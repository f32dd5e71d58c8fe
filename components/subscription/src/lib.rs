//! Subscriptions: a trial, renewal by timer, and reminders for who does not pay.

use serde::{Deserialize, Serialize};

/// The context of a subscription.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    subscriber: String,
    price: f64,
    period: u32,
    paid_period: u32,
}

/// The context of an invoice.
#[derive(Debug, Deserialize, Serialize)]
pub struct Invoice {
    subscriber: String,
    period: u32,
    amount: f64,
    #[serde(default)]
    reminders: u32,
}

/// What `PAY` carries, besides what the matching rules look at.
#[derive(Debug, Deserialize)]
pub struct Payment {
    amount: f64,
}

/// What an invoice tells its subscription.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FromInvoice {
    child_context: Invoice,
}

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Event, info, sender, warning};

    use super::{FromInvoice, Invoice, Payment, Subscription};

    /// A period begins: the invoice over it is a child.
    #[action]
    fn issue_invoice(subscription: &mut Subscription) {
        subscription.period += 1;
        let invoice = Invoice {
            subscriber: subscription.subscriber.clone(),
            period: subscription.period,
            amount: subscription.price,
            reminders: 0,
        };
        sender::create("Invoice", &invoice);
        info!("invoice over period {}", subscription.period);
    }

    #[action]
    fn note_payment(subscription: &mut Subscription, event: &Event<FromInvoice>) {
        let paid = event.payload.child_context.period;
        subscription.paid_period = subscription.paid_period.max(paid);
    }

    #[guard]
    fn is_enough(call: &Call<Invoice, Payment>) -> bool {
        call.event.payload.amount >= call.context.amount
    }

    #[action]
    fn remind(invoice: &mut Invoice) {
        invoice.reminders += 1;
        warning!(
            "{}: reminder {} for period {}",
            invoice.subscriber,
            invoice.reminders,
            invoice.period
        );
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        const SUBSCRIPTION: &str = r#"{"subscriber":"ann","price":9,"period":1,"paidPeriod":1}"#;

        fn invoice(reminders: u32) -> String {
            format!(r#"{{"subscriber":"ann","period":2,"amount":9,"reminders":{reminders}}}"#)
        }

        #[test]
        fn every_period_has_its_invoice() {
            let run = testing::action(issue_invoice, SUBSCRIPTION, "{}");
            assert_eq!(run.context::<Subscription>().period, 2);
            assert_eq!(run.sends[0].to, "create Invoice");
            let issued: Invoice = serde_json::from_str(&run.sends[0].payload).unwrap();
            assert_eq!((issued.period, issued.amount), (2, 9.0));
        }

        #[test]
        fn a_late_payment_of_an_old_period_does_not_set_the_clock_back() {
            let told = r#"{"childContext":{"subscriber":"ann","period":0,"amount":9}}"#;
            let run = testing::action(note_payment, SUBSCRIPTION, told);
            assert_eq!(run.context::<Subscription>().paid_period, 1);
        }

        #[test]
        fn less_than_the_amount_is_not_enough() {
            let enough = |amount| testing::guard(is_enough, &invoice(0), amount);
            assert!(!enough(r#"{"amount":8.99}"#).result.unwrap());
            assert!(enough(r#"{"amount":9}"#).result.unwrap());
        }

        #[test]
        fn reminders_are_counted() {
            let run = testing::action(remind, &invoice(2), "{}");
            assert_eq!(run.context::<Invoice>().reminders, 3);
            assert_eq!(run.logs, ["ann: reminder 3 for period 2"]);
        }
    }
}
