//! A small stream of orders, and what became of them.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, ensure};
use serde_json::json;

use super::text;
use crate::host::Host;

/// Means of payment, by turns. The last is refused.
const METHODS: [&str; 8] = [
    "visa",
    "mastercard",
    "cb",
    "visa",
    "mastercard",
    "cb",
    "visa",
    "cash",
];

/// Orders that arrive with each tick.
const PER_TICK: u64 = 3;

/// All orders.
pub(super) struct Orders<'h> {
    host: &'h Host,
    /// Those that go on, with their means of payment.
    open: BTreeMap<String, &'static str>,
    completed: u64,
    refused: u64,
}

impl<'h> Orders<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        Self {
            host,
            open: BTreeMap::new(),
            completed: 0,
            refused: 0,
        }
    }

    /// Orders that go on.
    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }

    /// New orders are created and submitted.
    pub(super) fn arrive(&mut self, tick: u64) -> Result<()> {
        for number in 0..PER_TICK {
            let number = tick * PER_TICK + number;
            let turn = usize::try_from(number).unwrap_or_default() % METHODS.len();
            let method = METHODS[turn];
            let context = json!({
                "orderId": format!("ORD-{number}"),
                "amount": 10 + number % 90,
                "method": method,
            });
            let path = "components/OrderComponent/machines/Order/instances";
            let order = self.host.post(path, &json!({"context": context}), 201)?;
            let id = text(&order, "id")?;
            self.send(&id, "SUBMIT")?;
            self.open.insert(id, method);
        }
        Ok(())
    }

    /// Paid orders are shipped and delivered; those that have ended are counted.
    pub(super) fn advance(&mut self) -> Result<()> {
        for id in self.open.keys().cloned().collect::<Vec<_>>() {
            let order = self.host.get(&format!("instances/{id}"))?;
            match text(&order, "state")?.as_str() {
                "Paid" => {
                    self.send(&id, "SHIP")?;
                    self.send(&id, "DELIVER")?;
                    self.completed += 1;
                    self.close(&id, false)?;
                }
                "Rejected" => {
                    self.refused += 1;
                    self.close(&id, true)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn close(&mut self, id: &str, was_refused: bool) -> Result<()> {
        let method = self.open.remove(id).unwrap_or_default();
        ensure!(
            (method == "cash") == was_refused,
            "order {id}, paid by {method}, ended the wrong way"
        );
        Ok(())
    }

    fn send(&self, id: &str, event: &str) -> Result<()> {
        let path = format!("instances/{id}/events");
        let answer = self.host.post(&path, &json!({"event": event}), 200)?;
        ensure!(
            answer["disposition"] == "transitioned",
            "{event} at order {id}: {answer}"
        );
        Ok(())
    }

    /// The host has counted the same, and no order is left.
    pub(super) fn verify(&self) -> Result<()> {
        ensure!(
            self.open.is_empty(),
            "{} orders never ended",
            self.open.len()
        );
        let counts = self
            .host
            .get("instances?component=OrderComponent&count=true")?;
        let of = |state: &str| -> u64 {
            let items = counts["items"].as_array().into_iter().flatten();
            let of_state = items.filter(|count| count["state"] == state);
            of_state
                .filter_map(|count| count["instances"].as_u64())
                .sum()
        };
        let counted = (of("Completed"), of("Rejected"));
        ensure!(
            counted == (self.completed, self.refused),
            "the host counts {counted:?} completed and refused orders, expected {:?}",
            (self.completed, self.refused)
        );
        Ok(())
    }
}

impl fmt::Display for Orders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5} orders delivered, {:>4} refused, {:>3} open;",
            self.completed,
            self.refused,
            self.open.len()
        )
    }
}
