//! The table: medians with their spread, for people and as JSON, the machine named.

use std::fmt;

use serde::Serialize;

/// The values of one row, one for each round.
pub(crate) type Rounds = Vec<f64>;

/// What is measured, and what it must reach.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
}

/// What a row must reach on the machine the project is measured on.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Table {
    machine: Machine,
    rows: Vec<Measured>,
}

/// Where it was measured.
#[derive(Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
}

/// One line of the table.
#[derive(Serialize)]
struct Measured {
    name: &'static str,
    median: f64,
    min: f64,
    max: f64,
    unit: &'static str,
    must_reach: f64,
    #[serde(skip)]
    bound: Bound,
}

impl Table {
    /// An empty table for this machine.
    pub(crate) fn new() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == "model name").then(|| value.trim().to_owned())
        });
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            machine: Machine {
                cpu: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
                cores: cores(),
                kernel: kernel.trim().to_owned(),
            },
            rows: Vec::new(),
        }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, row: &Row, mut rounds: Rounds) {
        rounds.sort_by(f64::total_cmp);
        let (Bound::AtLeast(must_reach) | Bound::AtMost(must_reach)) = row.bound;
        self.rows.push(Measured {
            name: row.name,
            median: rounds[rounds.len() / 2],
            min: rounds[0],
            max: rounds[rounds.len() - 1],
            unit: row.unit,
            must_reach,
            bound: row.bound,
        });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, kernel } = &self.machine;
        writeln!(f, "{cpu}, {cores} cores, Linux {kernel}\n")?;
        writeln!(
            f,
            "{:<24} {:>12} {:>12} {:>12}  {:<6} {:>13}",
            "row", "median", "min", "max", "unit", "must reach"
        )?;
        for row in &self.rows {
            let (sign, reached) = match row.bound {
                Bound::AtLeast(bound) => ('≥', row.median >= bound),
                Bound::AtMost(bound) => ('≤', row.median <= bound),
            };
            writeln!(
                f,
                "{:<24} {:>12} {:>12} {:>12}  {:<6} {:>13}{}",
                row.name,
                number(row.median),
                number(row.min),
                number(row.max),
                row.unit,
                format!("{sign} {}", number(row.must_reach)),
                if reached { "" } else { "  missed" },
            )?;
        }
        Ok(())
    }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The value below which this share of the values lies. Sorts them.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a length is a length"
    )]
    let at = (values.len() as f64 * share) as usize;
    values[at.min(values.len() - 1)]
}

/// Per second.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^52"
)]
pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// Large numbers without decimals and in groups of three, small ones with what matters of them.
pub(crate) fn number(value: f64) -> String {
    if value < 1_000.0 {
        let decimals = if value < 10.0 { 2 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}
