//! What a host accepts, as far as the command line says it.

use clap::Args;
use xcomponent_core::time::Duration;

use super::super::span;
use crate::{
    app::Config,
    memory::{self, Memory},
};

/// Limits that differ from the documented ones.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// Memory that the host may use, as in `1GiB` or `512MiB`; half of the machine's where absent.
    /// Requests that do not fit are refused, accepted work waits on the disk.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_max: Option<usize>,
    /// Sandboxes that may exist at one time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sandboxes: Option<u32>,
    /// Work that one call of a method may do, in millions of units of fuel; 400 are about 100 ms.
    #[arg(long, value_name = "MILLIONS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    fuel: Option<u32>,
    /// Memory of one sandbox, in MiB.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4096))]
    sandbox_memory: Option<u16>,
    /// Events that may wait at one instance.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    mailbox: Option<u32>,
    /// How long answers to repeated ids are remembered, as in `7d`.
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    dedup_retention: Option<Duration>,
    /// How long nothing happens to an instance before it leaves memory, as in `10m`; it comes back
    /// with its next event or deadline. `never` keeps all in memory.
    #[arg(long, value_name = "SPAN", value_parser = parse_idle, default_value = "10m")]
    passivate_after: Idle,
    /// History that is kept in memory, in MiB; finished instances go first.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    history: Option<u32>,
}

/// After how long an instance leaves memory; none = never.
#[derive(Clone, Copy, Debug)]
struct Idle(Option<Duration>);

fn parse_idle(text: &str) -> Result<Idle, String> {
    if text == "never" {
        return Ok(Idle(None));
    }
    let span = span::parse(text).map_err(|problem| format!("{problem}; or `never`"))?;
    Ok(Idle(Some(span)))
}

/// Units of bytes, the longest first.
const UNITS: [(&str, usize); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

fn parse_bytes(text: &str) -> Result<usize, String> {
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (unit, factor) = unit.copied().unwrap_or(("", 1));
    let number = text.strip_suffix(unit).unwrap_or(text).trim_end();
    let bytes = number
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(factor));
    let bytes = bytes.ok_or("expected a number of bytes, as in `1GiB` or `512MiB`")?;
    if bytes < memory::BYTES_MIN {
        return Err(format!("expected at least {}MiB", memory::BYTES_MIN >> 20));
    }
    Ok(bytes)
}

impl Limits {
    /// Puts those that are given into a configuration.
    pub(super) fn apply(&self, config: &mut Config) {
        if let Some(bytes) = self.memory_max {
            config.memory = Memory::new(bytes);
        }
        if let Some(sandboxes) = self.sandboxes {
            config.sandbox.sandboxes_max = sandboxes as usize;
        }
        if let Some(millions) = self.fuel {
            config.sandbox.fuel_per_call_max = u64::from(millions) * 1_000_000;
        }
        if let Some(mib) = self.sandbox_memory {
            config.sandbox.memory_bytes_max = usize::from(mib) << 20;
        }
        if let Some(mailbox) = self.mailbox {
            config.limits.mailbox_max = mailbox as usize;
        }
        if let Some(retention) = self.dedup_retention {
            config.limits.dedup_retention = retention;
        }
        config.limits.passivate_after = self.passivate_after.0;
        if let Some(mib) = self.history {
            config.history_bytes_max = (mib as usize) << 20;
        }
    }
}
