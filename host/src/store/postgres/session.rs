//! One connection, for callers that may wait.
//!
//! A session owns the runtime that moves its bytes, so that a question is asked and answered on the
//! caller's own thread, and a broken connection ends with nobody but its owner.
//!
//! Through a pooler a connection to the server is this session's only as long as a transaction
//! lasts: each transaction then says anew how it is to behave, what stands alone gets one of its own,
//! and no statement stays prepared.

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
    statements: Statements,
    in_transaction: bool,
}

/// What is known of statements that were executed before, by their text.
enum Statements {
    /// The server knows them.
    Prepared(HashMap<String, Statement>),
    /// The server is another each time, and learns from each transaction how it is to behave; only
    /// the types of the values are known.
    Typed {
        set_up: String,
        types: HashMap<String, Vec<Type>>,
    },
}

impl Session {
    /// Connects and says how the session is to behave.
    pub(super) fn open(target: &Target, set_up: String) -> Result<Self, ConnectError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Runtime)?;
        let client = runtime.block_on(async {
            let client = connect(target).await?;
            if !target.is_pooled {
                client.batch_execute(&set_up).await?;
            }
            Ok::<_, ConnectError>(client)
        })?;
        Ok(Self {
            runtime: Some(runtime),
            client,
            statements: match target.is_pooled {
                false => Statements::Prepared(HashMap::new()),
                true => Statements::Typed {
                    set_up,
                    types: HashMap::new(),
                },
            },
            in_transaction: false,
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
        match self.known(question)? {
            Known::Prepared(statement) => self.block_on(self.client.query(&statement, values)),
            Known::Typed(types) => {
                let typed = typed(values, types);
                self.whole(self.client.query_typed(question, &typed))
            }
        }
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
        match self.known(statement)? {
            Known::Prepared(known) => self.block_on(self.client.execute(&known, values)),
            Known::Typed(types) => {
                let typed = typed(values, types);
                self.whole(self.client.execute_typed(statement, &typed))
            }
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let begin = match &self.statements {
            Statements::Prepared(_) => "BEGIN".to_owned(),
            Statements::Typed { set_up, .. } => format!("BEGIN; {set_up}"),
        };
        self.batch(&begin)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Commits it, together with these last statements. If that fails, it is to be rolled back.
    pub(super) fn commit(&mut self, last: &str) -> Result<(), Error> {
        self.batch(&format!("{last}; COMMIT"))?;
        self.in_transaction = false;
        Ok(())
    }

    /// Undoes it.
    pub(super) fn roll_back(&mut self) -> Result<(), Error> {
        self.batch("ROLLBACK")?;
        self.in_transaction = false;
        Ok(())
    }

    /// Executes statements without values in a transaction of their own.
    pub(super) fn transact(&mut self, statements: &str) -> Result<(), Error> {
        self.begin()?;
        let done = self.commit(statements);
        if done.is_err() {
            // What failed first matters.
            let _ = self.roll_back();
        }
        done
    }

    /// Executes statements without values, as part of a transaction.
    pub(super) fn batch(&self, statements: &str) -> Result<(), Error> {
        self.block_on(self.client.batch_execute(statements))
    }

    /// Copies rows into a table, as part of a transaction.
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

    /// Learns what there is to know about a statement that will be executed: until it is, nothing
    /// is changed.
    pub(super) fn prepare(&mut self, statement: &str) -> Result<(), Error> {
        self.known(statement).map(drop)
    }

    /// What is known about a statement; the server is asked once.
    fn known(&mut self, text: &str) -> Result<Known, Error> {
        match &self.statements {
            Statements::Prepared(known) => {
                if let Some(statement) = known.get(text) {
                    return Ok(Known::Prepared(statement.clone()));
                }
            }
            Statements::Typed { types, .. } => {
                if let Some(types) = types.get(text) {
                    return Ok(Known::Typed(types.clone()));
                }
            }
        }
        let is_alone = !self.in_transaction && matches!(self.statements, Statements::Typed { .. });
        if is_alone {
            self.begin()?;
        }
        let learnt = self.learn(text);
        if is_alone {
            // What it knows of the statement is gone before another may have it.
            self.roll_back()?;
        }
        learnt
    }

    fn learn(&mut self, text: &str) -> Result<Known, Error> {
        let statement = self.block_on(self.client.prepare(text))?;
        Ok(match &mut self.statements {
            Statements::Prepared(known) => {
                known.insert(text.to_owned(), statement.clone());
                Known::Prepared(statement)
            }
            Statements::Typed { types, .. } => {
                let found = statement.params().to_vec();
                types.insert(text.to_owned(), found.clone());
                Known::Typed(found)
            }
        })
    }

    /// Lets something happen within one transaction: the one that has begun, or one of its own.
    fn whole<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Statements::Typed { set_up, .. } = &self.statements else {
            return self.block_on(work);
        };
        if self.in_transaction {
            return self.block_on(work);
        }
        let begin = format!("BEGIN; {set_up}");
        // Sent at once and answered one after the other: if the work fails, so does what ends it, and
        // nothing has happened.
        let (begun, done, ended) = self.block_on(async {
            tokio::join!(
                biased;
                self.client.batch_execute(&begin),
                work,
                self.client.batch_execute("COMMIT"),
            )
        });
        begun?;
        let done = done?;
        ended?;
        Ok(done)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref();
        runtime
            .expect("the runtime is there until the session ends")
            .block_on(future)
    }
}

/// A statement as it is executed.
enum Known {
    Prepared(Statement),
    Typed(Vec<Type>),
}

fn typed<'v>(values: Values<'v>, types: Vec<Type>) -> Vec<(&'v (dyn ToSql + Sync), Type)> {
    values.iter().copied().zip(types).collect()
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
