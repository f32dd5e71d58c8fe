//! `xcomponent tail`: records as they become durable.

use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use clap::Args;
use serde_json::Value;

use super::{
    Result,
    printer::Printer,
    remote::{Query, Remote, text},
};

/// Longest record that is read, in bytes: a context and a payload at their limits, escaped.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// Wait before the host is asked again after it went away.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Shows what happens on a host, as it happens, until it is interrupted.
///
/// Goes on where it was when the host restarts.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Only about this component.
    #[arg(long)]
    component: Option<String>,
    /// Only about this machine.
    #[arg(long)]
    machine: Option<String>,
    /// Only about this instance.
    #[arg(long)]
    instance: Option<String>,
    /// Only of these kinds, as in `transitioned,dead-lettered`.
    #[arg(long)]
    kinds: Option<String>,
    /// What came after this position; without it, what happens from now on.
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Tail {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let query = Query::default()
            .with("component", self.component)
            .with("machine", self.machine)
            .with("instance", self.instance)
            .with("kinds", self.kinds);
        let mut position = self.after;
        let mut is_new = true;
        loop {
            match self.remote.stream("stream", &query, position.as_deref()) {
                Ok(stream) => {
                    is_new = false;
                    read(stream, &mut position, printer);
                    printer.note("the host closed the stream; connecting again");
                }
                // A host that was never there is a mistake; one that restarts comes back.
                Err(failure) if is_new => return Err(failure),
                Err(_) => {}
            }
            pause();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread has nothing else to do"
)]
fn pause() {
    std::thread::sleep(AGAIN_AFTER);
}

/// Prints the events of a stream until it ends, and notes the position of each.
fn read(stream: impl Read, position: &mut Option<String>, printer: &Printer) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        match (&mut stream).take(RECORD_BYTES_MAX).read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(id) = field(line, "id") {
            *position = Some(id.to_owned());
        }
        let record = field(line, "data").map(serde_json::from_str::<Value>);
        if let Some(Ok(record)) = record {
            show(&record, printer);
        }
    }
}

/// The value of a field of a Server-Sent Event, if the line is one of that name.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let value = line.strip_prefix(name)?.strip_prefix(':')?;
    Some(value.strip_prefix(' ').unwrap_or(value))
}

fn show(record: &Value, printer: &Printer) {
    if printer.is_json() {
        return printer.json(record);
    }
    let (from, to) = (text(record, "from"), text(record, "to"));
    let kind = match text(record, "kind") {
        kind if kind.is_empty() => text(record, "disposition"),
        kind => kind,
    };
    let states = match (from.is_empty(), to.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!("in {to}"),
        (false, false) if from == to => format!("in {to}"),
        (false, false) => format!("{from} → {to}"),
    };
    let machine = match text(record, "machine") {
        machine if machine.is_empty() => text(record, "component"),
        machine => format!("{}/{machine}", text(record, "component")),
    };
    let mut parts = vec![
        text(record, "at"),
        machine,
        text(record, "instance_id"),
        text(&record["event"], "name"),
        kind,
        states,
    ];
    parts.retain(|part| !part.is_empty());
    printer.line(parts.join("  "));
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_read_with_and_without_a_space() {
        assert_eq!(field("id: p-1", "id"), Some("p-1"));
        assert_eq!(field("id:p-1", "id"), Some("p-1"));
        assert_eq!(field(": heartbeat", "id"), None);
        assert_eq!(field("data: {}", "id"), None);
    }
}
