//! What callers ask for.

use std::sync::Arc;

use serde_json::json;
use xcomponent_core::{
    definition::{MatchingRule, OnLive, Operator},
    id::{
        ComponentName, EventId, EventName, InstanceId, MachineName, StateName, TenantId, Version,
        keyed_instance_id, singleton_id, uuid_v8,
    },
    input::{Broadcast, Create, Delete, Input, Repeatable, Request, SendEvent, Terminate, Ticket},
    json::{Json, Path},
    owed::letter_route,
    record::{Cause, Condition, DeadLetter, SelectBy, Selector},
};

use super::{TENANTS, World};
use crate::{model::Outside, plan::Kind};

const EVENTS: [&str; 20] = [
    "START", "START", "INC", "LOOP", "GO", "GO", "MATCH", "LATE", "CLOSE", "BREAK", "CHILD",
    "ACCOUNT", "PAY", "NEW", "PING", "DEBIT", "TICK", "SPIN", "NUDGE", "UNKNOWN",
];
const STATES: [&str; 4] = ["Fresh", "Open", "Wait", "Busy"];
const BROADCASTS: [(&str, &str, &str); 7] = [
    ("Shop", "Order", "MATCH"),
    ("Shop", "Order", "LOOP"),
    ("Shop", "Order", "GO"),
    ("Shop", "Task", "PING"),
    ("Shop", "Task", "CLOSE"),
    ("Bank", "Account", "MATCH"),
    ("Bank", "Account", "DEBIT"),
];

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Requests {
    count: u64,
    /// Sends with an id, to be repeated.
    sends: Vec<(TenantId, SendEvent)>,
    /// Broadcasts with an id, to be repeated.
    broadcasts: Vec<(TenantId, Broadcast)>,
}

impl Requests {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

impl World {
    /// Somebody asks for something.
    pub(super) fn ask(&mut self) {
        let tenant = TenantId::new(TENANTS[self.chance.usize(0..TENANTS.len())]);
        let (kind, ask): (Kind, fn(&mut Self, TenantId)) = match self.chance.u32(0..100) {
            0..=17 => (Kind::Create, Self::ask_create),
            18..=20 if self.plan.terminates() => (Kind::Terminate, Self::ask_terminate),
            21..=32 if self.plan.deletes() => (Kind::Delete, Self::ask_delete),
            18..=69 => (Kind::Send, Self::ask_send),
            70..=79 => (Kind::Repeat, Self::ask_again),
            80..=89 => (Kind::Broadcast, Self::ask_broadcast),
            90..=95 => (Kind::Replay, Self::ask_replay),
            _ => (Kind::Activate, Self::activate),
        };
        if self.allows(kind) {
            ask(self, tenant);
        }
    }

    fn request(&mut self, shard: usize, tenant: TenantId, request: Request) {
        let ticket = Ticket(self.requests.next());
        self.note(|| {
            format!(
                "s{shard} is asked {} by {tenant}: {}",
                ticket.0,
                describe(&request)
            )
        });
        self.waiting.insert(ticket, tenant.to_string());
        self.shards[shard].inbox.push_back(Input::Request {
            ticket,
            tenant,
            request,
        });
    }

    pub(super) fn ask_create(&mut self, tenant: TenantId) {
        let key = self.chance.u32(0..4);
        let peer = format!("i{}", self.chance.u32(0..8));
        let context = json!({ "tenant": tenant.as_str(), "key": key, "n": 0, "peer": peer });
        let (component, machine, id, repeatable) = match self.chance.u32(0..10) {
            0..=4 => (
                "Shop",
                "Order",
                named("i", self.chance.u32(0..8)),
                Repeatable::ById,
            ),
            5..=6 => (
                "Bank",
                "Account",
                named("a", self.chance.u32(0..4)),
                Repeatable::ById,
            ),
            7 => ("Shop", "Task", self.minted(), Repeatable::No),
            8 => {
                let (component, machine) = (ComponentName::new("Shop"), MachineName::new("Order"));
                let own = EventId::from_stored(&format!("key{}", self.chance.u32(0..4)));
                let id = keyed_instance_id(&tenant, &component, &machine, &own);
                ("Shop", "Order", id, Repeatable::ByKey(own))
            }
            _ => {
                let (component, machine) = (ComponentName::new("Bank"), MachineName::new("Ledger"));
                (
                    "Bank",
                    "Ledger",
                    singleton_id(&tenant, &component, &machine),
                    Repeatable::No,
                )
            }
        };
        let shard = self.owner(&id);
        let create = Create {
            component: ComponentName::new(component),
            machine: MachineName::new(machine),
            context: Json::from_value(&context),
            id,
            repeatable,
            entry_point: false,
            trace_parent: None,
        };
        self.request(shard, tenant, Request::Create(create));
    }

    fn minted(&mut self) -> InstanceId {
        InstanceId::from_uuid(uuid_v8(self.chance.u128(..), None))
    }

    /// An instance that there may be.
    fn some_instance(&mut self, tenant: &TenantId) -> InstanceId {
        let known = self
            .model
            .instances
            .keys()
            .filter(|key| key.0 == tenant.as_str());
        let known: Vec<&String> = known.map(|key| &key.1).collect();
        match self.chance.u32(0..10) {
            0..=4 => named("i", self.chance.u32(0..8)),
            5 => named("a", self.chance.u32(0..4)),
            _ if known.is_empty() => named("i", 0),
            _ => InstanceId::from_stored(known[self.chance.usize(0..known.len())]),
        }
    }

    fn ask_send(&mut self, tenant: TenantId) {
        let instance = self.some_instance(&tenant);
        let number = self.requests.next();
        let with_id = self.chance.u32(0..10) < 6;
        let expects = with_id && self.chance.u32(0..10) == 0;
        let expected = expects.then(|| STATES[self.chance.usize(0..STATES.len())]);
        let id = with_id.then(|| EventId::from_stored(&format!("e{number}")));
        let key = self.chance.u32(0..4);
        let payload = json!({ "tenant": tenant.as_str(), "key": key, "n": self.chance.u32(0..3) });
        let send = SendEvent {
            instance,
            component: None,
            event: EventName::new(EVENTS[self.chance.usize(0..EVENTS.len())]),
            payload: Json::from_value(&payload),
            id: id.clone(),
            expected_state: expected.map(StateName::new),
            sent_at: None,
            trace_parent: None,
        };
        if let Some(id) = id {
            let outside = Outside {
                expected: expected.map(str::to_owned),
                number,
            };
            self.model
                .outside
                .insert((tenant.to_string(), id.to_string()), outside);
            self.requests.sends.push((tenant.clone(), send.clone()));
        }
        let shard = self.owner(&send.instance);
        self.request(shard, tenant, Request::Send(send));
    }

    fn ask_terminate(&mut self, tenant: TenantId) {
        let instance = self.some_instance(&tenant);
        let shard = self.owner(&instance);
        let terminate = Terminate {
            instance,
            reason: None,
            trace_parent: None,
        };
        self.request(shard, tenant, Request::Terminate(terminate));
    }

    /// Mostly of an instance that has ended: there are few of them.
    fn ask_delete(&mut self, tenant: TenantId) {
        let known = self.model.instances.iter();
        let ended: Vec<&String> = known
            .filter(|(key, instance)| key.0 == tenant.as_str() && instance.ended)
            .map(|(key, _)| &key.1)
            .collect();
        let instance = match ended.len() {
            0 => self.some_instance(&tenant),
            _ if self.chance.u32(0..4) == 0 => self.some_instance(&tenant),
            count => InstanceId::from_stored(ended[self.chance.usize(0..count)]),
        };
        let shard = self.owner(&instance);
        let delete = Delete {
            instance,
            trace_parent: None,
        };
        self.request(shard, tenant, Request::Delete(delete));
    }

    /// The same once more; now and then with another payload under the same id.
    fn ask_again(&mut self, _: TenantId) {
        if !self.requests.broadcasts.is_empty() && self.chance.bool() {
            return self.ask_broadcast_again();
        }
        if self.requests.sends.is_empty() {
            return;
        }
        let which = self.chance.usize(0..self.requests.sends.len());
        let (tenant, mut send) = self.requests.sends[which].clone();
        let id = send
            .id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        // It may have been refused at first, and then comes later than what was asked after it.
        if let Some(outside) = self.model.outside.get_mut(&(tenant.to_string(), id)) {
            outside.number = 0;
        }
        if self.chance.u32(0..8) == 0 {
            let payload = json!({ "tenant": tenant.as_str(), "key": 9 });
            send.payload = Json::from_value(&payload);
        } else if self.chance.bool() {
            send.payload = respelled(&send.payload);
        }
        let shard = self.owner(&send.instance);
        self.request(shard, tenant, Request::Send(send));
    }

    fn ask_broadcast(&mut self, tenant: TenantId) {
        let number = self.requests.next();
        let (component, machine, event) = BROADCASTS[self.chance.usize(0..BROADCASTS.len())];
        let state = (self.chance.u32(0..3) == 0).then(|| StateName::new("Open"));
        let key = self.chance.u32(0..4);
        let by = if self.chance.bool() {
            SelectBy::MachineRules
        } else {
            SelectBy::Conditions(vec![condition("key", key.into())])
        };
        let selector = Arc::new(Selector {
            component: ComponentName::new(component),
            machine: Some(MachineName::new(machine)),
            state,
            by,
        });
        let id = EventId::from_stored(&format!("b{number}"));
        let cause = Cause {
            spread: self.shards.len() > 1,
            ..Cause::outside(&id, None)
        };
        let payload = json!({ "tenant": tenant.as_str(), "key": key, "n": 1 });
        let broadcast = Broadcast {
            selector,
            event: EventName::new(event),
            payload: Json::from_value(&payload),
            id,
            repeatable: self.chance.bool(),
            cause,
        };
        let key = (tenant.to_string(), broadcast.id.to_string());
        self.model.selections.insert(key);
        if broadcast.repeatable && self.plan.repeats_broadcasts() {
            let asked = (tenant.clone(), broadcast.clone());
            self.requests.broadcasts.push(asked);
        }
        for shard in 0..self.shards.len() {
            self.request(shard, tenant.clone(), Request::Broadcast(broadcast.clone()));
        }
    }

    /// A broadcast once more. What it missed at first it may reach now.
    fn ask_broadcast_again(&mut self) {
        let which = self.chance.usize(0..self.requests.broadcasts.len());
        let (tenant, mut broadcast) = self.requests.broadcasts[which].clone();
        let id = broadcast.id.to_string();
        if self.chance.bool() {
            broadcast.payload = respelled(&broadcast.payload);
        }
        for shard in 0..self.shards.len() {
            self.model.chosen_again(shard, &tenant.to_string(), &id);
            self.request(shard, tenant.clone(), Request::Broadcast(broadcast.clone()));
        }
    }

    fn ask_replay(&mut self, _: TenantId) {
        let letters = self.log.letters();
        if letters.is_empty() {
            return;
        }
        let letter: DeadLetter = letters[self.chance.usize(0..letters.len())].clone();
        let tenant = letter.tenant.clone();
        let route = letter_route(&letter.event.id, letter.instance.as_ref());
        let shard = self.placement().shard_of_route(route);
        let id = letter.event.id.replay(letter.attempts.max(1));
        self.model
            .outside
            .insert((tenant.to_string(), id.to_string()), Outside::default());
        let letter = Box::new(letter);
        self.request(shard, tenant, Request::Replay { letter });
    }

    fn activate(&mut self, tenant: TenantId) {
        let version = if self.chance.bool() { "1" } else { "2" };
        let pins = self.chance.u32(0..4) == 0;
        let on_live = if pins { OnLive::Pin } else { OnLive::NextEvent };
        self.note(|| format!("{tenant} activates Shop {version} {on_live:?}"));
        self.active
            .insert(tenant.clone(), (Version::new(version), on_live));
        for shard in &mut self.shards {
            shard.inbox.push_back(Input::Activate {
                tenant: tenant.clone(),
                component: ComponentName::new("Shop"),
                version: Version::new(version),
                on_live,
            });
        }
    }
}

fn named(prefix: &str, number: u32) -> InstanceId {
    InstanceId::from_stored(&format!("{prefix}{number}"))
}

fn condition(member: &str, value: serde_json::Value) -> Condition {
    let path = || Path::parse(member).expect("a member's name is a path");
    let rule = MatchingRule {
        event_property: path(),
        instance_property: path(),
        operator: Operator::Equal,
    };
    Condition {
        rule,
        value: Some(Json::from_value(&value)),
    }
}

/// The same JSON as another program writes it.
fn respelled(payload: &Json) -> Json {
    let members = payload.members().unwrap_or_default().into_iter().rev();
    let members = members.map(|(name, value)| format!(" \"{name}\" : {value} "));
    let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    Json::parse(&text).expect("it is the same JSON")
}

fn describe(request: &Request) -> String {
    match request {
        Request::Create(create) => {
            format!("create {} {} {}", create.machine, create.id, create.context)
        }
        Request::Send(send) => format!(
            "{:?} {} to {} {}",
            send.id, send.event, send.instance, send.payload
        ),
        Request::Broadcast(broadcast) => format!(
            "{} {} {:?}",
            broadcast.id, broadcast.event, broadcast.selector
        ),
        Request::Replay { letter } => format!("replay {}", letter.event.id),
        Request::Discard { letter } => format!("discard {}", letter.event.id),
        Request::Terminate(terminate) => format!("terminate {}", terminate.instance),
        Request::Delete(delete) => format!("delete {}", delete.instance),
        Request::UnblockInstance { instance } => format!("unblock {instance}"),
        Request::Read { instance } => format!("read {instance}"),
        Request::Receive(receive) => format!("receive {}", receive.stream),
        Request::Return { deliveries, .. } => format!("return {}", deliveries.len()),
        Request::Preview { .. }
        | Request::Migrate(_)
        | Request::Census { .. }
        | Request::Breakers { .. }
        | Request::Unblock { .. } => "about versions".to_owned(),
    }
}
