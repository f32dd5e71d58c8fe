//! A client that keeps a record of what the host acknowledged. It repeats what it is not sure of
//! under the same id until it gets an answer.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use ureq::Agent;

use super::{Urls, pause};

/// Accounts of one client.
const ACCOUNTS: usize = 4;

/// Every so many events an alarm is set.
const ALARM_EVERY: usize = 20;

/// Wait before something is repeated.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// What the host acknowledged.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// By account: the ids of its events, in the order in which they were sent.
    pub(super) accounts: Vec<(String, Vec<String>)>,
    /// Alarms that were set.
    pub(super) alarms: Vec<String>,
    /// What was answered wrongly.
    pub(super) problems: Vec<String>,
}

/// One client.
pub(super) struct Client {
    number: usize,
    /// Of the host with the accounts, and of that with the mirrors.
    bases: [String; 2],
    /// The host that is asked for both where they do not answer, and the other way round.
    standby: Option<String>,
    /// Whether that is who answers.
    turned: Cell<bool>,
    agent: Agent,
}

/// Where the accounts are, and where the mirrors.
#[derive(Clone, Copy)]
enum At {
    Accounts,
    Mirrors,
}

impl Client {
    pub(super) fn new(number: usize, urls: &Urls) -> Self {
        let patience = match urls.standby {
            // One that is stopped says nothing, and another is there.
            Some(_) => Duration::from_secs(2),
            None => Duration::from_secs(20),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience));
        Self {
            number,
            bases: [&urls.accounts, &urls.mirrors].map(|url| format!("{url}/v1")),
            standby: urls.standby.as_ref().map(|url| format!("{url}/v1")),
            turned: Cell::new(false),
            agent: config.build().new_agent(),
        }
    }

    /// Sends until told to stop.
    pub(super) fn run(self, stop: &AtomicBool) -> Result<Record> {
        let mut record = Record::default();
        for n in 0..ACCOUNTS {
            let id = format!("account-{}-{n}", self.number);
            let context = json!({ "key": id });
            self.create("Ledger", "Account", &id, &context)?;
            let mirror = format!("mirror-{}-{n}", self.number);
            self.create("Mirrors", "Mirror", &mirror, &context)?;
            record.accounts.push((id, Vec::new()));
        }
        let mut n = 0;
        while !stop.load(Ordering::Acquire) {
            n += 1;
            let (account, events) = &mut record.accounts[n % ACCOUNTS];
            let id = format!("event-{}-{n}", self.number);
            let body = json!({ "event": "ADD", "id": id, "payload": { "n": n } });
            let path = format!("instances/{account}/events");
            let answer = self.post(At::Accounts, &path, &body, &[200])?;
            if answer["disposition"] != "transitioned" {
                record
                    .problems
                    .push(format!("{id} was answered with {answer}"));
            }
            events.push(id);
            if n % ALARM_EVERY == 0 {
                let id = format!("alarm-{}-{n}", self.number);
                self.create("Ledger", "Alarm", &id, &json!({}))?;
                record.alarms.push(id);
            }
        }
        Ok(record)
    }

    fn create(&self, component: &str, machine: &str, id: &str, context: &Value) -> Result<()> {
        let at = match component {
            "Mirrors" => At::Mirrors,
            _ => At::Accounts,
        };
        let path = format!("components/{component}/machines/{machine}/instances");
        let body = json!({ "id": id, "context": context });
        self.post(at, &path, &body, &[200, 201]).map(drop)
    }

    /// Where to ask now.
    fn base(&self, at: At) -> &str {
        let base = self.standby.as_deref().filter(|_| self.turned.get());
        base.unwrap_or(&self.bases[at as usize])
    }

    /// Waits a little, and asks the other host next time, if there is one.
    fn turn(&self) {
        self.turned.set(!self.turned.get());
        pause(AGAIN_AFTER);
    }

    /// Sends until there is an answer that says what became of it.
    fn post(&self, at: At, path: &str, body: &Value, expected: &[u16]) -> Result<Value> {
        loop {
            let request = self
                .agent
                .post(format!("{}/{path}", self.base(at)))
                .header("content-type", "application/json");
            let Ok(mut answer) = request.send(body.to_string()) else {
                self.turn();
                continue;
            };
            let status = answer.status().as_u16();
            let Ok(text) = answer.body_mut().read_to_string() else {
                continue;
            };
            match status {
                status if expected.contains(&status) => return Ok(serde_json::from_str(&text)?),
                // Not now; or the component is not there yet.
                429 | 503 => self.turn(),
                _ => bail!("{path} answers {status} to {body}: {text}"),
            }
        }
    }
}
