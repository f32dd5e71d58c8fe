//! A host on a clock that a script moves: what happens is told, what the script expects is checked.
//!
//! The host is the real one, engines, sandboxes and store, in this process and without a port. It
//! has one shard, so that the same script tells the same on every run. After each step it runs
//! until nothing more can happen at the present time; the clock then jumps from deadline to
//! deadline, so that timers fire in their order and at their times.

mod expect;
mod script;
mod told;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use xcomponent_core::{
    call::Refusal,
    effect::{Refused, Reply, Tally},
    id::{ComponentName, EventId, EventName, InstanceId, MachineName, StateName, TenantId},
    input::{self, Request},
    json::{Json, JsonError, Path},
    record::{Disposition, SelectBy, Selector, Snapshot},
    time::{Duration, Timestamp},
};

use self::{
    script::{Action, Broadcast, Create, Find, Send, Step},
    told::{listed, reason},
};
pub use self::{
    script::{STEPS_MAX, Script, ScriptError},
    told::{Answered, Failure, Happened, Names, Told},
};
use super::{Config, Host, StartError};
use crate::{
    driver::{
        self, InstanceFilter, PageRequest, Position, RecordFilter, Where,
        clock::{Clock as _, ManualClock},
    },
    sent::Sent,
    tenancy::{self, Activation, Switch, Upload},
};

/// Instances on one page of a search.
const PAGE: usize = 1_000;

/// Why a simulation cannot go on. What a script merely did not expect is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A component is not accepted.
    #[error(transparent)]
    Component(#[from] tenancy::Error),
    /// The store cannot be asked.
    #[error("what happened cannot be read")]
    Store(#[from] driver::Error),
    /// A step cannot be done at all.
    #[error("line {line}: {message}")]
    Step {
        /// Of the script.
        line: usize,
        /// Why.
        message: String,
    },
}

/// How a simulation ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Steps that were done, repetitions counted.
    pub steps: usize,
    /// Steps of these that expected something.
    pub checked: usize,
    /// Expectations that were not met.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            steps,
            checked,
            failures,
        } = self;
        match failures.len() {
            0 => write!(
                f,
                "{steps} steps, {checked} with expectations, all of them met"
            ),
            1 => write!(f, "{steps} steps, 1 expectation was not met"),
            n => write!(f, "{steps} steps, {n} expectations were not met"),
        }
    }
}

/// A host on a clock that a script moves.
pub struct Simulation<'t> {
    host: Host,
    clock: Arc<ManualClock>,
    start: Timestamp,
    tenant: TenantId,
    names: Names,
    /// Up to here everything has been told.
    told: Position,
    tell: &'t mut dyn FnMut(&Told),
    report: Report,
}

/// Whether what happens is told.
#[derive(Clone, Copy, Debug)]
enum Telling {
    Aloud,
    Silent,
}

/// What became of a step, as far as its kind has it.
#[derive(Debug, Default)]
struct Outcome {
    disposition: Option<Disposition>,
    from: Option<String>,
    to: Option<String>,
    /// Why it was not taken.
    code: Option<String>,
    message: Option<String>,
    /// It was not even recorded.
    is_refused: bool,
    tally: Option<Tally>,
    /// The instance it was about.
    instance: Option<InstanceId>,
}

/// Runs a script on components, which may be packed ones of any kind; `tell` hears what happens.
///
/// # Errors
///
/// If the host does not start, a component is not accepted, or a step cannot be done at all.
pub async fn run(
    script: &Script,
    components: Vec<Arc<[u8]>>,
    config: Config,
    tell: &mut dyn FnMut(&Told),
) -> Result<Report, Error> {
    let mut simulation = Simulation::start(script.start, components, config, tell).await?;
    for step in &script.steps {
        simulation.step(step).await?;
    }
    Ok(simulation.end().await)
}

impl<'t> Simulation<'t> {
    async fn start(
        start: Timestamp,
        components: Vec<Arc<[u8]>>,
        config: Config,
        tell: &'t mut dyn FnMut(&Told),
    ) -> Result<Self, Error> {
        let clock = Arc::new(ManualClock::start(start));
        let config = Config {
            shards: 1,
            seed: Some(start.0),
            clock: Arc::clone(&clock) as Arc<_>,
            ..config
        };
        let host = Host::start(config).await?;
        let tenant = TenantId::default_tenant();
        for bytes in components {
            let upload = Upload {
                name: None,
                sent: Sent::Packed(Bytes::from_owner(bytes)),
                switch: Switch::default(),
                activation: Activation::default(),
                dry_run: false,
                leniency: None,
            };
            host.registry().upload(&tenant, upload).await?;
        }
        let mut simulation = Self {
            host,
            clock,
            start,
            tenant,
            names: Names::default(),
            told: Position::default(),
            tell,
            report: Report::default(),
        };
        simulation.settle(Telling::Aloud).await?;
        Ok(simulation)
    }

    async fn end(self) -> Report {
        self.host.shutdown(super::GRACE).await;
        self.report
    }

    /// Does a step, tells what happened, and checks what was expected.
    async fn step(&mut self, step: &Step) -> Result<(), Error> {
        if let Some(text) = &step.say {
            (self.tell)(&Told::Say(text.clone()));
        }
        self.report.steps += 1;
        let telling = if step.is_silent {
            Telling::Silent
        } else {
            Telling::Aloud
        };
        let outcome = match &step.action {
            Action::Create(create) => self.create(create, step).await?,
            Action::Send(send) => self.send(send, step).await?,
            Action::Broadcast(broadcast) => self.broadcast(broadcast, step).await?,
            Action::Advance(span) => self.advance(*span, telling).await?,
            Action::Find(find) => self.find(find, step).await?,
            Action::Look => Outcome::default(),
        };
        self.settle(telling).await?;
        if let (Telling::Aloud, Some(answered)) = (telling, self.answered(step, &outcome)) {
            (self.tell)(&Told::Answered(answered));
        }
        self.check(step, &outcome).await
    }

    async fn create(&mut self, create: &Create, step: &Step) -> Result<Outcome, Error> {
        let id = InstanceId::parse(&create.id).map_err(|error| step.wrong(error))?;
        self.names.give(&id, &create.id);
        let request = Request::Create(input::Create {
            component: self.component(create.component.as_deref(), &create.machine, step)?,
            machine: MachineName::new(create.machine.as_str()),
            context: json(&Value::Object(create.context.clone()), step)?,
            id: id.clone(),
            repeatable: input::Repeatable::ById,
            entry_point: false,
            trace_parent: None,
        });
        Ok(Outcome {
            instance: Some(id),
            ..self.ask(request).await
        })
    }

    async fn send(&mut self, send: &Send, step: &Step) -> Result<Outcome, Error> {
        let instance = self.instance(&send.to, step)?;
        let request = Request::Send(input::SendEvent {
            instance: instance.clone(),
            component: None,
            event: EventName::new(send.event.as_str()),
            payload: json(&send.payload, step)?,
            id: Some(self.event_id()),
            expected_state: None,
            sent_at: None,
            trace_parent: None,
        });
        Ok(Outcome {
            instance: Some(instance),
            ..self.ask(request).await
        })
    }

    async fn broadcast(&mut self, broadcast: &Broadcast, step: &Step) -> Result<Outcome, Error> {
        let machine = broadcast.machine.as_str();
        let selector = Selector {
            component: self.component(broadcast.component.as_deref(), machine, step)?,
            machine: Some(MachineName::new(machine)),
            state: broadcast.state.as_deref().map(StateName::new),
            by: SelectBy::MachineRules,
        };
        let request = self.host.handle().broadcast(
            Arc::new(selector),
            EventName::new(broadcast.event.as_str()),
            json(&broadcast.payload, step)?,
            Some(self.event_id()),
            None,
        );
        Ok(self.ask(request).await)
    }

    /// Moves the clock on, from deadline to deadline.
    async fn advance(&mut self, span: Duration, telling: Telling) -> Result<Outcome, Error> {
        let end = self.clock.now().after(span);
        loop {
            let now = self.clock.now();
            let next = self.host.handle().gauges().next_due();
            let next = next.filter(|due| *due > now && *due < end).unwrap_or(end);
            self.clock.advance(next.since(now));
            self.settle(telling).await?;
            if next == end {
                return Ok(Outcome::default());
            }
        }
    }

    /// Gives a name to the one instance that is meant.
    async fn find(&mut self, find: &Find, step: &Step) -> Result<Outcome, Error> {
        let condition = |(path, value): (&String, &Value)| {
            let path = Path::parse(path).ok_or_else(|| step.wrong(format!("`{path}` is no path")));
            path.map(|path| Where {
                path,
                operator: xcomponent_core::definition::Operator::Equal,
                value: Json::from_value(value),
            })
        };
        let filter = InstanceFilter {
            component: Some(self.component(find.component.as_deref(), &find.machine, step)?),
            machine: Some(MachineName::new(find.machine.as_str())),
            state: find.state.as_deref().map(StateName::new),
            conditions: find.holds.iter().map(condition).collect::<Result<_, _>>()?,
            ..InstanceFilter::default()
        };
        let page = PageRequest::first(PAGE);
        let handle = self.host.handle();
        let found = handle.instances(&self.tenant, filter, page).await?.items;
        let [Snapshot { id, .. }] = &found[..] else {
            let message = format!("`find` means one instance, and found {}", found.len());
            return Err(step.wrong(message));
        };
        self.names.give(id, &find.name);
        Ok(Outcome {
            instance: Some(id.clone()),
            ..Outcome::default()
        })
    }

    /// What a caller is told and no record tells.
    fn answered(&self, step: &Step, outcome: &Outcome) -> Option<Answered> {
        let asked = match &step.action {
            Action::Create(create) => &create.id,
            Action::Send(send) => &send.event,
            Action::Broadcast(broadcast) => &broadcast.event,
            Action::Advance(_) | Action::Find(_) | Action::Look => return None,
        };
        let refused = outcome.code.as_ref().zip(outcome.message.as_ref());
        let refused = refused.filter(|_| outcome.is_refused);
        let refused = refused.map(|(code, message)| format!("refused, {code} ({message})"));
        let answer = refused.or_else(|| outcome.tally.map(expect::counted))?;
        Some(Answered {
            at_ms: self.clock.now().since(self.start).0,
            asked: asked.clone(),
            answer,
        })
    }

    /// Asks, and reads the answer.
    async fn ask(&self, request: Request) -> Outcome {
        match self.host.handle().request(&self.tenant, request).await {
            Reply::Created { instance, .. } => Outcome {
                to: Some(instance.state().name.to_string()),
                ..Outcome::default()
            },
            Reply::Handled(handled) => {
                let fault = handled.fault.as_ref();
                let fault = fault.map(|fault| (fault.code.as_str().to_owned(), &*fault.message));
                let fault = fault.map(|(code, message)| (code, message.to_owned()));
                let (code, message) = fault
                    .or_else(|| handled.reason.as_deref().map(reason))
                    .unzip();
                Outcome {
                    disposition: Some(handled.disposition),
                    from: handled.from_name().map(ToString::to_string),
                    to: Some(handled.to_name().to_string()),
                    code,
                    message,
                    ..Outcome::default()
                }
            }
            Reply::Tally { tally, .. } => Outcome {
                tally: Some(tally),
                ..Outcome::default()
            },
            Reply::Refused(why) => {
                let (code, message) = refused(&why);
                Outcome {
                    code: Some(code),
                    message: Some(message),
                    is_refused: true,
                    ..Outcome::default()
                }
            }
            other => unreachable!("no step asks for this: {other:?}"),
        }
    }

    /// Lets everything happen that can happen at the present time, and tells it.
    async fn settle(&mut self, telling: Telling) -> Result<(), Error> {
        let handle = self.host.handle();
        handle.quiet(&self.tenant).await;
        let durable = handle.durable_position();
        let filter = RecordFilter::default();
        let mut news = handle.subscribe(&self.tenant, filter, Some(self.told));
        while news.position() < durable {
            for entry in news.next().await? {
                let happened = Happened::of(&entry.record, self.start, &mut self.names);
                if let (Some(happened), Telling::Aloud) = (happened, telling) {
                    (self.tell)(&Told::Happened(happened));
                }
            }
        }
        self.told = durable;
        Ok(())
    }

    /// The component that is meant: the one that is named, or the only one with that machine.
    fn component(
        &self,
        name: Option<&str>,
        machine: &str,
        step: &Step,
    ) -> Result<ComponentName, Error> {
        if let Some(name) = name {
            return Ok(ComponentName::new(name));
        }
        let loaded = self.host.registry().list(&self.tenant);
        let mut having = loaded
            .iter()
            .filter(|(_, loaded)| loaded.active.definition.find(machine).is_some());
        match (having.next(), having.next()) {
            (Some((name, _)), None) => Ok(name.clone()),
            (None, _) => Err(step.wrong(format!("no component has a machine `{machine}`"))),
            (Some(_), Some(_)) => {
                let message = format!("several components have a machine `{machine}`, name one");
                Err(step.wrong(message))
            }
        }
    }

    fn instance(&self, name: &str, step: &Step) -> Result<InstanceId, Error> {
        let found = self.names.find(name);
        found.ok_or_else(|| step.wrong(format!("`{name}` names no instance")))
    }

    /// The id of an event that the script sends: the same on every run.
    fn event_id(&self) -> EventId {
        EventId::parse(&format!("step-{}", self.report.steps)).expect("it has legal characters")
    }
}

impl Step {
    fn wrong(&self, message: impl ToString) -> Error {
        Error::Step {
            line: self.line,
            message: message.to_string(),
        }
    }
}

fn json(value: &Value, step: &Step) -> Result<Json, Error> {
    Json::parse(&value.to_string()).map_err(|error: JsonError| step.wrong(error))
}

/// Why a request was not carried out, with the code that the HTTP API answers.
fn refused(why: &Refused) -> (String, String) {
    let (code, message): (&str, String) = match why {
        Refused::UnknownComponent(name) => ("unknown_component", format!("no component `{name}`")),
        Refused::UnknownMachine(name) => ("unknown_machine", format!("no machine `{name}`")),
        Refused::UnknownInstance(id) => ("unknown_instance", format!("no instance `{id}`")),
        Refused::InstanceExists(id) => ("instance_exists", format!("`{id}` is another one")),
        Refused::InstanceFinished(id) => ("instance_finished", format!("`{id}` has finished")),
        Refused::InstanceActive(id) => ("instance_active", format!("`{id}` has not ended yet")),
        Refused::InstanceDeleted(id) => ("instance_deleted", format!("`{id}` was deleted")),
        Refused::SingletonExists(id) => ("singleton_exists", format!("`{id}` is the only one")),
        Refused::Schema(violations) => ("schema", listed(violations)),
        Refused::Refusal(Refusal { code, message }) => (code, message.to_string()),
        Refused::Fault(fault) => (fault.code.as_str(), fault.message.to_string()),
        Refused::KeyReused => (
            "idempotency_key_reused",
            "the id is another event's".to_owned(),
        ),
        Refused::AnswerLost => (
            "answer_lost",
            "the event was applied, and its record is not kept any more".to_owned(),
        ),
        Refused::Busy(why) => ("busy", why.to_string()),
        Refused::InstanceSuspended { .. } => (
            "instance_suspended",
            "it faulted too often in a row".to_owned(),
        ),
        Refused::ComponentSuspended { .. } => (
            "component_suspended",
            "the component faults too often".to_owned(),
        ),
        Refused::RecordUnreadable(id) => (
            "record_unreadable",
            format!("what is kept of `{id}` cannot be read"),
        ),
        Refused::TooManyStreams => ("too_many_streams", "no new stream is taken in".to_owned()),
        Refused::Gap { through } => ("gap", format!("what follows parcel {through} is missing")),
        Refused::TooManyMatched(n) => ("too_many_matched", format!("{n} would be reached")),
        Refused::NotCommitted => ("not_committed", "it could not be made durable".to_owned()),
    };
    (code.to_owned(), message)
}
