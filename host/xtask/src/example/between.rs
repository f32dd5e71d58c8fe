//! What is between two hosts, as it is started for an example.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::json;
use xcomponent_servers::{Kafka, Nats, RabbitMq, Redis, free_port};

use crate::{
    command::{built, say},
    guests,
    host::Host,
};

/// What is between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    #[value(name = "distributed-http")]
    Http,
    #[value(name = "distributed-redis")]
    Redis,
    #[value(name = "distributed-nats")]
    Nats,
    #[value(name = "distributed-rabbitmq")]
    Rabbitmq,
    #[value(name = "distributed-kafka")]
    Kafka,
    #[value(name = "distributed-registry")]
    Registry,
}

impl Way {
    pub(super) const ALL: [Self; 6] = [
        Self::Http,
        Self::Redis,
        Self::Nats,
        Self::Rabbitmq,
        Self::Kafka,
        Self::Registry,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Http => "Two hosts that know each other's address",
            Self::Redis => "Two hosts and Redis Streams between them",
            Self::Nats => "Two hosts and NATS JetStream between them",
            Self::Rabbitmq => "Two hosts and RabbitMQ between them",
            Self::Kafka => "Two hosts and Kafka between them",
            Self::Registry => "Two hosts that find each other in a registry",
        }
    }
}

/// It, started. Dropped, it is stopped.
pub(super) enum Between {
    Nothing([u16; 2]),
    Redis(Redis),
    Nats(Nats),
    RabbitMq(RabbitMq),
    Kafka(Kafka),
    Registry(Redis),
}

impl Between {
    pub(super) fn start(way: Way) -> Result<Self> {
        Ok(match way {
            Way::Http => Self::Nothing([free_port()?, free_port()?]),
            Way::Redis => Self::Redis(redis()?),
            Way::Nats => {
                Nats::install()?;
                Self::Nats(Nats::start()?)
            }
            Way::Rabbitmq => {
                RabbitMq::install()?;
                Self::RabbitMq(RabbitMq::start()?)
            }
            Way::Kafka => {
                Kafka::install()?;
                Self::Kafka(Kafka::start()?)
            }
            Way::Registry => Self::Registry(redis()?),
        })
    }

    /// What a host is told of it: the first has the orders, the second the payments.
    pub(super) fn arguments(&self, host: usize) -> Vec<String> {
        let [option, value] = match self {
            Self::Nothing(ports) => {
                let other = ["PaymentComponent", "OrderComponent"][host];
                let at = ports[1 - host];
                ["--peer", &format!("{other}=http://127.0.0.1:{at}")].map(str::to_owned)
            }
            Self::Redis(redis) => {
                let url = redis.url().replacen("redis:", "redis+streams:", 1);
                ["--broker".to_owned(), url]
            }
            Self::Nats(nats) => ["--broker".to_owned(), nats.url()],
            Self::RabbitMq(rabbit) => ["--broker".to_owned(), rabbit.url()],
            Self::Kafka(kafka) => ["--broker".to_owned(), kafka.url()],
            Self::Registry(redis) => ["--registry".to_owned(), redis.url()],
        };
        vec![option, value]
    }

    /// Where a host must listen; 0 = anywhere.
    pub(super) fn port(&self, host: usize) -> u16 {
        match self {
            Self::Nothing(ports) => ports[host],
            Self::Redis(_)
            | Self::Nats(_)
            | Self::RabbitMq(_)
            | Self::Kafka(_)
            | Self::Registry(_) => 0,
        }
    }

    /// Shows what is particular about it.
    pub(super) fn show(&self, shop: &Host) -> Result<()> {
        match self {
            Self::Nothing(_) => {
                say("\nWhat is asked of a component is answered by whoever has it:\n");
                let path = "components/PaymentComponent/machines/Payment/events";
                let tally = shop.post(path, &json!({ "event": "CANCEL" }), 200)?;
                say(&format!("{tally}"));
                Ok(())
            }
            Self::Registry(redis) => {
                say("\nWho has what, and that nobody else may have it:\n");
                say("$ xcomponent registry list");
                let listed = xcomponent(&["registry", "list", "--registry", &redis.url()])?;
                say(listed.0.trim_end());
                let payment = guests::path("payment");
                let payment = payment.to_str().context("a path that is text")?;
                let third = [
                    "--store",
                    "memory",
                    "--port",
                    "0",
                    "--registry",
                    &redis.url(),
                ];
                say("$ xcomponent serve payment.wasm …");
                let refused = xcomponent(&[&["serve", payment], &third[..]].concat())?;
                ensure!(!refused.1, "a component has one owner");
                say(refused.0.trim_end());
                Ok(())
            }
            Self::Redis(_) | Self::Nats(_) | Self::RabbitMq(_) | Self::Kafka(_) => Ok(()),
        }
    }
}

fn redis() -> Result<Redis> {
    Redis::install()?;
    Redis::start()
}

/// Runs the program: what it says, and whether it succeeds.
fn xcomponent(arguments: &[&str]) -> Result<(String, bool)> {
    let output = Command::new(built("xcomponent")).args(arguments).output();
    let output = output.context("starting the program")?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    Ok((told, output.status.success()))
}
