//! `cargo xtask bench`: what this host does per second, and what an instance costs.
//!
//! Rows that share a set-up are measured together, in a process of their own, so that none finds
//! the memory of another. Every value is the median of five rounds, unless its row says otherwise.

#[path = "table/cascade.rs"]
mod cascade;
#[path = "table/components.rs"]
mod components;
#[path = "table/durable.rs"]
mod durable;
#[path = "table/engine.rs"]
mod engine;
#[path = "table/host.rs"]
mod host;
#[path = "table/http.rs"]
mod http;
#[path = "table/idle.rs"]
mod idle;
#[path = "table/load.rs"]
mod load;
#[path = "table/neighbour.rs"]
mod neighbour;
#[path = "table/passivated.rs"]
mod passivated;
#[path = "table/postgres.rs"]
mod postgres;
#[path = "table/remote.rs"]
mod remote;
#[path = "table/report.rs"]
mod report;
#[path = "table/retention.rs"]
mod retention;
#[path = "table/start.rs"]
mod start;
#[path = "table/upload.rs"]
mod upload;

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, bail, ensure};

use self::report::{Bound, Rounds, Row, Table};

/// Rounds of every measurement.
const ROUNDS: usize = 5;

/// First argument of the process that measures one group.
const MEASURE: &str = "--measure";

/// Rows that are measured together.
struct Group {
    rows: &'static [Row],
    /// Gives the rounds of each row, in the order of `rows`.
    measure: fn() -> anyhow::Result<Vec<Rounds>>,
}

const fn at_least(name: &'static str, must_reach: f64, unit: &'static str) -> Row {
    Row {
        name,
        unit,
        bound: Bound::AtLeast(must_reach),
    }
}

const fn at_most(name: &'static str, must_reach: f64, unit: &'static str) -> Row {
    Row {
        name,
        unit,
        bound: Bound::AtMost(must_reach),
    }
}

/// Every row, in the order of the table.
const GROUPS: &[Group] = &[
    Group {
        rows: &[at_least("engine_1t", 1_000_000.0, "/s")],
        measure: engine::alone,
    },
    Group {
        rows: &[at_least("host_2s", 1_200_000.0, "/s")],
        measure: host::without_methods,
    },
    Group {
        rows: &[at_least("host_2s_action", 500_000.0, "/s")],
        measure: host::with_an_action,
    },
    Group {
        rows: &[at_least("fresh_action", 60_000.0, "/s")],
        measure: host::with_fresh_sandboxes,
    },
    Group {
        rows: &[
            at_most("cascade_same_1_p50", 5.0, "µs"),
            at_most("cascade_same_1_p99", 50.0, "µs"),
            at_most("cascade_same_1k_p50", 5.0, "µs"),
            at_most("cascade_same_1k_p99", 50.0, "µs"),
            at_most("cascade_same_100k_p50", 5.0, "µs"),
            at_most("cascade_same_100k_p99", 50.0, "µs"),
            at_most("cascade_same_1m_p50", 5.0, "µs"),
            at_most("cascade_same_1m_p99", 50.0, "µs"),
        ],
        measure: cascade::on_one_shard,
    },
    Group {
        rows: &[at_most("cascade_other_shard_p50", 30.0, "µs")],
        measure: cascade::to_another_shard,
    },
    Group {
        rows: &[
            at_least("http_16", 40_000.0, "/s"),
            at_most("http_16_p99", 10.0, "ms"),
        ],
        measure: http::sixteen,
    },
    Group {
        rows: &[
            at_least("http_64", 40_000.0, "/s"),
            at_most("http_64_p99", 10.0, "ms"),
        ],
        measure: http::sixty_four,
    },
    Group {
        rows: &[at_least("bulk", 300_000.0, "/s")],
        measure: http::bulk,
    },
    Group {
        rows: &[at_most("idle_bytes", 1_024.0, "bytes")],
        measure: idle::bytes,
    },
    Group {
        rows: &[at_most("upload_ms", 400.0, "ms")],
        measure: upload::to_first_answer,
    },
    Group {
        rows: &[at_most("start_ms", 1_000.0, "ms")],
        measure: start::to_ready,
    },
    Group {
        rows: &[at_most("neighbour_ratio", 3.0, "times")],
        measure: neighbour::ratio,
    },
    Group {
        rows: &[at_least("durable_sqlite", 150_000.0, "/s")],
        measure: durable::sqlite,
    },
    Group {
        rows: &[at_least("durable_pg", 30_000.0, "/s")],
        measure: postgres::durable,
    },
    Group {
        rows: &[
            at_least("durable_http_64", 25_000.0, "/s"),
            at_most("durable_http_64_p99", 20.0, "ms"),
        ],
        measure: durable::sixty_four,
    },
    Group {
        rows: &[at_most("durable_lone", 200.0, "µs")],
        measure: durable::lone,
    },
    Group {
        rows: &[at_most("recover_1m", 10.0, "s")],
        measure: durable::recovery,
    },
    Group {
        rows: &[at_most("bytes_per_event", 600.0, "bytes")],
        measure: durable::bytes_per_event,
    },
    Group {
        rows: &[at_most("retention_ratio", 2.0, "times")],
        measure: retention::ratio,
    },
    Group {
        rows: &[at_most("passivated_10m", 4.0, "GiB")],
        measure: passivated::memory,
    },
    Group {
        rows: &[at_most("remote_redis_p50", 0.25, "ms")],
        measure: remote::redis,
    },
    Group {
        rows: &[at_most("remote_http_p50", 0.5, "ms")],
        measure: remote::http,
    },
    Group {
        rows: &[at_most("remote_nats_p50", 1.2, "ms")],
        measure: remote::nats,
    },
    Group {
        rows: &[at_most("remote_amqp_p50", 2.0, "ms")],
        measure: remote::amqp,
    },
    Group {
        rows: &[at_most("remote_kafka_p50", 2.0, "ms")],
        measure: remote::kafka,
    },
    Group {
        rows: &[at_least("flow_http", 20_000.0, "/s")],
        measure: remote::flow_http,
    },
    Group {
        rows: &[at_least("flow_nats", 20_000.0, "/s")],
        measure: remote::flow_nats,
    },
    Group {
        rows: &[at_least("flow_amqp", 10_000.0, "/s")],
        measure: remote::flow_amqp,
    },
    Group {
        rows: &[at_least("flow_redis_streams", 20_000.0, "/s")],
        measure: remote::flow_redis_streams,
    },
    Group {
        rows: &[at_least("flow_kafka", 10_000.0, "/s")],
        measure: remote::flow_kafka,
    },
    Group {
        rows: &[at_least("broker_down_ratio", 0.95, "times")],
        measure: remote::beside_a_broker_that_is_down,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some(load::COMMAND) => load::main(),
        Some(remote::COMMAND) => remote::main(),
        Some(MEASURE) => measure(arguments.get(1)),
        _ => Arguments::parse(arguments).and_then(|arguments| run(&arguments)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What the bench is asked for.
struct Arguments {
    names: Vec<String>,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse(arguments: Vec<String>) -> anyhow::Result<Self> {
        let mut parsed = Self {
            names: Vec::new(),
            json: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says this to every bench.
                "--bench" => {}
                "--json" => {
                    let file = arguments.next().context("`--json` wants a file")?;
                    parsed.json = Some(file.into());
                }
                name if GROUPS.iter().any(|group| group.has(name)) => {
                    parsed.names.push(argument);
                }
                unknown => {
                    let rows = GROUPS.iter().flat_map(|group| group.rows);
                    let known: Vec<&str> = rows.map(|row| row.name).collect();
                    bail!(
                        "there is no row `{unknown}`; there are {}",
                        known.join(", ")
                    );
                }
            }
        }
        Ok(parsed)
    }

    fn wants(&self, row: &Row) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == row.name)
    }
}

impl Group {
    fn has(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name)
    }
}

/// Measures what is wanted and prints the table.
fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut table = Table::new();
    for group in GROUPS {
        if !group.rows.iter().any(|row| arguments.wants(row)) {
            continue;
        }
        let name = group.rows[0].name;
        note(&format!("── {name}"));
        let rounds = measured_elsewhere(name).with_context(|| format!("measuring {name}"))?;
        ensure!(
            rounds.len() == group.rows.len(),
            "a group measures all its rows"
        );
        for (row, rounds) in group.rows.iter().zip(rounds) {
            if arguments.wants(row) {
                table.add(row, rounds);
            }
        }
    }
    std::io::stdout().write_all(table.to_string().as_bytes())?;
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&table)?;
        std::fs::write(file, json + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Has a process of its own measure a group.
fn measured_elsewhere(name: &str) -> anyhow::Result<Vec<Rounds>> {
    let child = Command::new(std::env::current_exe()?)
        .args([MEASURE, name])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(child.status.success(), "it ended with {}", child.status);
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// Measures a group and prints its rounds for the process that asked.
fn measure(name: Option<&String>) -> anyhow::Result<()> {
    let name = name.context("which group is to be measured")?;
    let group = GROUPS.iter().find(|group| group.has(name));
    let rounds = (group.context("there is no such row")?.measure)()?;
    std::io::stdout().write_all(&serde_json::to_vec(&rounds)?)?;
    Ok(())
}

/// A line for the person who waits.
fn note(line: &str) {
    // Nobody is left to be told if standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
