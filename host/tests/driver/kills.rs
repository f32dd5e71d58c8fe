//! A host that ends after any number of durable records comes back as if nothing had happened.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use xcomponent_core::{
    call::{Answer, Call, Send},
    definition::OnLive,
    effect::{Refused, Reply},
    id::{
        ComponentName, EventId, EventName, InstanceId, MachineName, PartitionCount, TenantId,
        uuid_v8,
    },
    input::{Broadcast, Create, Delete, Repeatable, Request, SendEvent, Terminate},
    json::Json,
    limits::Limits,
    record::{Body, Cause, SelectBy, Selector, Snapshot},
    time::{Duration, Timestamp},
};
use xcomponent_host::{
    driver::{self, Config, Handle, Joiner, Progress, clock::ManualClock},
    memory::Memory,
    store::{
        Store,
        query::{InstanceFilter, PageRequest},
        retention::Retention,
        sqlite::{self, Sqlite},
    },
};

use crate::{
    faulty::Faulty,
    script::{Behaviour, Scripted, willing},
    world::{PATIENCE, deployment, soon, state_of, version_of},
};

/// Sources that hit targets on both shards, cool down by a send to themselves and rest by an
/// `auto`, and have children that end by themselves and tell their parents. Each shot leaves a send
/// to itself behind that is due when all is over, and targets keep events until they wake.
const GAME: &str = r"
name: Game
version: '1'
stateMachines:
  - name: Source
    initialState: Idle
    states:
      - {name: Idle}
      - name: Fired
        cascadingRules:
          - targetMachine: Target
            event: HIT
            payload: {key: '{{key}}'}
            matchingRules: [{eventProperty: key, instanceProperty: key}]
      - {name: Cooling}
    transitions:
      - {from: Idle, to: Fired, event: FIRE, triggeredMethod: boast}
      - {from: Fired, to: Cooling, event: COOL}
      - {from: Cooling, to: Idle, event: REST, type: auto}
      - {from: Idle, to: Idle, event: SPAWN, type: inter_machine, targetMachine: Child}
      - {from: '*', to: Idle, event: GROWN}
  - name: Target
    initialState: Whole
    states: [{name: Whole, defer: [LATE]}, {name: Awake}]
    transitions:
      - {from: Whole, to: Awake, event: WAKE}
      - {from: Awake, to: Whole, event: LATE}
      - from: Whole
        to: Whole
        event: HIT
        matchingRules: [{eventProperty: key, instanceProperty: key}]
  - name: Child
    initialState: Born
    states: [{name: Born}, {name: Grown, type: final}]
    transitions:
      - {from: Born, to: Grown, event: GROW, type: auto, notifyParent: {event: GROWN}}
";

/// A host on a database that may be cut off.
struct Life {
    handle: Handle,
    joiner: Joiner,
    store: Arc<Faulty>,
    tenant: TenantId,
}

impl Life {
    /// Starts so many shards on what is there; after so many more records nothing gets durable any
    /// more.
    async fn begin(path: &Path, records: Option<usize>, shards: usize) -> Self {
        Self::begin_with(path, records, |config| config.shards = shards).await
    }

    async fn begin_with(
        path: &Path,
        records: Option<usize>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let sqlite = Sqlite::open(path, sqlite::Config::default()).unwrap();
        let store = Arc::new(Faulty::cut_off(Box::new(sqlite), records));
        let deployment = deployment(GAME);
        let definition = &deployment.definition;
        let version = version_of(&deployment, GAME);
        store.save_version(&version, Arc::from([])).unwrap();
        let mut config = Config {
            shards: 2,
            partitions: PartitionCount::new(4).unwrap(),
            limits: Limits::default(),
            seed: 7,
            clock: Arc::new(ManualClock::start(Timestamp(1_000_000))),
            slow_threads: 1,
            retention: Retention::default(),
            memory: Memory::new(1 << 30),
        };
        change(&mut config);
        let prepared =
            driver::prepare(config, Arc::clone(&store) as Arc<_>, Scripted::new(boast)).unwrap();
        prepared.handle().deploy(Arc::clone(&deployment)).await;
        let (name, version) = (&definition.name, &definition.version);
        let activated =
            prepared
                .handle()
                .activate(&deployment.tenant, name, version, OnLive::NextEvent);
        activated.await;
        let (handle, joiner) = prepared.inherit(&Progress::default()).unwrap();
        Self {
            handle,
            joiner,
            store,
            tenant: deployment.tenant.clone(),
        }
    }

    /// Asks for everything, one after the other, until the host is cut off. Says how many were
    /// acknowledged, and of those how many for the second time.
    async fn ask_for_everything(&self) -> (usize, usize) {
        let (mut acknowledged, mut repeated) = (0, 0);
        for request in requests() {
            let reply = tokio::select! {
                reply = self.handle.request(&self.tenant, request) => reply,
                () = self.store.is_cut_off() => break,
            };
            repeated += usize::from(match reply {
                Reply::Created { existing, .. } => existing,
                Reply::Handled(handled) => handled.replayed,
                Reply::Tally { tally, replayed } => {
                    assert_eq!((tally.matched, tally.settled()), (2, 2));
                    replayed
                }
                other => panic!("neither created nor handled nor counted: {other:?}"),
            });
            acknowledged += 1;
        }
        (acknowledged, repeated)
    }

    /// Ends at once.
    async fn kill(self) {
        self.store.refuse_all();
        drop((self.handle, self.joiner));
        // Somebody may still be asking it something.
        while Arc::strong_count(&self.store) > 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Starts where ids are not remembered any more.
    async fn begin_later(path: &Path, retention: Retention) -> Self {
        Self::begin_with(path, None, |config| {
            config.clock = Arc::new(ManualClock::start(Timestamp(2_000_000)));
            config.limits.dedup_retention = Duration::ZERO;
            config.retention = retention;
        })
        .await
    }

    /// Waits until nothing happens any more: every child that was asked for has grown, and no
    /// source is on its way.
    async fn rests(&self) {
        loop {
            let all = describe(&*self.store, &self.tenant);
            let count = |text| {
                all.values()
                    .flatten()
                    .filter(move |line| line.starts_with(text))
            };
            let is_busy = ["Fired", "Cooling", "Born", "Awake"]
                .into_iter()
                .any(|state| count(state).next().is_some());
            if !is_busy && count("SPAWN").count() == count("Grown").count() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until instances are as they are there, or gone if they are over there.
    async fn comes_to(&self, all: &BTreeMap<String, Vec<String>>) {
        loop {
            let now = describe(&*self.store, &self.tenant);
            let is_there = |(id, events): (&String, &Vec<String>)| match now.get(id) {
                Some(same) => same.last() == events.last(),
                None => events.last().is_some_and(|end| end.starts_with("Grown")),
            };
            if all.iter().all(is_there) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends when everything is done, and says what there is.
    fn end(self) -> BTreeMap<String, Vec<String>> {
        let Self {
            joiner,
            store,
            tenant,
            ..
        } = self;
        assert!(joiner.shutdown(PATIENCE));
        describe(&*store, &tenant)
    }
}

/// By instance every event with what became of it, at the end the instance's state, context,
/// number of records, and what waits at it.
fn describe(store: &dyn Store, tenant: &TenantId) -> BTreeMap<String, Vec<String>> {
    let page = PageRequest::first(100);
    let found = store.instances(tenant, &InstanceFilter::default(), page);
    let describe = |instance: Snapshot| {
        let history = store.history(tenant, &instance.id, page).unwrap();
        let mut events: Vec<String> = history
            .items
            .iter()
            .map(|entry| match &entry.record.body {
                Body::Handled(handled) => {
                    format!("{} {}", handled.event.name, handled.disposition)
                }
                other => panic!("a history has events only: {other:?}"),
            })
            .collect();
        events.sort();
        let (state, context) = (state_of(&instance), instance.context.as_str());
        let waiting: Vec<String> = instance
            .waiting()
            .map(|waiting| format!("{} {}", waiting.kind(), waiting.event().id))
            .collect();
        events.push(format!(
            "{state} {} {context} {:?} {waiting:?}",
            instance.seq, instance.timers
        ));
        (instance.id.to_string(), events)
    };
    found.unwrap().items.into_iter().map(describe).collect()
}

/// Removes all history that may go.
fn forget(path: &Path, nothing: Retention) {
    let store = Sqlite::open(path, sqlite::Config::default()).unwrap();
    let removable = nothing.at(Timestamp(2_000_000), Duration::ZERO);
    while store.tidy().unwrap() {}
    while store.shorten(&removable).unwrap() {}
}

/// Creations, events and a broadcast of which each is recognised when it is repeated.
fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for (n, machine) in ["Source", "Target", "Target", "Source"]
        .into_iter()
        .enumerate()
    {
        let context = format!(r#"{{"key":{}}}"#, n % 2);
        requests.push(Request::Create(Create {
            component: ComponentName::new("Game"),
            machine: MachineName::new(machine),
            context: Json::parse(&context).unwrap(),
            id: instance(n),
            repeatable: Repeatable::ById,
            entry_point: false,
            trace_parent: None,
        }));
    }
    for (n, (source, event)) in [
        (0, "FIRE"),
        (3, "FIRE"),
        (0, "SPAWN"),
        (3, "SPAWN"),
        (0, "FIRE"),
        (1, "LATE"),
        (2, "LATE"),
        (1, "WAKE"),
    ]
    .into_iter()
    .enumerate()
    {
        requests.push(Request::Send(SendEvent {
            instance: instance(source),
            component: None,
            event: EventName::new(event),
            payload: Json::empty(),
            id: Some(EventId::from_stored(&format!("e{n}"))),
            expected_state: None,
            sent_at: None,
            trace_parent: None,
        }));
    }
    // To one target on each shard; what it comes to differs.
    let id = EventId::from_stored("b");
    requests.push(Request::Broadcast(Broadcast {
        selector: Arc::new(Selector {
            component: ComponentName::new("Game"),
            machine: Some(MachineName::new("Target")),
            state: None,
            by: SelectBy::Conditions(Vec::new()),
        }),
        event: EventName::new("HIT"),
        payload: Json::parse(r#"{"key":1}"#).unwrap(),
        cause: Cause {
            spread: true,
            ..Cause::outside(&id, None)
        },
        id,
        repeatable: true,
    }));
    requests
}

/// Ids on both shards.
fn instance(n: usize) -> InstanceId {
    let route = if n.is_multiple_of(2) { 0 } else { 1 << 15 };
    InstanceId::from_uuid(uuid_v8(n as u128, Some(route)))
}

/// What the sources' method does: it sends the instance an event now, and one in ten days.
fn boast(call: &Call) -> Behaviour {
    let mut outcome = willing(call);
    if let Ok(Answer::Action { sends, .. }) = &mut outcome.result {
        sends.push(Send::ToSelf {
            event: EventName::new("COOL"),
            payload: Json::empty(),
            delay: None,
        });
        sends.push(Send::ToSelf {
            event: EventName::new("REMEMBER"),
            payload: Json::parse(r#"{"how": "it was"}"#).unwrap(),
            delay: Some(Duration::from_secs(10 * 24 * 3_600)),
        });
    }
    Behaviour::Answers(outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_record_goes_on_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.db");
    let life = Life::begin(&path, None, 2).await;
    let asked = requests().len();
    assert_eq!(soon(life.ask_for_everything()).await, (asked, 0));
    let records = life.store.last_position();
    let whole = life.end();
    let records = usize::try_from(records.unwrap().0).unwrap();
    assert!(records > 20, "{records} records");
    for cut in 0..=records {
        let path = folder.path().join(format!("{cut}.db"));
        let life = Life::begin(&path, Some(cut), 2).await;
        let (acknowledged, repeated) = soon(life.ask_for_everything()).await;
        assert_eq!(repeated, 0);
        soon(life.kill()).await;
        // Now and then the next host has another number of shards, or nothing in memory.
        let passivate_after = cut.is_multiple_of(2).then_some(Duration::ZERO);
        let life = Life::begin_with(&path, None, |config| {
            config.shards = 1 + (cut + 1) % 3;
            config.limits.passivate_after = passivate_after;
        })
        .await;
        let (all, repeated) = soon(life.ask_for_everything()).await;
        assert_eq!(all, asked, "cut at {cut}");
        assert!(
            repeated >= acknowledged,
            "cut at {cut}: {repeated} of {acknowledged} known"
        );
        assert_eq!(life.end(), whole, "cut at {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_host_owes_is_done_though_no_history_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut removed = 0;
    for cut in 0.. {
        let by_age = cut % 2 == 0;
        let nothing = Retention {
            age: by_age.then_some(Duration::ZERO),
            records: (!by_age).then_some(0),
        };
        let path = folder.path().join(format!("{cut}.db"));
        let life = Life::begin(&path, Some(cut), 2).await;
        let (acknowledged, _) = soon(life.ask_for_everything()).await;
        soon(life.kill()).await;
        let copy = folder.path().join(format!("{cut}-copy.db"));
        fs::copy(&path, &copy).unwrap();
        forget(&copy, nothing);

        let life = Life::begin_later(&path, Retention::default()).await;
        soon(life.rests()).await;
        let all = life.end();
        let life = Life::begin_later(&copy, nothing).await;
        soon(life.comes_to(&all)).await;
        removed += all.len() - life.end().len();
        if acknowledged == requests().len() {
            break;
        }
    }
    assert!(removed > 0, "nothing was removed");
}

/// A target is made, ends and is deleted.
fn a_short_life(instance: &InstanceId) -> [Request; 3] {
    [
        Request::Create(Create {
            component: ComponentName::new("Game"),
            machine: MachineName::new("Target"),
            context: Json::empty(),
            id: instance.clone(),
            repeatable: Repeatable::ById,
            entry_point: false,
            trace_parent: None,
        }),
        Request::Terminate(Terminate {
            instance: instance.clone(),
            reason: None,
            trace_parent: None,
        }),
        Request::Delete(Delete {
            instance: instance.clone(),
            trace_parent: None,
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_survives_a_kill_and_its_id_is_free_once_its_records_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let id = instance(0);
    let taken = Refused::InstanceDeleted(id.clone());
    for cut in 0..=3 {
        let path = folder.path().join(format!("{cut}.db"));
        let life = Life::begin(&path, Some(cut), 2).await;
        let mut acknowledged = 0;
        for request in a_short_life(&id) {
            tokio::select! {
                reply = life.handle.request(&life.tenant, request) => {
                    assert!(!matches!(reply, Reply::Refused(_)), "cut at {cut}: {reply:?}");
                }
                () = life.store.is_cut_off() => break,
            }
            acknowledged += 1;
        }
        assert!(acknowledged <= cut, "cut at {cut}: {acknowledged}");
        soon(life.kill()).await;

        // What was acknowledged holds, and the rest is done.
        let life = Life::begin(&path, None, 2).await;
        let [create, end, delete] = a_short_life(&id);
        match soon(life.handle.request(&life.tenant, create.clone())).await {
            Reply::Refused(refused) => assert_eq!(refused, taken, "cut at {cut}"),
            reply => {
                assert!(acknowledged < 3, "cut at {cut}: {reply:?}");
                soon(life.handle.request(&life.tenant, end)).await;
                soon(life.handle.request(&life.tenant, delete)).await;
            }
        }
        let read = soon(life.handle.read(&life.tenant, &id)).await.unwrap();
        let unknown = Refused::UnknownInstance(id.clone());
        assert_eq!(read.map(|found| found.seq), Err(unknown), "cut at {cut}");
        assert!(life.end().is_empty(), "cut at {cut}");

        // All history is kept, and that of the deleted instance goes. The last record of all stays.
        let life = Life::begin_later(&path, Retention::default()).await;
        let [other, ..] = a_short_life(&instance(2));
        soon(life.handle.request(&life.tenant, other)).await;
        let created = async {
            loop {
                let reply = life.handle.request(&life.tenant, create.clone()).await;
                match reply {
                    Reply::Refused(refused) => assert_eq!(refused, taken, "cut at {cut}"),
                    reply => return reply,
                }
                tokio::task::yield_now().await;
            }
        };
        let reply = soon(created).await;
        assert!(
            matches!(&reply, Reply::Created { instance, existing: false } if instance.seq == 1),
            "cut at {cut}: {reply:?}"
        );
        assert_eq!(life.end().len(), 2, "cut at {cut}");
    }
}
