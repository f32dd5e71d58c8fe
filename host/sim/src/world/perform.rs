//! What the engines want done, and what comes of it.

use serde_json::Value;
use xcomponent_core::{
    call::{self, Call, Failure, Fault, FaultCode, Outcome, Refusal, Send},
    definition::MethodKind,
    effect::{Destination, Effect, Reply},
    id::{EventId, EventName, InstanceId, MachineName, TenantId},
    input::{Found, Input, Ticket},
    json::Json,
    record::{AppendSeq, Outgoing, Record},
    time::Duration,
};

use super::{Parcel, World};
use crate::{
    guest::{self, Answer, Question, Sent},
    plan::Bug,
    property,
};

impl World {
    /// Takes at most so many effects of a shard; whether there are no more.
    pub(super) fn poll(&mut self, shard: usize, at_most: usize) -> Result<bool, String> {
        for _ in 0..at_most {
            match self.shards[shard].engine.poll_effect() {
                Some(effect) => self.perform(shard, effect)?,
                None => {
                    self.tell_received(shard);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A shard that wants nothing more has taken in all that it received.
    fn tell_received(&mut self, number: usize) {
        let shard = &mut self.shards[number];
        if !shard.engine.holds_selections() {
            let own = shard.positions.values().next_back().copied();
            let through = &mut shard.received[number];
            *through = own.unwrap_or_default().max(*through);
            self.log.take_in(number, shard.received.as_slice().into());
        }
    }

    fn perform(&mut self, shard: usize, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Invoke { lease, call } => {
                self.note(|| {
                    format!(
                        "s{shard} asks {} for {} about {}",
                        call.method, call.instance, call.event.id
                    )
                });
                let key = (
                    call.deployment.tenant.to_string(),
                    call.instance.to_string(),
                );
                let busy = self.in_flight.insert(key, (shard, lease));
                if busy.is_some_and(|busy| busy != (shard, lease)) {
                    return Err(format!(
                        "two transitions are in flight at {}",
                        call.instance
                    ));
                }
                self.calls.push((shard, lease, *call));
            }
            Effect::Release { lease, healthy } => {
                self.note(|| format!("s{shard} releases {} ({healthy})", lease.0));
                self.in_flight.retain(|_, other| *other != (shard, lease));
            }
            Effect::Append { seq, record } => self.append(shard, seq, record)?,
            Effect::Deliver {
                tenant,
                to,
                outgoing,
                after,
            } => self.deliver(shard, &tenant, to, &outgoing, after)?,
            Effect::Reply {
                ticket,
                after,
                reply,
            } => {
                self.shards[shard].gate.push((after, ticket, reply));
                self.let_out(shard)?;
            }
            Effect::Reload { instances } => self.reloads.push((shard, instances)),
            Effect::Recall {
                tenant,
                instance,
                event,
            } => self.recalls.push_back((shard, tenant, instance, event)),
            Effect::RecallBroadcast { tenant, event } => {
                self.rebroadcasts.push_back((shard, tenant, event));
            }
            Effect::Unused { .. } => {}
        }
        Ok(())
    }

    fn append(&mut self, shard: usize, seq: AppendSeq, record: Record) -> Result<(), String> {
        self.note(|| format!("s{shard} appends {} {}", seq.0, property::describe(&record)));
        let last = self.shards[shard].positions.keys().next_back().copied();
        let position = self.log.append(shard, seq, record);
        self.shards[shard].positions.insert(seq, position);
        match last {
            Some(last) if seq <= last => Err(format!("record {} came after {}", seq.0, last.0)),
            _ => Ok(()),
        }
    }

    fn deliver(
        &mut self,
        shard: usize,
        tenant: &TenantId,
        to: Destination,
        outgoing: &Outgoing,
        after: AppendSeq,
    ) -> Result<(), String> {
        let all = 0..self.shards.len();
        let targets: Vec<usize> = match to {
            Destination::Partition(partition) => vec![usize::from(partition.0) % all.len()],
            Destination::Others => all.filter(|other| *other != shard).collect(),
        };
        let position = self.shards[shard].positions.get(&after).copied();
        for target in targets {
            let parcel = Parcel {
                tenant: tenant.clone(),
                outgoing: outgoing.clone(),
                after: position.ok_or("a delivery before its record")?,
            };
            self.links
                .entry((shard, target))
                .or_default()
                .push_back(parcel);
        }
        Ok(())
    }

    /// Answers that depend on durable records only leave.
    fn let_out(&mut self, shard: usize) -> Result<(), String> {
        let durable = if self.has(Bug::AcknowledgeEarly) {
            AppendSeq(u64::MAX)
        } else {
            self.shards[shard].durable
        };
        let gate = std::mem::take(&mut self.shards[shard].gate);
        let (leave, stay): (Vec<_>, Vec<_>) =
            gate.into_iter().partition(|(after, ..)| *after <= durable);
        self.shards[shard].gate = stay;
        for (_, ticket, reply) in leave {
            self.answer(shard, ticket, &reply)?;
        }
        Ok(())
    }

    fn answer(&mut self, shard: usize, ticket: Ticket, reply: &Reply) -> Result<(), String> {
        self.note(|| {
            format!(
                "s{shard} answers {}: {}",
                ticket.0,
                property::describe_reply(reply)
            )
        });
        let tenant = self.waiting.remove(&ticket);
        let tenant = tenant.ok_or("an answer to nobody, or a second one")?;
        property::answer(&self.log, &tenant, reply)
    }

    /// The log makes so many records durable.
    pub(super) fn commit(&mut self, records: usize) -> Result<(), String> {
        for _ in 0..records {
            let (partitions, count) = (self.partitions, self.shards.len());
            let Some(entry) = self.log.commit()? else {
                return Ok(());
            };
            let shard = entry.shard;
            let is_here = |id: &str| {
                let id = InstanceId::from_stored(id);
                usize::from(partitions.partition(&id).0) % count == shard
            };
            self.model
                .note(shard, &entry.record, is_here)
                .map_err(|what| format!("{what}\n   in {}", property::describe(&entry.record)))?;
            self.shards[shard].durable = entry.seq;
            self.let_out(shard)?;
        }
        Ok(())
    }

    /// One of the guests that were asked answers.
    pub(super) fn answer_call(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let which = self.chance.usize(0..self.calls.len());
        let (shard, lease, call) = self.calls.swap_remove(which);
        let outcome = outcome(&call);
        let input = Input::Outcome { lease, outcome };
        self.shards[shard].engine.handle(input, self.now);
    }

    /// The store answers.
    pub(super) fn answer_reload(&mut self) {
        if self.reloads.is_empty() {
            return;
        }
        let which = self.chance.usize(0..self.reloads.len());
        let (shard, asked) = self.reloads.swap_remove(which);
        let known = asked
            .iter()
            .filter_map(|(tenant, id)| self.log.instance(tenant, id));
        let found = Found {
            instances: known.cloned().collect(),
            unreadable: Vec::new(),
        };
        self.note(|| format!("s{shard} has {asked:?} again"));
        let input = Input::Reloaded { asked, found };
        self.shards[shard].engine.handle(input, self.now);
    }

    /// The store answers whom a broadcast reached.
    fn answer_rebroadcast(&mut self) {
        let Some((shard, tenant, event)) = self.rebroadcasts.pop_front() else {
            return;
        };
        let reached = self.log.reached(&tenant, &event);
        let slices = reached.selected.len();
        self.note(|| format!("s{shard} recalls {event}: {slices} slices"));
        let input = Input::BroadcastRecalled {
            tenant,
            event,
            reached,
        };
        self.shards[shard].engine.handle(input, self.now);
    }

    /// The store answers what became of an event.
    pub(super) fn answer_recall(&mut self) {
        let Some((shard, tenant, instance, event)) = self.recalls.pop_front() else {
            return self.answer_rebroadcast();
        };
        let handled = self.log.recall(&tenant, &instance, &event);
        self.note(|| format!("s{shard} recalls {event}: {}", handled.is_some()));
        let input = Input::Recalled {
            tenant,
            instance,
            event,
            handled,
        };
        self.shards[shard].engine.handle(input, self.now);
    }
}

/// What the fake guest makes of a call.
fn outcome(call: &Call) -> Outcome {
    let (tenant, instance) = (
        call.deployment.tenant.to_string(),
        call.instance.to_string(),
    );
    let (event, context) = (call.event.id.to_string(), call.context.value());
    let answer = guest::answer(Question {
        tenant: &tenant,
        guard: call.kind == MethodKind::Guard,
        method: call.method.as_str(),
        instance: &instance,
        event: &event,
        attempt: call.attempt,
        sends: call.sends,
        context: &context,
    });
    let payload = guest::payload(&tenant, &context);
    let result = match answer {
        Answer::Guard(passes) => Ok(call::Answer::Guard(passes)),
        Answer::Action { context, sends } => Ok(call::Answer::Action {
            context: context.map(|context| Json::from_value(&context)),
            sends: sends.into_iter().map(|sent| send(sent, &payload)).collect(),
        }),
        Answer::Refused => Err(Failure::Refused(Refusal {
            code: "no".into(),
            message: "no".into(),
        })),
        Answer::Panicked => Err(Failure::Fault(Fault {
            code: FaultCode::Trap,
            message: "panicked".into(),
            backtrace: None,
        })),
    };
    Outcome {
        result,
        logs: Vec::new(),
        fuel: 1,
    }
}

fn send(sent: Sent, payload: &Value) -> Send {
    let payload = Json::from_value(payload);
    match sent {
        Sent::Itself { event, delay } => Send::ToSelf {
            event: EventName::new(event),
            payload,
            delay: delay.map(Duration),
        },
        Sent::Peer { id, event, delay } => Send::ToInstance {
            component: None,
            instance: InstanceId::from_stored(&id),
            event: EventName::new(event),
            payload,
            delay: delay.map(Duration),
        },
        Sent::Tasks => Send::Broadcast {
            component: None,
            machine: MachineName::new("Task"),
            state: None,
            event: EventName::new("PING"),
            payload,
            delay: None,
        },
        Sent::Child { context } => Send::Create {
            component: None,
            machine: MachineName::new("Task"),
            context: Json::from_value(&context),
        },
        Sent::Cancel { id } => Send::Cancel {
            id: EventId::from_stored(&id),
        },
    }
}
