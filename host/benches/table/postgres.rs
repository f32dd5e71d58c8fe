//! A host that keeps its state in PostgreSQL, on the same machine.

use std::{pin::pin, time::Instant};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::{Client, NoTls};
use xcomponent_host::app::StoreConfig;
use xcomponent_servers::{Durability, Postgres};

use crate::{
    components, host, note,
    report::{Rounds, number, rate},
};

/// Events of one round.
const EVENTS: usize = 200_000;

/// Rows that are written without a host, and how many of them at once.
const BARE: [usize; 2] = [100_000, 2_048];

/// `durable_pg`, and beside it what the server does with the same rows when nobody makes them.
pub(crate) fn durable() -> anyhow::Result<Vec<Rounds>> {
    let server = Postgres::start(Durability::Full)?;
    let url = server.url("postgres");
    let store = StoreConfig::Postgres {
        primary: url.parse()?,
        replica: None,
    };
    let cache = tempfile::tempdir().context("making a folder")?;
    let bench = components::guest("bench")?;
    let rounds = host::rounds(&bench, "ADD", r#"{"quantity":1.5}"#, EVENTS, |config| {
        config.store = store;
        config.sandbox.cache_dir = Some(cache.path().to_owned());
    })?;
    note(&format!(
        "   the server alone takes {} such rows a second, {} at once",
        number(bare(&url)?),
        BARE[1]
    ));
    Ok(rounds)
}

/// Rows a second that one connection copies into a table like `events`.
fn bare(url: &str) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let rows = written(&client).await?;
        client
            .batch_execute("CREATE TABLE bare (LIKE xcomponent.events INCLUDING ALL)")
            .await?;
        let began = Instant::now();
        for batch in rows.chunks(BARE[1]) {
            let mut sink = pin!(client.copy_in("COPY bare FROM STDIN").await?);
            sink.send(Bytes::from(batch.concat())).await?;
            sink.finish().await?;
        }
        Ok(rate(rows.len(), began.elapsed().as_secs_f64()))
    })
}

/// Rows that the host has written, each as a line.
async fn written(client: &Client) -> anyhow::Result<Vec<Vec<u8>>> {
    let [rows, _] = BARE;
    let question = format!("COPY (SELECT * FROM xcomponent.events LIMIT {rows}) TO STDOUT");
    let mut lines = pin!(client.copy_out(&question).await?);
    let mut written = Vec::with_capacity(rows);
    // The server sends a message for each line.
    while let Some(line) = lines.next().await {
        written.push(line?.to_vec());
    }
    Ok(written)
}
