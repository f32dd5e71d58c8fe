//! Two hosts, of which one copies what happens at the other: either is killed, and what is between
//! them.

use std::{path::Path, time::Duration};

use anyhow::Result;
use xcomponent_servers::{Kafka, Nats, RabbitMq, Redis, free_port};

use super::{Chance, Clients, LIFE_MS, Over, Urls, host::Host, pause};
use crate::command::say;

/// Of so many kills one is of the broker.
const BROKER_EVERY: usize = 5;

/// What is between the hosts.
enum Between {
    /// Nothing: each knows where the other is.
    Nothing([u16; 2]),
    Redis(Redis),
    Nats(Nats),
    RabbitMq(RabbitMq),
    Kafka(Kafka),
}

impl Between {
    fn start(over: Over) -> Result<Self> {
        Ok(match over {
            Over::Http => Self::Nothing([free_port()?, free_port()?]),
            Over::RedisStreams => Self::Redis(Redis::start()?),
            Over::Nats => Self::Nats(Nats::start()?),
            Over::Rabbitmq => Self::RabbitMq(RabbitMq::start()?),
            Over::Kafka => {
                Kafka::install()?;
                Self::Kafka(Kafka::start()?)
            }
        })
    }

    /// What the hosts are told of it: the first has the accounts, the second the mirrors.
    fn arguments(&self, host: usize) -> [String; 2] {
        let broker = |url: String| ["--broker".to_owned(), url];
        match self {
            Self::Nothing(ports) => {
                let (component, other) = (["Mirrors", "Ledger"][host], ports[1 - host]);
                let peer = format!("{component}=http://127.0.0.1:{other}");
                ["--peer".to_owned(), peer]
            }
            Self::Redis(redis) => broker(redis.url().replacen("redis:", "redis+streams:", 1)),
            Self::Nats(nats) => broker(nats.url()),
            Self::RabbitMq(rabbit) => broker(rabbit.url()),
            Self::Kafka(kafka) => broker(kafka.url()),
        }
    }

    fn port(&self, host: usize) -> u16 {
        match self {
            Self::Nothing(ports) => ports[host],
            Self::Redis(_) | Self::Nats(_) | Self::RabbitMq(_) | Self::Kafka(_) => 0,
        }
    }

    /// Kills it and starts it again; whether there is something to kill.
    fn crash(&mut self) -> Result<bool> {
        match self {
            Self::Nothing(_) => return Ok(false),
            Self::Redis(redis) => {
                redis.kill()?;
                redis.restart()?;
            }
            Self::Nats(nats) => {
                nats.kill()?;
                nats.restart()?;
            }
            Self::RabbitMq(rabbit) => {
                rabbit.kill()?;
                rabbit.restart()?;
            }
            Self::Kafka(kafka) => {
                kafka.kill()?;
                kafka.restart()?;
            }
        }
        Ok(true)
    }
}

/// Kills hosts that work, and what is between them, and checks that nothing acknowledged was lost or
/// done twice, and that everything came in order.
pub(super) fn kill_and_compare(
    program: &Path,
    folder: &Path,
    over: Over,
    kills: usize,
    seed: u64,
) -> Result<String> {
    let mut between = Between::start(over)?;
    let start = |between: &Between, host: usize, port: u16| {
        let [option, value] = between.arguments(host);
        let (component, data) = [("ledger.yaml", "data-1"), ("mirrors.yaml", "data-2")][host];
        let arguments = [component, "--data", data, &*option, &*value];
        Host::start_with(program, folder, &arguments, port)
    };
    let mut hosts = Vec::new();
    for host in [0, 1] {
        hosts.push(start(&between, host, between.port(host))?);
    }
    let urls = Urls {
        accounts: hosts[0].url().to_owned(),
        mirrors: hosts[1].url().to_owned(),
        standby: None,
    };
    let clients = Clients::start(&urls);
    let mut chance = Chance(seed);
    let mut brokers = 0;
    for kill in 1..=kills {
        pause(Duration::from_millis(
            LIFE_MS[0] + chance.next() % LIFE_MS[1],
        ));
        if kill % BROKER_EVERY == 0 && between.crash()? {
            brokers += 1;
            continue;
        }
        let victim = usize::from(chance.next().is_multiple_of(2));
        let port = hosts[victim].port();
        hosts[victim].kill()?;
        hosts[victim] = start(&between, victim, port)?;
        if kill % 10 == 0 {
            say(&format!("   {kill} of {kills} kills"));
        }
    }
    let verdict = clients.stop_and_compare(&urls)?;
    Ok(format!(
        "{kills} kills ({brokers} of the broker): {verdict}"
    ))
}
