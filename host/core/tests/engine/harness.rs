//! A host in one struct: it performs every effect at once.

mod line;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::{Value, json};
use xcomponent_core::{
    call::{Answer, Call, Deployment, Failure, Fault, FaultCode, Outcome, Refusal, Send},
    definition::{MethodKind, OnLive, Strictness, check},
    effect::{Effect, HandledReply, Refused, Reply, Tally},
    engine::{Config, Engine},
    id::{
        ComponentName, Digest, EventId, EventName, InstanceId, MachineName, Partition,
        PartitionCount, StateName, TenantId, Version,
    },
    input::{Broadcast, Create, Found, Input, Repeatable, Request, SendEvent, Ticket},
    json::Json,
    limits::Limits,
    record::{
        AppendSeq, Body, Cause, DeadLetter, Disposition, Handled, Record, SelectBy, Selector,
        Snapshot,
    },
    time::{Duration, Timestamp},
};

use self::line::line;

type Script = Box<dyn FnMut(&Call) -> Outcome>;

/// One shard and everything around it.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    pub(crate) tenant: TenantId,
    /// Every record, in order.
    pub(crate) records: Vec<Record>,
    /// Every method that was asked, in order.
    pub(crate) asked: Vec<String>,
    /// Every effect as text, where somebody wants it.
    pub(crate) trace: Option<String>,
    /// While this is so, no record becomes durable.
    pub(crate) holds_commits: bool,
    undurable: Option<AppendSeq>,
    scripts: HashMap<String, Script>,
    store: BTreeMap<(TenantId, InstanceId), Snapshot>,
    /// Instances that the store has and cannot read.
    pub(crate) unreadable: Vec<InstanceId>,
    replies: HashMap<Ticket, Reply>,
    tickets: u64,
    /// Whether the store does not answer.
    pub(crate) is_unreadable: bool,
    /// What it was asked meanwhile.
    unanswered: Vec<Vec<(TenantId, InstanceId)>>,
}

impl Host {
    /// A host on which these components run.
    pub(crate) fn new(definitions: &[&str]) -> Self {
        let limits = Limits {
            passivate_after: None,
            ..Limits::default()
        };
        Self::with_limits(definitions, limits)
    }

    pub(crate) fn with_limits(definitions: &[&str], limits: Limits) -> Self {
        let partitions = PartitionCount::new(1).expect("the test is sound");
        let mut host = Self {
            engine: Engine::new(Config {
                seed: 7,
                partitions,
                limits,
            }),
            now: 1_000,
            tenant: TenantId::default_tenant(),
            records: Vec::new(),
            asked: Vec::new(),
            trace: None,
            holds_commits: false,
            undurable: None,
            scripts: HashMap::new(),
            store: BTreeMap::new(),
            unreadable: Vec::new(),
            replies: HashMap::new(),
            tickets: 0,
            is_unreadable: false,
            unanswered: Vec::new(),
        };
        host.input(Input::Own(vec![Partition(0)]));
        for definition in definitions {
            host.deploy(definition);
            host.activate(definition, OnLive::NextEvent);
        }
        host
    }

    pub(crate) fn deploy(&mut self, yaml: &str) {
        let checked = check(yaml, Strictness::Normal);
        let definition = checked
            .definition
            .unwrap_or_else(|| panic!("{:#?}", checked.findings));
        let deployment = Deployment {
            tenant: self.tenant.clone(),
            definition,
            artifact: Digest([0; 32]),
        };
        self.input(Input::Deploy(Arc::new(deployment)));
    }

    pub(crate) fn activate(&mut self, yaml: &str, on_live: OnLive) {
        let definition = check(yaml, Strictness::Normal)
            .definition
            .expect("the test is sound");
        self.input(Input::Activate {
            tenant: self.tenant.clone(),
            component: definition.name,
            version: Version::new(definition.version.as_str()),
            on_live,
        });
    }

    /// From now on the method answers so.
    pub(crate) fn on(&mut self, method: &str, script: impl FnMut(&Call) -> Outcome + 'static) {
        self.scripts.insert(method.to_owned(), Box::new(script));
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.engine.handle(input, Timestamp(self.now));
        self.run();
    }

    /// So much later, in steps from deadline to deadline.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(next) = self.engine.poll_timeout().filter(|next| next.0 <= end) {
            self.now = self.now.max(next.0);
            self.engine.handle_timeout(Timestamp(self.now));
            self.run();
        }
        self.now = end;
        self.engine.handle_timeout(Timestamp(end));
        self.run();
    }

    fn run(&mut self) {
        let mut last = None;
        while let Some(effect) = self.engine.poll_effect() {
            if let Some(trace) = &mut self.trace {
                writeln!(trace, "{}", line(&effect)).expect("the test is sound");
            }
            match effect {
                Effect::Invoke { lease, call } => {
                    let outcome = self.ask(&call);
                    let input = Input::Outcome { lease, outcome };
                    self.engine.handle(input, Timestamp(self.now));
                }
                Effect::Append { seq, record } => {
                    self.keep(&record);
                    self.records.push(record);
                    last = Some(seq);
                }
                Effect::Reply { ticket, reply, .. } => {
                    assert!(self.replies.insert(ticket, reply).is_none(), "two answers");
                }
                Effect::Reload { instances: asked } if self.is_unreadable => {
                    self.unanswered.push(asked);
                }
                Effect::Reload { instances: asked } => {
                    let found = self.found(&asked);
                    let input = Input::Reloaded { asked, found };
                    self.engine.handle(input, Timestamp(self.now));
                }
                Effect::Recall {
                    tenant,
                    instance,
                    event,
                } => {
                    let handled = match self.holds_commits {
                        true => None,
                        false => self.recall(&instance, &event),
                    };
                    let input = Input::Recalled {
                        tenant,
                        instance,
                        event,
                        handled,
                    };
                    self.engine.handle(input, Timestamp(self.now));
                }
                Effect::RecallBroadcast { .. } => {
                    panic!("no engine goes on where another stopped")
                }
                Effect::Deliver { .. } => panic!("there is one shard only"),
                Effect::Release { .. } | Effect::Unused { .. } => {}
            }
        }
        self.undurable = last.or(self.undurable);
        if self.holds_commits {
            return;
        }
        if let Some(through) = self.undurable.take() {
            self.engine
                .handle(Input::Durable { through }, Timestamp(self.now));
            self.run();
        }
    }

    /// The store has not answered for so long that callers wait no longer.
    pub(crate) fn give_up_reading(&mut self) {
        let instances = self.unanswered.concat();
        let broadcasts = Vec::new();
        self.input(Input::Unread {
            instances,
            broadcasts,
        });
    }

    /// The store answers again.
    pub(crate) fn read_again(&mut self) {
        self.is_unreadable = false;
        for asked in std::mem::take(&mut self.unanswered) {
            let found = self.found(&asked);
            self.input(Input::Reloaded { asked, found });
        }
    }

    fn found(&self, asked: &[(TenantId, InstanceId)]) -> Found {
        let (unreadable, asked): (Vec<_>, Vec<_>) =
            (asked.iter().cloned()).partition(|(_, id)| self.unreadable.contains(id));
        let instances = asked.iter().filter_map(|key| self.store.get(key).cloned());
        Found {
            instances: instances.collect(),
            unreadable,
        }
    }

    /// What the log has of an event.
    fn recall(&self, instance: &InstanceId, event: &EventId) -> Option<Arc<Handled>> {
        let about = |record: &Record| match &record.body {
            Body::Handled(handled) => {
                let is_it = handled.after.id == *instance
                    && (handled.event.id == *event || handled.settles.as_ref() == Some(event));
                is_it.then(|| Arc::clone(handled))
            }
            Body::Selected(_)
            | Body::Departed(_)
            | Body::Moved(_)
            | Body::Parked(_)
            | Body::Discarded(_)
            | Body::Received(_) => None,
        };
        self.records.iter().rev().find_map(about)
    }

    fn ask(&mut self, call: &Call) -> Outcome {
        self.asked.push(call.method.to_string());
        match (self.scripts.get_mut(call.method.as_str()), call.kind) {
            (Some(script), _) => script(call),
            (None, MethodKind::Guard) => passes(true),
            (None, MethodKind::Action) => nothing(),
        }
    }

    fn keep(&mut self, record: &Record) {
        let Some(snapshot) = record.body.snapshot() else {
            return;
        };
        let key = (record.tenant.clone(), snapshot.id.clone());
        self.store.insert(key, snapshot.clone());
    }

    pub(crate) fn request(&mut self, request: Request) -> Reply {
        self.request_later(request);
        let ticket = Ticket(self.tickets);
        self.replies.remove(&ticket).expect("it was answered")
    }

    /// Asks without expecting an answer at once.
    pub(crate) fn request_later(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.input(Input::Request {
            ticket,
            tenant: self.tenant.clone(),
            request,
        });
        ticket
    }

    /// The answer to an earlier request, if it is there.
    pub(crate) fn answer(&mut self, ticket: Ticket) -> Option<Reply> {
        self.replies.remove(&ticket)
    }

    pub(crate) fn try_create(
        &mut self,
        component: &str,
        machine: &str,
        id: &str,
        context: Value,
    ) -> Reply {
        self.request(Request::Create(Create {
            component: ComponentName::new(component),
            machine: MachineName::new(machine),
            context: Json::from_value(&context),
            id: InstanceId::parse(id).expect("the test is sound"),
            repeatable: Repeatable::ById,
            entry_point: false,
            trace_parent: None,
        }))
    }

    pub(crate) fn create(
        &mut self,
        component: &str,
        machine: &str,
        id: &str,
        context: Value,
    ) -> Snapshot {
        match self.try_create(component, machine, id, context) {
            Reply::Created { instance, .. } => *instance,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_send(&mut self, send: SendEvent) -> Reply {
        self.request(Request::Send(send))
    }

    pub(crate) fn send(&mut self, id: &str, event: &str, payload: Value) -> HandledReply {
        match self.try_send(event_for(id, event, payload)) {
            Reply::Handled(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// What becomes of an event, in one word.
    pub(crate) fn becomes(&mut self, id: &str, event: &str, payload: Value) -> Disposition {
        self.send(id, event, payload).disposition
    }

    pub(crate) fn broadcast(
        &mut self,
        component: &str,
        machine: &str,
        event: &str,
        payload: Value,
    ) -> Tally {
        self.broadcast_to(component, machine, None, event, payload)
    }

    pub(crate) fn broadcast_to(
        &mut self,
        component: &str,
        machine: &str,
        state: Option<&str>,
        event: &str,
        payload: Value,
    ) -> Tally {
        match self.ask_broadcast(component, machine, state, event, payload) {
            Reply::Tally { tally, .. } => tally,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_broadcast(
        &mut self,
        component: &str,
        machine: &str,
        event: &str,
        payload: Value,
    ) -> Reply {
        self.ask_broadcast(component, machine, None, event, payload)
    }

    fn ask_broadcast(
        &mut self,
        component: &str,
        machine: &str,
        state: Option<&str>,
        event: &str,
        payload: Value,
    ) -> Reply {
        let id = EventId::parse(&format!("broadcast-{}", self.tickets)).expect("the test is sound");
        let selector = Selector {
            component: ComponentName::new(component),
            machine: Some(MachineName::new(machine)),
            state: state.map(StateName::new),
            by: SelectBy::MachineRules,
        };
        let broadcast = Broadcast {
            selector: Arc::new(selector),
            event: EventName::new(event),
            payload: Json::from_value(&payload),
            cause: Cause::outside(&id, None),
            id,
            repeatable: false,
        };
        self.request(Request::Broadcast(broadcast))
    }

    /// The instance as the store has it.
    pub(crate) fn stored(&self, id: &str) -> &Snapshot {
        let key = (
            self.tenant.clone(),
            InstanceId::parse(id).expect("the test is sound"),
        );
        self.store.get(&key).expect("it is stored")
    }

    pub(crate) fn state(&self, id: &str) -> String {
        self.stored(id).state().name.to_string()
    }

    pub(crate) fn context(&self, id: &str) -> Value {
        self.stored(id).context.value()
    }

    /// Begins with these instances, as a store has them.
    pub(crate) fn inherit(&mut self, instances: Vec<Snapshot>) {
        for snapshot in &instances {
            let key = (snapshot.tenant().clone(), snapshot.id.clone());
            self.store.insert(key, snapshot.clone());
        }
        self.input(Input::Load(instances));
    }

    /// Forgets everything that was recorded: only the engine has it then.
    pub(crate) fn forget(&mut self) {
        self.records.clear();
        self.store.clear();
        self.replies.clear();
    }

    /// Ids of all instances of a machine, in order of creation.
    pub(crate) fn all(&self, machine: &str) -> Vec<String> {
        let born = self.handled().filter(|handled| handled.from.is_none());
        born.filter(|handled| handled.after.machine().name.as_str() == machine)
            .map(|handled| handled.after.id.to_string())
            .collect()
    }

    pub(crate) fn handled(&self) -> impl Iterator<Item = &Handled> {
        self.bodies().map(|handled| &**handled)
    }

    fn bodies(&self) -> impl Iterator<Item = &Arc<Handled>> {
        self.records.iter().filter_map(|record| match &record.body {
            Body::Handled(handled) => Some(handled),
            _ => None,
        })
    }

    /// What waits for commits becomes durable, and so on until nothing is left to be done.
    pub(crate) fn commit(&mut self) {
        self.holds_commits = false;
        self.run();
    }

    /// `event disposition` of an instance's history.
    pub(crate) fn history(&self, id: &str) -> Vec<String> {
        self.handled()
            .filter(|handled| handled.after.id.to_string() == id)
            .map(|handled| format!("{} {}", handled.event.name, handled.disposition))
            .collect()
    }

    /// Everything that was parked, in order.
    pub(crate) fn parked(&self) -> Vec<DeadLetter> {
        let parked = self.records.iter().filter_map(|record| match &record.body {
            Body::Handled(handled) => handled.parked.as_deref(),
            Body::Parked(letter) => Some(&**letter),
            _ => None,
        });
        parked.cloned().collect()
    }
}

/// An event from outside without an id.
pub(crate) fn event_for(id: &str, event: &str, payload: Value) -> SendEvent {
    SendEvent {
        instance: InstanceId::parse(id).expect("the test is sound"),
        component: None,
        event: EventName::new(event),
        payload: Json::from_value(&payload),
        id: None,
        expected_state: None,
        sent_at: None,
        trace_parent: None,
    }
}

fn outcome(result: Result<Answer, Failure>) -> Outcome {
    Outcome {
        result,
        logs: Vec::new(),
        fuel: 1,
    }
}

/// A guard's answer.
pub(crate) fn passes(passes: bool) -> Outcome {
    outcome(Ok(Answer::Guard(passes)))
}

/// An action that changes nothing.
pub(crate) fn nothing() -> Outcome {
    sends(Vec::new())
}

/// An action that only sends.
pub(crate) fn sends(sends: Vec<Send>) -> Outcome {
    outcome(Ok(Answer::Action {
        context: None,
        sends,
    }))
}

/// An action with a new context.
pub(crate) fn becomes(context: &Value) -> Outcome {
    outcome(Ok(Answer::Action {
        context: Some(Json::from_value(context)),
        sends: Vec::new(),
    }))
}

/// A business "no".
pub(crate) fn refuses(code: &str) -> Outcome {
    outcome(Err(Failure::Refused(Refusal {
        code: code.into(),
        message: code.into(),
    })))
}

/// A panic.
pub(crate) fn panics() -> Outcome {
    outcome(Err(Failure::Fault(Fault {
        code: FaultCode::Trap,
        message: "it panicked".into(),
        backtrace: None,
    })))
}

/// A send to itself.
pub(crate) fn to_self(event: &str, delay: Option<u64>) -> Send {
    Send::ToSelf {
        event: EventName::new(event),
        payload: Json::empty(),
        delay: delay.map(Duration),
    }
}

/// Why a request was refused.
pub(crate) fn refused(reply: Reply) -> Refused {
    match reply {
        Reply::Refused(refused) => refused,
        other => panic!("{other:?}"),
    }
}

/// Nothing to say.
pub(crate) fn none() -> Value {
    json!({})
}
