//! One connection, for callers that may wait.
//!
//! A session owns the runtime that moves its bytes, so that a question is asked and answered on the
//! caller's own thread, and a broken connection ends with nobody but its owner.

use std::{future::Future, pin::pin};

use hashbrown::HashMap;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{
    Client, Error, Row, Statement,
    binary_copy::BinaryCopyInWriter,
    error::Severity,
    types::{ToSql, Type},
};

use super::{
    config::Target,
    connect::{ConnectError, connect},
};

/// Values of a statement.
pub(super) type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

/// One connection.
pub(super) struct Session {
    /// Always there; taken out when the session ends.
    runtime: Option<Runtime>,
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Session {
    /// Connects and says how the session is to behave.
    pub(super) fn open(target: &Target, set_up: &str) -> Result<Self, ConnectError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Runtime)?;
        let client = runtime.block_on(async {
            let client = connect(target).await?;
            client.batch_execute(set_up).await?;
            Ok::<_, ConnectError>(client)
        })?;
        Ok(Self {
            runtime: Some(runtime),
            client,
            statements: HashMap::new(),
        })
    }

    /// Whether the server has not hung up, as far as can be told without asking it.
    pub(super) fn is_alive(&self) -> bool {
        // Once for the runtime to see what has come meanwhile, once for the connection to read it.
        self.block_on(async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
        !self.client.is_closed()
    }

    /// Asks for rows.
    pub(super) fn ask(&mut self, question: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(question)?;
        self.block_on(self.client.query(&statement, values))
    }

    /// Asks for the first row.
    pub(super) fn ask_one(
        &mut self,
        question: &str,
        values: Values<'_>,
    ) -> Result<Option<Row>, Error> {
        Ok(self.ask(question, values)?.into_iter().next())
    }

    /// Executes a statement and says how many rows it changed.
    pub(super) fn execute(&mut self, statement: &str, values: Values<'_>) -> Result<u64, Error> {
        let statement = self.prepared(statement)?;
        self.block_on(self.client.execute(&statement, values))
    }

    /// Executes statements without values.
    pub(super) fn batch(&self, statements: &str) -> Result<(), Error> {
        self.block_on(self.client.batch_execute(statements))
    }

    /// Copies rows into a table.
    pub(super) fn copy<V: ToSql + Sync, const N: usize>(
        &self,
        statement: &str,
        types: &[Type; N],
        rows: impl Iterator<Item = [V; N]>,
    ) -> Result<u64, Error> {
        self.block_on(async {
            let sink = self.client.copy_in(statement).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
            for row in rows {
                writer.as_mut().write_raw(&row).await?;
            }
            writer.finish().await
        })
    }

    /// Tells the server a statement that will be executed.
    pub(super) fn prepare(&mut self, statement: &str) -> Result<(), Error> {
        self.prepared(statement).map(drop)
    }

    /// The statement as the server knows it; it is told once.
    fn prepared(&mut self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.block_on(self.client.prepare(text))?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref();
        runtime
            .expect("the runtime is there until the session ends")
            .block_on(future)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // An asynchronous task may be the last to let go of it, and may not wait for its end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether the statement that failed so changed nothing for certain: the server says that it gave
/// it up, and goes on. Everything else may have hit it after it was done.
pub(super) fn is_certain(error: &Error) -> bool {
    let severity = error
        .as_db_error()
        .and_then(|error| error.parsed_severity());
    severity == Some(Severity::Error)
}
