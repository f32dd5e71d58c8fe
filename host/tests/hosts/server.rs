//! Servers between hosts, which tests kill and start again.

use xcomponent_servers::{Kafka, Nats, Postgres, RabbitMq, Redis};

/// A server of some kind.
pub(crate) trait Server {
    fn url(&self) -> String;
    fn kill(&mut self);
    fn restart(&mut self);
}

macro_rules! server {
    ($kind:ident, |$server:ident| $url:expr) => {
        impl Server for $kind {
            fn url(&self) -> String {
                let $server = self;
                $url
            }

            fn kill(&mut self) {
                $kind::kill(self).expect("it ends");
            }

            fn restart(&mut self) {
                $kind::restart(self).expect("it starts");
            }
        }
    };
}

server!(Redis, |redis| Redis::url(redis));
server!(Nats, |nats| Nats::url(nats));
server!(RabbitMq, |rabbit| RabbitMq::url(rabbit));
server!(Postgres, |postgres| Postgres::url(postgres, "postgres"));
server!(Kafka, |kafka| Kafka::url(kafka));
