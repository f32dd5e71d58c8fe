//! `xcomponent run`: one instance, a few events, and what happens.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};
use xcomponent_core::{
    effect::{Refused, Reply},
    id::{ComponentName, EventName, InstanceId, MachineName, TenantId},
    input::{Create, Repeatable, Request, SendEvent},
    json::Json,
    record::Disposition,
    time::{self, Timestamp},
};

use super::{
    Failure, Result, Verdict, loading, log,
    printer::Printer,
    remote::{json_argument, or_empty},
    serve::multi_thread,
    simulate::config,
    span,
    upload::upload,
};
use crate::{
    app::{
        GRACE, Host,
        simulation::{Happened, Names, Told},
    },
    driver::{Position, RecordFilter, Subscription},
    tenancy::Activation,
};

/// Creates one instance, sends it events, and shows what happens.
///
/// Everything runs in this process and is gone afterwards. Exits with 1 if an event is refused or
/// dead-lettered.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Components: `.wasm`, `.yaml` or project folders.
    #[arg(required = true, value_name = "COMPONENT")]
    components: Vec<PathBuf>,
    /// The machine of the instance: `MACHINE`, or `COMPONENT/MACHINE`.
    #[arg(long, value_name = "MACHINE")]
    create: String,
    /// What it begins with: a JSON object, or `@FILE`.
    #[arg(long, value_name = "JSON", value_parser = json_argument)]
    context: Option<Value>,
    /// What it is called.
    #[arg(long, default_value = "it")]
    id: String,
    /// An event for it, with or without a payload; may be given again and again.
    #[arg(long = "event", value_name = "NAME[=PAYLOAD]", value_parser = event_argument)]
    events: Vec<NamedEvent>,
    /// Goes on showing what happens for so long after the last event, as in `2s`.
    #[arg(long = "for", value_name = "SPAN", default_value = "0s", value_parser = span::parse)]
    linger: time::Duration,
}

/// An event as a person gives it.
#[derive(Clone, Debug)]
struct NamedEvent {
    name: String,
    payload: Value,
}

fn event_argument(text: &str) -> Result<NamedEvent, String> {
    let (name, payload) = match text.split_once('=') {
        Some((name, payload)) => (name, Some(json_argument(payload)?)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("expected `NAME` or `NAME=PAYLOAD`".to_owned());
    }
    Ok(NamedEvent {
        name: name.to_owned(),
        payload: or_empty(payload),
    })
}

impl Run {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let id = InstanceId::parse(&self.id);
        let id = id.map_err(|error| Failure::Misuse(anyhow!("`{}`: {error}", self.id)))?;
        let components = loading::load(&self.components, printer)?;
        let config = config(&components);
        let leniency = config.leniency;
        log::start(log::Format::Text, "warn", printer);
        let runtime = multi_thread().context("starting the threads of the host")?;
        runtime.block_on(async {
            let host = Host::start(config).await.context("starting the host")?;
            let handle = host.handle().clone();
            let tenant = TenantId::default_tenant();
            let activation = Activation::default();
            upload(&host, components, leniency, activation, printer).await?;
            let mut names = Names::default();
            names.give(&id, &self.id);
            // From the beginning of the log, so that instances created at load are told too.
            let mut teller = Teller {
                records: handle.subscribe(&tenant, RecordFilter::default(), Some(Position(0))),
                start: handle.now(),
                names,
                printer,
            };
            let verdict = tokio::select! {
                asked = self.ask(&id, &host, &tenant) => asked,
                error = teller.tell() => Err(error.context("reading what happened").into()),
            };
            host.shutdown(GRACE).await;
            // The rest; the end of the host is the end of what can be told.
            let _ended = teller.tell().await;
            verdict
        })
    }

    /// Creates the instance and sends the events.
    async fn ask(&self, id: &InstanceId, host: &Host, tenant: &TenantId) -> Result {
        let (component, machine) = self.machine(host, tenant)?;
        let create = Create {
            component,
            machine,
            context: json_of(&or_empty(self.context.clone()))?,
            id: id.clone(),
            repeatable: Repeatable::No,
            entry_point: false,
            trace_parent: None,
        };
        let created = host.handle().request(tenant, Request::Create(create)).await;
        if let Reply::Refused(refused) = created {
            return Err(Failure::Failed(anyhow!(
                "the instance is not created: {}",
                describe(&refused)
            )));
        }
        let mut verdict = Verdict::Done;
        for NamedEvent { name, payload } in &self.events {
            let send = SendEvent {
                instance: id.clone(),
                component: None,
                event: EventName::new(name.as_str()),
                payload: json_of(payload)?,
                id: None,
                expected_state: None,
                sent_at: None,
                trace_parent: None,
            };
            match host.handle().request(tenant, Request::Send(send)).await {
                Reply::Refused(refused) => {
                    let refused = describe(&refused);
                    return Err(Failure::Failed(anyhow!("`{name}` is refused: {refused}")));
                }
                Reply::Handled(handled) if is_bad(handled.disposition) => {
                    verdict = Verdict::Findings;
                }
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(self.linger.0)).await;
        Ok(verdict)
    }

    /// The machine that is meant, and its component.
    fn machine(&self, host: &Host, tenant: &TenantId) -> Result<(ComponentName, MachineName)> {
        let (component, machine) = match self.create.split_once('/') {
            Some((component, machine)) => (Some(component), machine),
            None => (None, &*self.create),
        };
        let loaded = host.registry().list(tenant);
        let mut having = loaded.iter().filter(|(name, loaded)| {
            let is_named = component.is_none_or(|component| name.as_str() == component);
            is_named && loaded.active.definition.find(machine).is_some()
        });
        let misuse = |message: String| Err(Failure::Misuse(anyhow!(message)));
        match (having.next(), having.next()) {
            (Some((name, _)), None) => Ok((name.clone(), MachineName::new(machine))),
            (None, _) => misuse(format!("no component has a machine `{}`", self.create)),
            (Some((one, _)), Some((other, _))) => misuse(format!(
                "`{one}` and `{other}` have a machine `{machine}`: write `{one}/{machine}`"
            )),
        }
    }
}

/// Shows records as they become durable.
struct Teller<'p> {
    records: Subscription,
    start: Timestamp,
    names: Names,
    printer: &'p Printer,
}

impl Teller<'_> {
    /// Goes on until nothing can be read any more, and says why.
    async fn tell(&mut self) -> anyhow::Error {
        loop {
            let entries = match self.records.next().await {
                Ok(entries) => entries,
                Err(error) => return error.into(),
            };
            for entry in entries {
                let happened = Happened::of(&entry.record, self.start, &mut self.names);
                let Some(happened) = happened else { continue };
                match self.printer.is_json() {
                    true => self.printer.json(&json!(Told::Happened(happened))),
                    false => self.printer.lines(happened),
                }
            }
        }
    }
}

fn json_of(value: &Value) -> Result<Json> {
    let json = Json::parse(&value.to_string());
    json.map_err(|error| Failure::Misuse(error.into()))
}

fn is_bad(disposition: Disposition) -> bool {
    match disposition {
        Disposition::Rejected | Disposition::DeadLettered => true,
        Disposition::Transitioned
        | Disposition::Ignored
        | Disposition::Deferred
        | Disposition::Retrying => false,
    }
}

/// Why nothing was recorded, in words.
fn describe(refused: &Refused) -> String {
    match refused {
        Refused::Schema(violations) => {
            let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
            all.join("; ")
        }
        Refused::Refusal(refusal) => format!("{} ({})", refusal.message, refusal.code),
        Refused::Fault(fault) => format!("{} ({})", fault.message, fault.code),
        other => format!("{other:?}"),
    }
}
