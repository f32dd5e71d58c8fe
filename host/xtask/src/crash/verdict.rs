//! What the host kept, against what it acknowledged.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use ureq::Agent;

use super::{Urls, client::Record, pause};

/// Wait before the host is asked again whether all has arrived.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) events: usize,
    pub(super) creations: usize,
    pub(super) cascades: usize,
    pub(super) timers: usize,
    pub(super) problems: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events and {} creations acknowledged, {} cascades, {} timers; none lost, none twice",
            self.events, self.creations, self.cascades, self.timers
        )
    }
}

/// Compares; what is on its way may take so long.
pub(super) fn compare(urls: &Urls, records: &[Record], drain: Duration) -> Result<Verdict> {
    let reader = Reader {
        bases: [&urls.accounts, &urls.mirrors].map(|url| format!("{url}/v1")),
        agent: Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent(),
    };
    let deadline = Instant::now() + drain;
    loop {
        let verdict = reader.look(records)?;
        if verdict.problems.is_empty() || Instant::now() > deadline {
            return Ok(verdict);
        }
        pause(AGAIN_AFTER);
    }
}

struct Reader {
    /// Of the host with the accounts, and of that with the mirrors.
    bases: [String; 2],
    agent: Agent,
}

impl Reader {
    fn look(&self, records: &[Record]) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for record in records {
            verdict.problems.extend(record.problems.iter().cloned());
            for (account, events) in &record.accounts {
                self.look_at_account(account, events, &mut verdict)?;
            }
            for alarm in &record.alarms {
                self.look_at_alarm(alarm, &mut verdict)?;
            }
            verdict.creations += record.alarms.len() + 2 * record.accounts.len();
        }
        Ok(verdict)
    }

    fn look_at_account(
        &self,
        account: &str,
        acknowledged: &[String],
        verdict: &mut Verdict,
    ) -> Result<()> {
        let history = self.history(0, account)?;
        let handled: Vec<&str> = transitions(&history, "ADD").collect();
        let seen = counted(handled.iter().copied());
        for (event, times) in &seen {
            if *times != 1 {
                verdict
                    .problems
                    .push(format!("{event} at {account}: {times} times"));
            }
        }
        for event in acknowledged {
            if !seen.contains_key(event.as_str()) {
                verdict.problems.push(format!("{event} at {account}: lost"));
            }
        }
        let known = |event: &&str| acknowledged.iter().any(|known| known == *event);
        let in_order: Vec<&str> = handled.iter().copied().filter(known).collect();
        if in_order != acknowledged {
            verdict
                .problems
                .push(format!("the events at {account} are not in order"));
        }
        verdict.events += acknowledged.len();

        let mirror = account.replace("account", "mirror");
        let history = self.history(1, &mirror)?;
        let copies = history
            .iter()
            .filter(|record| record["event"]["name"] == "COPY");
        let copies: Vec<&str> = copies
            .filter_map(|record| record["caused_by"].as_str())
            .collect();
        let copied = counted(copies.iter().copied());
        for event in seen.keys() {
            let times = copied.get(event).copied().unwrap_or_default();
            if times != 1 {
                verdict
                    .problems
                    .push(format!("the cascade of {event} arrived {times} times"));
            }
        }
        if copies.len() == handled.len() && copies != handled {
            verdict
                .problems
                .push(format!("the cascades of {account} are not in order"));
        }
        verdict.cascades += copied.len();
        Ok(())
    }

    fn look_at_alarm(&self, alarm: &str, verdict: &mut Verdict) -> Result<()> {
        let history = self.history(0, alarm)?;
        let rung = transitions(&history, "RING").count();
        if rung != 1 {
            verdict.problems.push(format!("{alarm} rang {rung} times"));
        }
        verdict.timers += rung;
        Ok(())
    }

    /// Everything that happened to an instance, the first first.
    fn history(&self, host: usize, instance: &str) -> Result<Vec<Value>> {
        let mut history = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("instances/{instance}/history?limit=1000{cursor}");
            let answer = self
                .agent
                .get(format!("{}/{path}", self.bases[host]))
                .call();
            let mut answer = answer.with_context(|| format!("asking for {path}"))?;
            let text = answer
                .body_mut()
                .with_config()
                .limit(64 << 20)
                .read_to_string()?;
            ensure!(answer.status() == 200, "{path} answers {text}");
            let mut page: Value = serde_json::from_str(&text)?;
            if let Some(items) = page["items"].as_array_mut() {
                history.append(items);
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        history.reverse();
        Ok(history)
    }
}

/// Ids of the events with this name that an instance took.
fn transitions<'h>(history: &'h [Value], name: &str) -> impl Iterator<Item = &'h str> {
    let taken = history
        .iter()
        .filter(move |record| record["kind"] == "transitioned" && record["event"]["name"] == name);
    taken.filter_map(|record| record["event"]["id"].as_str())
}

fn counted<'t>(texts: impl Iterator<Item = &'t str>) -> HashMap<&'t str, usize> {
    let mut counts = HashMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    counts
}
