//! What a host accepts, as far as the command line says it.

use clap::Args;
use xcomponent_core::time::Duration;

use super::super::span;
use crate::app::Config;

/// Limits that differ from the documented ones.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
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
    /// History that is kept in memory, in MiB; finished instances go first.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    history: Option<u32>,
}

impl Limits {
    /// Puts those that are given into a configuration.
    pub(super) fn apply(&self, config: &mut Config) {
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
        if let Some(mib) = self.history {
            config.history_bytes_max = (mib as usize) << 20;
        }
    }
}
