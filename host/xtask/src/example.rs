//! `cargo xtask example NAME`: an order on one host and its payment on another.
//!
//! Everything that is needed is started on free ports of this machine, and stopped at the end. An
//! order is paid by the other host; then that host is killed, an order is submitted all the same, and
//! is paid once the host is there again.

mod between;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::between::{Between, Way};
use crate::{
    command::{build, say, step},
    guests,
    host::Host,
};

/// Wait between two looks at an order.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often it is looked at.
const LOOKS_MAX: usize = 1_200;

/// An order and its payment on two hosts.
#[derive(Debug, Args)]
pub(crate) struct Example {
    /// What is between them.
    #[arg(value_enum)]
    name: Way,
}

impl Example {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Way::ALL.into_iter().map(|name| Self { name })
    }

    pub(crate) fn run(self) -> Result<()> {
        if !guests::path("order").exists() || !guests::path("payment").exists() {
            guests::Guests {}.run()?;
        }
        step("host", &mut build("xcomponent"))?;
        say(&format!("\n# {}\n", self.name.title()));
        Stage::new(self.name)?.play()
    }
}

/// The hosts, and what is between them.
struct Stage {
    between: Between,
    folder: TempDir,
}

impl Stage {
    fn new(way: Way) -> Result<Self> {
        Ok(Self {
            between: Between::start(way)?,
            folder: tempfile::tempdir().context("making a folder")?,
        })
    }

    fn play(&self) -> Result<()> {
        let shop = self.host(0)?;
        let bank = self.host(1)?;
        say("\nAn order here, its payment there:\n");
        order(&shop, "order-1")?;
        until_paid(&shop, "order-1")?;
        history(&shop, "order-1")?;
        let payments = bank.get("instances?component=PaymentComponent")?;
        let payment = payments["items"][0]["id"].as_str();
        history(&bank, payment.context("there is a payment")?)?;
        self.between.show(&shop)?;

        say("\nThe payment's host is killed. An order is taken all the same, and waits:\n");
        drop(bank);
        order(&shop, "order-2")?;
        let waiting = shop.get("instances/order-2")?;
        ensure!(waiting["state"] == "Submitted", "it waits: {waiting}");
        history(&shop, "order-2")?;

        say("\nIt is there again, and so is the payment:\n");
        let _bank = self.host(1)?;
        until_paid(&shop, "order-2")?;
        history(&shop, "order-2")?;
        say("\nBoth orders are paid. Everything is stopped.");
        Ok(())
    }

    /// Starts the host with the orders, or that with the payments.
    fn host(&self, which: usize) -> Result<Host> {
        let (component, data) = [("order", "shop"), ("payment", "bank")][which];
        let mut arguments = vec![
            guests::path(component).into_os_string(),
            "--data".into(),
            self.data(data).into_os_string(),
        ];
        let told = self.between.arguments(which);
        arguments.extend(told.iter().map(Into::into));
        let port = self.between.port(which);
        let host = Host::start_with(port, &arguments)?;
        let port = host.url().rsplit(':').next().unwrap_or_default();
        say(&format!(
            "$ xcomponent serve {component}.wasm --port {port} --data {data} {}",
            told.join(" ")
        ));
        Ok(host)
    }

    fn data(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

/// Creates an order and submits it.
fn order(shop: &Host, id: &str) -> Result<()> {
    let context = json!({ "orderId": id, "amount": 25, "method": "visa" });
    let path = "components/OrderComponent/machines/Order/instances";
    shop.post(path, &json!({ "id": id, "context": context }), 201)?;
    let submit = json!({ "event": "SUBMIT" });
    shop.post(&format!("instances/{id}/events"), &submit, 200)?;
    Ok(())
}

fn until_paid(shop: &Host, id: &str) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        if shop.get(&format!("instances/{id}"))?["state"] == "Paid" {
            return Ok(());
        }
        shop.pause(LOOK_EVERY)?;
    }
    let instance = shop.get(&format!("instances/{id}"))?;
    anyhow::bail!("the order is not paid: {instance}")
}

/// Says what happened to an instance.
fn history(host: &Host, id: &str) -> Result<()> {
    let history = host.get(&format!("instances/{id}/history"))?;
    let items = history["items"].as_array().context("a list")?;
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    for item in items.iter().rev() {
        let at = text(item, "at");
        let time = at.split(['T', 'Z']).nth(1).unwrap_or(&at);
        let event = item["event"]["name"].as_str().unwrap_or_default();
        let from = text(item, "from");
        let arrow = if from.is_empty() { "" } else { " → " };
        let id = id.get(..12).unwrap_or(id);
        let to = text(item, "to");
        say(&format!("{time}  {id:12}  {event:18}  {from}{arrow}{to}"));
    }
    Ok(())
}
