//! A catalog in PostgreSQL: two tables in a schema of their own. Asks nothing that needs a session, so
//! that a pooler may stand in between.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::{Mutex, Notify};
use tokio_postgres::{
    Client, Error,
    types::{ToSql, Type},
};

use super::{Catalog, Kind, Swap, Swapped, Unreachable, View};
use crate::store::postgres::{Target, connect};

/// What the schema's name ends with.
const SUFFIX: &str = "_registry";

/// Longest name of a schema: what PostgreSQL does not cut off.
const SCHEMA_BYTES_MAX: usize = 63;

/// How often it is looked whether something has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Held while the tables are made.
const MAKING: i64 = 0x7863_5f72_6567;

/// A catalog in PostgreSQL.
pub(super) struct PostgresCatalog {
    name: String,
    target: Target,
    schema: String,
    /// None until it is asked for, and again when it is lost.
    client: Mutex<Option<Arc<Client>>>,
}

impl PostgresCatalog {
    /// The database at an address such as `postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME`; its
    /// tables are in the schema `NAME_registry`.
    pub(super) fn new(address: &str) -> Result<Self, String> {
        let target: Target = address.parse().map_err(|error| format!("{error}"))?;
        let schema = format!("{}{SUFFIX}", target.schema());
        if schema.len() > SCHEMA_BYTES_MAX {
            let most = SCHEMA_BYTES_MAX - SUFFIX.len();
            return Err(format!("a schema's name has at most {most} letters here"));
        }
        Ok(Self {
            name: target.to_string(),
            target,
            schema,
            client: Mutex::default(),
        })
    }

    /// The connection, which is made and made again when it is needed.
    async fn client(&self) -> Result<Arc<Client>, Unreachable> {
        let mut held = self.client.lock().await;
        if let Some(client) = held.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = connect(&self.target).await;
        let client = client.map_err(|error| Unreachable::because_of(&error))?;
        let made = self.make(&client).await;
        made.map_err(|error| Unreachable::because_of(&error))?;
        let client = Arc::new(client);
        *held = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Makes the tables, if they are not there.
    async fn make(&self, client: &Client) -> Result<(), Error> {
        let schema = &self.schema;
        let make = format!(
            "BEGIN;
             SELECT pg_advisory_xact_lock({MAKING});
             CREATE SCHEMA IF NOT EXISTS {schema};
             CREATE TABLE IF NOT EXISTS {schema}.record (
                 kind text NOT NULL, key text NOT NULL, value text NOT NULL,
                 PRIMARY KEY (kind, key));
             CREATE TABLE IF NOT EXISTS {schema}.generation (
                 one boolean PRIMARY KEY CHECK (one), number bigint NOT NULL);
             INSERT INTO {schema}.generation VALUES (true, 0) ON CONFLICT DO NOTHING;
             COMMIT"
        );
        client.batch_execute(&make).await
    }

    async fn generation(&self, client: &Client) -> Result<u64, Error> {
        let question = format!("SELECT number FROM {}.generation", self.schema);
        let rows = client.query_typed(&question, &[]).await?;
        let number: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(number.unsigned_abs())
    }

    async fn records(&self, client: &Client, kind: Kind) -> Result<Vec<(String, String)>, Error> {
        let question = format!(
            "SELECT key, value FROM {}.record WHERE kind = $1",
            self.schema
        );
        let rows = client
            .query_typed(&question, &[(&word(kind), Type::TEXT)])
            .await?;
        let record = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(record).collect()
    }

    async fn look(&self, known: Option<u64>) -> Result<View, Unreachable> {
        let client = self.client().await?;
        let asked = async {
            // Before the components: what changes in between is looked at again.
            let generation = self.generation(&client).await?;
            Ok(View {
                hosts: self.records(&client, Kind::Host).await?,
                generation,
                components: match known == Some(generation) {
                    true => None,
                    false => Some(self.records(&client, Kind::Component).await?),
                },
            })
        };
        let asked: Result<View, Error> = asked.await;
        asked.map_err(|error| Unreachable::because_of(&error))
    }

    async fn change(&self, swap: Swap<'_>) -> Result<Swapped, Unreachable> {
        let client = self.client().await?;
        let asked = self.try_change(&client, swap).await;
        asked.map_err(|error| Unreachable::because_of(&error))
    }

    async fn try_change(&self, client: &Client, swap: Swap<'_>) -> Result<Swapped, Error> {
        let schema = &self.schema;
        let record = format!("{schema}.record");
        let change = match (swap.from, swap.to) {
            (None, None) => "SELECT 1 WHERE $3::text IS NULL AND $4::text IS NULL".to_owned(),
            (None, Some(_)) => format!(
                "INSERT INTO {record} SELECT $1, $2, $4 WHERE $3::text IS NULL
                 ON CONFLICT DO NOTHING RETURNING 1"
            ),
            (Some(_), Some(_)) => format!(
                "UPDATE {record} SET value = $4 WHERE kind = $1 AND key = $2 AND value = $3
                 RETURNING 1"
            ),
            (Some(_), None) => format!(
                "DELETE FROM {record} WHERE kind = $1 AND key = $2 AND value = $3
                 AND $4::text IS NULL RETURNING 1"
            ),
        };
        let statement = format!(
            "WITH changed AS ({change}), told AS (
                 UPDATE {schema}.generation SET number = number + 1
                 WHERE $5 AND EXISTS (SELECT FROM changed))
             SELECT count(*) FROM changed"
        );
        let kind = word(swap.kind);
        let values: [(&(dyn ToSql + Sync), Type); 5] = [
            (&kind, Type::TEXT),
            (&swap.key, Type::TEXT),
            (&swap.from, Type::TEXT),
            (&swap.to, Type::TEXT),
            (&swap.tell, Type::BOOL),
        ];
        let rows = client.query_typed(&statement, &values).await?;
        let changed: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if changed > 0 {
            return Ok(Swapped::Done);
        }
        let question = format!("SELECT value FROM {record} WHERE kind = $1 AND key = $2");
        let now = client.query_typed(&question, &values[..2]).await?;
        let now: Option<Option<String>> = now.first().map(|row| row.try_get(0)).transpose()?;
        Ok(Swapped::Other(now.flatten()))
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "host",
        Kind::Component => "component",
    }
}

impl Catalog for PostgresCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, known: Option<u64>) -> BoxFuture<'_, Result<View, Unreachable>> {
        self.look(known).boxed()
    }

    fn swap<'s>(&'s self, swap: Swap<'s>) -> BoxFuture<'s, Result<Swapped, Unreachable>> {
        self.change(swap).boxed()
    }

    fn watch(self: Arc<Self>, news: Arc<Notify>) -> BoxFuture<'static, ()> {
        async move {
            let mut seen = None;
            loop {
                if let Ok(client) = self.client().await
                    && let Ok(generation) = self.generation(&client).await
                    && seen.replace(generation) != Some(generation)
                {
                    news.notify_one();
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        .boxed()
    }
}
