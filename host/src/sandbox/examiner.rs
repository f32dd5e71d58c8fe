//! Looking at what a client sent, in a process of its own, with limits on memory and time.
//!
//! Whatever somebody uploads is parsed, checked and compiled by this same program, started with
//! [`COMMAND`]: it takes its limits upon itself, reads the bytes from its standard input, and says
//! what it found on its standard output ([`message`]). The host looks at length and hash only.
//! Bytes that make a parser run wild, overflow its stack or use up its memory end that process, and
//! an examiner that was taken over can say no more than what the host reads with limits.
//!
//! ```text
//! host ──── length, bytes ────▶ examiner
//!      ◀─── refused, or report and definition ────
//!      ──── "compile", or the end ────▶
//!      ◀─── machine code ────
//! ```
//!
//! Of a definition the host gets the text, not a checked form: it checks the text once more itself.
//! That needs no second form of everything a definition can be, and nothing that an examiner says
//! about one has to be believed. It is safe since the examiner has found out before what the check
//! costs: one that takes more than [`CHECK_TIME_MAX`] or [`CHECK_BYTES_MAX`] is refused there.

mod child;
mod limits;
mod message;
mod vocabulary;

use std::{
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};
use xcomponent_core::{
    definition::{Findings, Strictness},
    limits::DEFINITION_BYTES_MAX,
};
use xcomponent_pack::ARTIFACT_BYTES_MAX;

pub use self::child::child_main;
use self::message::{Kind, Missing, REPORT_BYTES_MAX, Refusal, Report, TEXT_BYTES_MAX, receive};
use super::{config::CompileConfig, install::Methods, log::cut};
use crate::sent::Sent;

/// The hidden subcommand that makes this program an examiner.
pub const COMMAND: &str = "__examine";

/// Processor time that checking a definition may take: the host does it again.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

/// Memory that checking a definition may take.
const CHECK_BYTES_MAX: u64 = 256 << 20;

/// What an examiner writes when it fails, at most.
const FAILURE_BYTES_MAX: u64 = 4 << 10;

/// KiB of address space that the examiner's allocator takes at a time. A gigabyte, as it would
/// otherwise, is beyond the limit at once, and then nothing is left for the stack to grow into.
const ARENA_RESERVE_KIB: &str = "32768";

/// Exit code of a program of ours that panicked: bytes that make a parser do so are refused.
const PANICKED: i32 = 101;

/// Argument: what is sent is a definition.
const DEFINITION: &str = "definition";

/// Argument: definitions are judged leniently.
const LENIENT: &str = "lenient";

/// Tells the examiner to compile.
const COMPILE: u8 = b'c';

/// Why a component is not accepted, or not looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what it should be.
    #[error("{message}")]
    Refused {
        /// Stable, for programs.
        code: &'static str,
        /// What is wrong.
        message: String,
    },
    /// It costs more than it may.
    #[error("{task} the component takes more than is allowed: {limit}")]
    Limit {
        /// What was done.
        task: Task,
        /// Which limit, with its value.
        limit: String,
    },
    /// The examiner said something that it never says.
    #[error("the examiner's answer makes no sense: {problem}")]
    Nonsense {
        /// What is wrong with it.
        problem: String,
    },
    /// The examiner could not be started or talked to.
    #[error("the examiner failed")]
    Process(#[from] io::Error),
}

/// What an examiner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// It reads and checks.
    Examining,
    /// It compiles.
    Compiling,
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Examining => "examining",
            Self::Compiling => "compiling",
        })
    }
}

impl Error {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Limit {
                task: Task::Examining,
                ..
            } => "examine_limit",
            Self::Limit {
                task: Task::Compiling,
                ..
            } => "compile_limit",
            Self::Nonsense { .. } | Self::Process(_) => "examiner_failed",
        }
    }

    /// Whether the same bytes may fare otherwise another time.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self, Self::Nonsense { .. } | Self::Process(_))
    }
}

/// What an examiner found.
#[derive(Debug)]
pub(super) struct Found {
    /// Present if the definition has no errors: its text, byte for byte; if a definition was sent,
    /// the component that it was packed into.
    pub(super) accepted: Option<Vec<u8>>,
    /// What there is to say about it.
    pub(super) findings: Findings,
    /// What the code says it answers, sorted.
    pub(super) methods: Methods,
}

/// An examiner that has told what it found, and waits. Dropped, it is stopped.
pub(super) struct Examiner {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    failure: JoinHandle<io::Result<Vec<u8>>>,
    limits: CompileConfig,
}

impl Examiner {
    /// Starts an examiner, and gives it and what it found.
    ///
    /// # Errors
    ///
    /// If the bytes are not accepted, cost more than `limits` allow, or if the process fails.
    pub(super) async fn look_at(
        sent: &Sent,
        strictness: Strictness,
        limits: &CompileConfig,
    ) -> Result<(Self, Found), Error> {
        let mut examiner = Self::start(sent, strictness, limits)?;
        let bytes = sent.bytes().clone();
        let talk = async {
            let length = (bytes.len() as u64).to_le_bytes();
            // An examiner that ends early says why; that it did not read everything is no news.
            let (stdin, stdout) = (&mut examiner.stdin, &mut examiner.stdout);
            let feed = async {
                let _unread = stdin.write_all(&length).await;
                let _unread = stdin.write_all(&bytes).await;
                std::future::pending::<std::convert::Infallible>().await
            };
            tokio::select! {
                answer = found(stdout, sent.is_definition()) => answer,
                never = feed => match never {},
            }
        };
        match timeout(limits.wall_max, talk).await {
            Ok(Ok(Answer::Found(found))) => Ok((examiner, *found)),
            Ok(Ok(Answer::Refused(refused))) => Err(refused),
            Ok(Err(missing)) => Err(examiner.explain(missing, Task::Examining).await),
            Err(_) => Err(examiner.too_slow(Task::Examining)),
        }
    }

    /// Has it compile what it looked at.
    ///
    /// # Errors
    ///
    /// If that is not possible, costs more than it may, or if the process fails.
    pub(super) async fn compile(mut self) -> Result<Vec<u8>, Error> {
        let code_bytes_max = self.limits.artifact_bytes_max;
        let expected = [
            (Kind::Code, code_bytes_max),
            (Kind::Refused, REPORT_BYTES_MAX),
        ];
        let talk = async {
            let _unread = self.stdin.write_all(&[COMPILE]).await;
            receive(&mut self.stdout, &expected).await
        };
        match timeout(self.limits.wall_max, talk).await {
            Ok(Ok((Kind::Code, code))) => Ok(code),
            Ok(Ok((_, refusal))) => match refused(&refusal) {
                Ok(refused) => Err(refused),
                Err(missing) => Err(self.explain(missing, Task::Compiling).await),
            },
            Ok(Err(Missing::TooLong {
                kind: Kind::Code, ..
            })) => Err(Error::Limit {
                task: Task::Compiling,
                limit: format!("{code_bytes_max} bytes of machine code"),
            }),
            Ok(Err(missing)) => Err(self.explain(missing, Task::Compiling).await),
            Err(_) => Err(self.too_slow(Task::Compiling)),
        }
    }

    fn start(sent: &Sent, strictness: Strictness, limits: &CompileConfig) -> Result<Self, Error> {
        let mut child = Command::new(program(limits)?)
            .arg(COMMAND)
            .args([
                limits.memory_bytes_max.to_string(),
                limits.cpu_seconds_max.to_string(),
                limits.functions_max.to_string(),
            ])
            .args(sent.is_definition().then_some(DEFINITION))
            .args((strictness == Strictness::Lenient).then_some(LENIENT))
            .env_clear()
            .env("MIMALLOC_ARENA_RESERVE", ARENA_RESERVE_KIB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().expect("standard error is piped");
        Ok(Self {
            stdin: child.stdin.take().expect("standard input is piped"),
            stdout: child.stdout.take().expect("standard output is piped"),
            failure: tokio::spawn(read(stderr)),
            child,
            limits: limits.clone(),
        })
    }

    /// Why it said nothing, or nothing that makes sense.
    async fn explain(self, missing: Missing, task: Task) -> Error {
        match missing {
            Missing::Nonsense(problem) => Error::Nonsense { problem },
            Missing::TooLong { kind, bytes_max } => Error::Nonsense {
                problem: format!("a message `{kind:?}` of more than {bytes_max} bytes"),
            },
            Missing::Ended => {
                let limits = self.limits.clone();
                timeout(limits.wall_max, self.end())
                    .await
                    .unwrap_or_else(|_| {
                        Err(io::Error::other("it closed its output, and did not end").into())
                    })
                    .map_or_else(
                        |error| error,
                        |(status, said)| of_end(status, &said, task, &limits),
                    )
            }
        }
    }

    /// How it ended, and what it said then.
    async fn end(mut self) -> Result<(ExitStatus, String), Error> {
        drop((self.stdin, self.stdout));
        let status = self.child.wait().await?;
        let said = self.failure.await.map_err(io::Error::other)??;
        Ok((status, String::from_utf8_lossy(&said).into_owned()))
    }

    fn too_slow(&self, task: Task) -> Error {
        Error::Limit {
            task,
            limit: format!("{} s", self.limits.wall_max.as_secs()),
        }
    }
}

/// What an examiner says first.
enum Answer {
    Found(Box<Found>),
    Refused(Error),
}

/// Reads what was found. A definition that was sent comes back packed, a packed one by itself.
async fn found(
    stdout: &mut (impl AsyncRead + Unpin),
    is_definition: bool,
) -> Result<Answer, Missing> {
    let expected = [
        (Kind::Report, REPORT_BYTES_MAX),
        (Kind::Refused, REPORT_BYTES_MAX),
    ];
    let (kind, bytes) = receive(stdout, &expected).await?;
    if kind == Kind::Refused {
        return refused(&bytes).map(Answer::Refused);
    }
    let report: Report = message::read(&bytes)?;
    let text = match (report.accepted, is_definition) {
        (false, _) => None,
        (true, true) => Some((Kind::Packed, ARTIFACT_BYTES_MAX)),
        (true, false) => Some((Kind::Definition, DEFINITION_BYTES_MAX)),
    };
    let accepted = match text {
        Some(expected) => Some(receive(stdout, &[expected]).await?.1),
        None => None,
    };
    Ok(Answer::Found(Box::new(Found {
        accepted,
        findings: report.findings(),
        methods: report.methods(),
    })))
}

fn refused(bytes: &[u8]) -> Result<Error, Missing> {
    let refusal: Refusal = message::read(bytes)?;
    Ok(Error::Refused {
        code: vocabulary::word(&refusal.code),
        message: cut(&refusal.message, TEXT_BYTES_MAX).into_owned(),
    })
}

/// What an end without an answer means. A process that was killed met a limit.
fn of_end(status: ExitStatus, said: &str, task: Task, limits: &CompileConfig) -> Error {
    let said = said.trim();
    let (seconds, bytes) = (limits.cpu_seconds_max, limits.memory_bytes_max);
    if said.contains("memory allocation") {
        let limit = match task {
            Task::Examining => "its memory".to_owned(),
            Task::Compiling => format!("{bytes} bytes of memory"),
        };
        return Error::Limit { task, limit };
    }
    if status.code() == Some(PANICKED) {
        return Error::Refused {
            code: "examiner_gave_up",
            message: format!("{task} the component fails: {}", cut(said, TEXT_BYTES_MAX)),
        };
    }
    if status.code().is_some() {
        let problem = format!("it ended with {status}: {said}");
        return io::Error::other(problem).into();
    }
    Error::Limit {
        task,
        limit: format!("{seconds} s of processor time or {bytes} bytes of memory ({status})"),
    }
}

fn program(limits: &CompileConfig) -> io::Result<PathBuf> {
    match &limits.program {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe(),
    }
}

/// The beginning of what is written there. The rest meets a pipe that nobody reads.
async fn read(stream: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream
        .take(FAILURE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .await?;
    Ok(bytes)
}
