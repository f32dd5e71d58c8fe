//! Compiling untrusted code in a process of its own, with limits on memory and time.
//!
//! The compiler is this same program, started with [`COMMAND`]: it reads the component from its
//! standard input, takes its limits upon itself before it looks at a byte of it, and writes machine
//! code to its standard output. A component that makes the compiler run wild ends that process.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::{ExitCode, ExitStatus, Stdio},
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

use super::{config::CompileConfig, engine};

/// The hidden subcommand that makes this program a compiler.
pub const COMMAND: &str = "__compile";

/// What the compiler says about a component it cannot compile, at most.
const MESSAGE_BYTES_MAX: u64 = 4 << 10;

/// Exit code for a component that cannot be compiled; its message is on standard error.
const REFUSED: u8 = 3;

/// KiB of address space that the compiler's allocator takes at a time. A gigabyte, as it would
/// otherwise, is beyond the limit at once, and then nothing is left for the stack to grow into.
const ARENA_RESERVE_KIB: &str = "32768";

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component is not valid, or uses something that is turned off.
    #[error("the component cannot be compiled: {message}")]
    Refused {
        /// The compiler's words.
        message: String,
    },
    /// Compilation cost more than it may.
    #[error("compiling the component takes more than is allowed: {limit}")]
    Limit {
        /// Which limit, with its value.
        limit: String,
    },
    /// The compiler could not be started or talked to.
    #[error("the compiler process failed")]
    Process(#[from] io::Error),
}

impl Error {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "compile_refused",
            Self::Limit { .. } => "compile_limit",
            Self::Process(_) => "compiler_failed",
        }
    }
}

/// Compiles a component in a process of its own.
///
/// # Errors
///
/// If it is not valid, costs more than `config` allows, or if the process fails.
pub(super) async fn run(component: &[u8], config: &CompileConfig) -> Result<Vec<u8>, Error> {
    let mut child = Command::new(program(config)?)
        .arg(COMMAND)
        .args([
            config.memory_bytes_max.to_string(),
            config.cpu_seconds_max.to_string(),
        ])
        .env_clear()
        .env("MIMALLOC_ARENA_RESERVE", ARENA_RESERVE_KIB)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let feed = async move {
        // A compiler that ends early says why by its exit code; that it did not read is no news.
        let _unread = stdin.write_all(component).await;
    };
    let artifact_bytes_max = u64::try_from(config.artifact_bytes_max).unwrap_or(u64::MAX);
    let talk = async {
        tokio::join!(
            feed,
            read(stdout, artifact_bytes_max + 1),
            read(stderr, MESSAGE_BYTES_MAX)
        )
    };
    let Ok(((), artifact, message)) = timeout(config.wall_max, talk).await else {
        return Err(Error::Limit {
            limit: format!("{} s", config.wall_max.as_secs()),
        });
    };
    let artifact = artifact?;
    if artifact.len() > config.artifact_bytes_max {
        return Err(Error::Limit {
            limit: format!("{artifact_bytes_max} bytes of machine code"),
        });
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(artifact);
    }
    Err(refusal(status, &String::from_utf8_lossy(&message?), config))
}

/// Runs the compiler's side: `args` are what follows [`COMMAND`].
pub fn child_main(args: impl IntoIterator<Item = String>) -> ExitCode {
    match compile(args.into_iter()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody is left to tell if this fails too.
            let _unheard = writeln!(io::stderr(), "{message}");
            ExitCode::from(REFUSED)
        }
    }
}

fn compile(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    let mut number = |what| {
        args.next()
            .and_then(|arg| arg.parse().ok())
            .ok_or_else(|| format!("expected {what}"))
    };
    let memory_bytes_max = number("a number of bytes of memory")?;
    let cpu_seconds_max = number("a number of seconds of processor time")?;
    limit(memory_bytes_max, cpu_seconds_max)
        .map_err(|error| format!("the compiler's limits cannot be set: {error}"))?;
    let mut component = Vec::new();
    io::stdin()
        .read_to_end(&mut component)
        .map_err(|error| error.to_string())?;
    let engine = engine::compiler().map_err(|error| format!("{error:#}"))?;
    let artifact = engine
        .precompile_component(&component)
        .map_err(|error| format!("{error:#}"))?;
    io::stdout()
        .write_all(&artifact)
        .map_err(|error| error.to_string())
}

/// Limits this process: address space, processor time, no core dump, no file of its own.
fn limit(memory_bytes_max: u64, cpu_seconds_max: u64) -> rustix::io::Result<()> {
    let exactly = |maximum| Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    setrlimit(Resource::As, exactly(memory_bytes_max))?;
    setrlimit(Resource::Cpu, exactly(cpu_seconds_max))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Fsize, exactly(0))
}

fn program(config: &CompileConfig) -> io::Result<PathBuf> {
    match &config.program {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe(),
    }
}

async fn read(stream: impl AsyncRead + Unpin, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// What an exit that is no success means. A process that was killed met a limit.
fn refusal(status: ExitStatus, message: &str, config: &CompileConfig) -> Error {
    let message = message.trim();
    if status.code() == Some(i32::from(REFUSED)) {
        return Error::Refused {
            message: message.to_owned(),
        };
    }
    if message.contains("memory allocation") {
        return Error::Limit {
            limit: format!("{} bytes of memory", config.memory_bytes_max),
        };
    }
    let (seconds, bytes) = (config.cpu_seconds_max, config.memory_bytes_max);
    Error::Limit {
        limit: format!("{seconds} s of processor time or {bytes} bytes of memory ({status})"),
    }
}
