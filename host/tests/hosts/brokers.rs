//! What every broker that keeps shipments must do, tried with a real server of each.

use serde_json::{Value, json};
use tempfile::TempDir;
use xcomponent_host::app::Config;
use xcomponent_servers::{Kafka, Nats, RabbitMq, Redis};

use crate::{
    fleet::{BANK, Listening, SHOP, customer, durable, first_of, reserve},
    host::config,
    numbers::until,
    server::Server,
};

/// Redis as a broker that keeps what it is given.
struct Streams(Redis);

impl Streams {
    fn start() -> anyhow::Result<Self> {
        Redis::start().map(Self)
    }
}

impl Server for Streams {
    fn url(&self) -> String {
        self.0.url().replacen("redis:", "redis+streams:", 1)
    }

    fn kill(&mut self) {
        Server::kill(&mut self.0);
    }

    fn restart(&mut self) {
        Server::restart(&mut self.0);
    }
}

/// A host that reaches others through a broker.
fn through(server: &dyn Server) -> Config {
    let mut config = config();
    config.links.broker = Some(server.url().into());
    config
}

async fn an_order_here_is_paid_there(server: &mut dyn Server) {
    let shop = Listening::start(through(server), reserve().await, SHOP).await;
    let bank = Listening::start(through(server), reserve().await, BANK).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    let account = first_of(&bank.host, "Bank").await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
    let charged = bank.host.until_state(&account, "Charged").await;
    assert_eq!(charged["context"]["amount"], 5);
}

/// Twenty orders are sent while the broker is away, and the host that sends is started anew.
async fn what_waits_for_the_broker_arrives_once_and_in_order(server: &mut dyn Server) {
    let folders = [TempDir::new(), TempDir::new()].map(|folder| folder.expect("a folder"));
    let [shop, bank] = [0, 1].map(|n| durable(through(server), folders[n].path()));
    let bank = Listening::start(bank, reserve().await, BANK).await;
    let account = json!({ "owner": "Ada" });
    let account = bank.host.create("Bank", "Account", &account).await;
    server.kill();
    let before = Listening::start(shop.clone(), reserve().await, SHOP).await;
    let order = before.host.create("Shop", "Order", &customer("1")).await;
    for amount in 0..20 {
        before
            .host
            .send(&order, "PAY", &json!({ "amount": amount }))
            .await;
    }
    before.end().await;
    server.restart();
    let after = Listening::start(shop, reserve().await, SHOP).await;
    after
        .host
        .send(&order, "PAY", &json!({ "amount": 20 }))
        .await;
    bank.host.until_records(&account, 22).await;
    let amounts = amounts(&bank, &account).await;
    assert_eq!(amounts, (0..=20).collect::<Vec<_>>());
}

/// The host that receives is ended while there is much on its way, and so is the broker.
async fn what_waits_for_a_host_arrives_once_and_in_order(server: &mut dyn Server) {
    let folder = TempDir::new().expect("a folder");
    let config = durable(through(server), folder.path());
    let bank = Listening::start(config.clone(), reserve().await, BANK).await;
    let account = json!({ "owner": "Ada" });
    let account = bank.host.create("Bank", "Account", &account).await;
    let shop = Listening::start(through(server), reserve().await, SHOP).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    for amount in 0..10 {
        shop.host
            .send(&order, "PAY", &json!({ "amount": amount }))
            .await;
    }
    bank.end().await;
    for amount in 10..20 {
        shop.host
            .send(&order, "PAY", &json!({ "amount": amount }))
            .await;
    }
    server.kill();
    server.restart();
    for amount in 20..30 {
        shop.host
            .send(&order, "PAY", &json!({ "amount": amount }))
            .await;
    }
    let bank = Listening::start(config, reserve().await, BANK).await;
    bank.host.until_records(&account, 31).await;
    let amounts = amounts(&bank, &account).await;
    assert_eq!(amounts, (0..30).collect::<Vec<_>>());
}

/// Nothing follows what the broker had just acknowledged when it was killed.
async fn what_was_acknowledged_last_arrives(server: &mut dyn Server) {
    let folder = TempDir::new().expect("a folder");
    let config = durable(through(server), folder.path());
    let bank = Listening::start(config.clone(), reserve().await, BANK).await;
    let account = json!({ "owner": "Ada" });
    let account = bank.host.create("Bank", "Account", &account).await;
    bank.end().await;
    let shop = Listening::start(through(server), reserve().await, SHOP).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    shop.host.send(&order, "PAY", &json!({})).await;
    let relayed = "xcomponent_relayed_total{component=\"Bank\"}";
    until(&shop.host, relayed, |relayed| relayed > 0.0).await;
    server.kill();
    server.restart();
    let bank = Listening::start(config, reserve().await, BANK).await;
    bank.host.until_records(&account, 2).await;
}

async fn amounts(bank: &Listening, account: &str) -> Vec<u64> {
    let history = bank.host.history(account).await;
    let charges = history.iter().skip(1);
    let amount = |record: &Value| record["event"]["payload"]["amount"].as_u64();
    charges.filter_map(amount).collect()
}

macro_rules! conforms {
    ($broker:ident, $server:ident: $($case:ident),* $(,)?) => {
        mod $broker {
            use super::$server;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let mut server = $server::start().expect("the server starts");
                    super::$case(&mut server).await;
                }
            )*
        }
    };
}

macro_rules! all_conform {
    ($($broker:ident: $server:ident),* $(,)?) => {
        $(
            conforms!(
                $broker, $server:
                an_order_here_is_paid_there,
                what_waits_for_the_broker_arrives_once_and_in_order,
                what_waits_for_a_host_arrives_once_and_in_order,
                what_was_acknowledged_last_arrives,
            );
        )*
    };
}

conforms!(
    redis_pubsub, Redis:
    an_order_here_is_paid_there,
    what_waits_for_the_broker_arrives_once_and_in_order,
);

all_conform!(redis_streams: Streams, nats: Nats, rabbitmq: RabbitMq, kafka: Kafka);
