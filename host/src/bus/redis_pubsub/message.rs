//! The messages of xcomponent-ai: JSON on channels of Redis.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use xcomponent_core::{
    call::Event,
    definition::{MatchingRule, Operator},
    id::{ComponentName, EventId, EventName, InstanceId, MachineName, StateName},
    json::{Json, Path},
    record::{Cause, Condition, Outgoing, SelectBy, Selector, Target},
    time::Timestamp,
};

use super::{super::shipment::check, lenient};

/// The channel on which cascades into a component come.
pub(super) const CASCADES: &str = "xcomponent:";

/// Creations of instances.
pub(super) const CREATE: &str = "fsm:commands:create_instance";

/// Events for whoever rules match.
pub(super) const CROSS: &str = "fsm:commands:cross_component_event";

/// Events for one instance.
pub(super) const COMMANDS: [&str; 2] = ["external:commands", "xcomponent:external:commands"];

/// Events for all that they concern.
pub(super) const BROADCASTS: [&str; 2] = ["external:broadcasts", "xcomponent:external:broadcasts"];

/// The name that a creation has in an instance's history.
const CREATED: &str = "$created";

/// One message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Message {
    /// On `xcomponent:<Component>`.
    Cascade(Cascade),
    /// On [`CREATE`].
    Create(Create),
    /// On [`CROSS`].
    Cross(Cross),
    /// On [`COMMANDS`].
    Command(Command),
    /// On [`BROADCASTS`].
    Broadcast(Broadcast),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cascade {
    #[serde(default, deserialize_with = "lenient::or_default")]
    source_component: String,
    target_component: String,
    target_machine: String,
    #[serde(default)]
    target_state: Option<String>,
    event: SaidEvent,
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    filters: Vec<Filter>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Create {
    component_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine_name: Option<String>,
    #[serde(default)]
    context: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_component: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_instance_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::time")]
    timestamp: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cross {
    target_component: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_machine: Option<String>,
    event: SaidEvent,
    #[serde(default, deserialize_with = "lenient::or_default")]
    matching_rules: Vec<Rule>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    source_component: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    source_instance_id: String,
    #[serde(default, deserialize_with = "lenient::time")]
    timestamp: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Command {
    component_name: String,
    instance_id: String,
    event: SaidEvent,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Broadcast {
    component_name: String,
    machine_name: String,
    #[serde(default)]
    current_state: Option<String>,
    event: SaidEvent,
    #[serde(default, deserialize_with = "lenient::or_default")]
    filters: Vec<Filter>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SaidEvent {
    #[serde(rename = "type", alias = "event")]
    name: String,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "lenient::time")]
    timestamp: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Filter {
    property: String,
    #[serde(default = "equal", deserialize_with = "or_equal")]
    operator: String,
    #[serde(default)]
    value: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default, deserialize_with = "lenient::or_default")]
    event_property: String,
    instance_property: String,
    #[serde(default = "equal", deserialize_with = "or_equal")]
    operator: String,
    #[serde(default)]
    value: Option<Box<RawValue>>,
}

fn equal() -> String {
    Operator::Equal.to_string()
}

fn or_equal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let operator = Option::deserialize(deserializer)?;
    Ok(operator.unwrap_or_else(equal))
}

impl Message {
    /// What a transition of a component sends.
    pub(super) fn of(outgoing: &Outgoing, source: Option<&ComponentName>) -> Self {
        let Outgoing {
            to, event, cause, ..
        } = outgoing;
        let source = source.map(ToString::to_string);
        let sender = cause.instance.as_ref().map(ToString::to_string);
        match to {
            Target::Instance { component, id } => Self::Command(Command {
                component_name: component.to_string(),
                instance_id: id.to_string(),
                event: SaidEvent::of(event),
            }),
            Target::Create {
                component, machine, ..
            } => Self::Create(Create {
                component_name: component.to_string(),
                machine_name: machine.as_ref().map(ToString::to_string),
                context: Some(raw(&event.payload)),
                source_component: source,
                source_instance_id: sender,
                timestamp: event.at.0,
            }),
            Target::Selection(selector) => match (&selector.by, &selector.state) {
                (SelectBy::Conditions(conditions), None) => Self::Cross(Cross {
                    target_component: selector.component.to_string(),
                    target_machine: selector.machine.as_ref().map(ToString::to_string),
                    event: SaidEvent::of(event),
                    matching_rules: conditions.iter().map(Rule::of).collect(),
                    source_component: source.unwrap_or_default(),
                    source_instance_id: sender.unwrap_or_default(),
                    timestamp: event.at.0,
                }),
                (by, state) => Self::Cascade(Cascade {
                    source_component: source.unwrap_or_default(),
                    target_component: selector.component.to_string(),
                    target_machine: selector
                        .machine
                        .as_ref()
                        .map_or_else(String::new, ToString::to_string),
                    target_state: Some(match state {
                        Some(state) => state.to_string(),
                        None => "*".to_owned(),
                    }),
                    event: SaidEvent::of(event),
                    filters: match by {
                        SelectBy::MachineRules => Vec::new(),
                        SelectBy::Conditions(conditions) => {
                            conditions.iter().map(Filter::of).collect()
                        }
                    },
                }),
            },
        }
    }

    /// Its channel, and what is said there.
    pub(super) fn published(&self) -> (String, String) {
        let channel = match self {
            Self::Cascade(cascade) => format!("{CASCADES}{}", cascade.target_component),
            Self::Create(_) => CREATE.to_owned(),
            Self::Cross(_) => CROSS.to_owned(),
            Self::Command(_) => COMMANDS[1].to_owned(),
            Self::Broadcast(_) => BROADCASTS[1].to_owned(),
        };
        let text = serde_json::to_string(self).expect("texts and JSON are written without fail");
        (channel, text)
    }

    /// Reads what was said on a channel.
    pub(super) fn read(channel: &str, text: &str) -> Result<Self, String> {
        let read = match channel {
            CREATE => serde_json::from_str(text).map(Self::Create),
            CROSS => serde_json::from_str(text).map(Self::Cross),
            channel if COMMANDS.contains(&channel) => serde_json::from_str(text).map(Self::Command),
            channel if BROADCASTS.contains(&channel) => {
                serde_json::from_str(text).map(Self::Broadcast)
            }
            _ => serde_json::from_str(text).map(Self::Cascade),
        };
        read.map_err(|error| error.to_string())
    }

    /// The component that it is for.
    pub(super) fn component(&self) -> ComponentName {
        ComponentName::new(match self {
            Self::Cascade(cascade) => &cascade.target_component,
            Self::Create(create) => &create.component_name,
            Self::Cross(cross) => &cross.target_component,
            Self::Command(command) => &command.component_name,
            Self::Broadcast(broadcast) => &broadcast.component_name,
        })
    }

    /// The same as something that is sent, under this id.
    pub(super) fn outgoing(self, id: EventId, now: Timestamp) -> Result<Outgoing, String> {
        let (to, name, payload) = self.said(&id)?;
        let payload = match payload.as_ref().map(|payload| payload.get()) {
            None | Some("null") => Json::empty(),
            Some(text) => Json::parse(text).map_err(|error| error.to_string())?,
        };
        let event = Event {
            id: id.clone(),
            name: EventName::new(name),
            payload,
            at: now,
        };
        let mut outgoing = Outgoing {
            n: 0,
            to,
            event,
            cause: Cause::outside(&id, None),
            elsewhere: false,
        };
        check(&mut outgoing)?;
        Ok(outgoing)
    }

    /// Whom it is for, and what is said.
    fn said(self, id: &EventId) -> Result<(Target, String, Option<Box<RawValue>>), String> {
        let component = self.component();
        Ok(match self {
            Self::Cascade(said) => {
                let machine = Some(said.target_machine);
                let to = selection(component, machine, said.target_state, said.filters)?;
                (to, said.event.name, said.event.payload)
            }
            Self::Cross(said) => {
                let filters = said.matching_rules.into_iter().map(Filter::of_rule);
                let to = selection(component, said.target_machine, None, filters.collect())?;
                (to, said.event.name, said.event.payload)
            }
            Self::Broadcast(said) => {
                let machine = Some(said.machine_name);
                let to = selection(component, machine, said.current_state, said.filters)?;
                (to, said.event.name, said.event.payload)
            }
            Self::Command(said) => {
                let id = InstanceId::parse(&said.instance_id).map_err(|error| error.to_string())?;
                let to = Target::Instance { component, id };
                (to, said.event.name, said.event.payload)
            }
            Self::Create(said) => {
                let to = Target::Create {
                    component,
                    machine: said.machine_name.map(MachineName::new),
                    id: InstanceId::derive(id, 1, None),
                    parent: None,
                };
                (to, CREATED.to_owned(), said.context)
            }
        })
    }
}

/// The instances that are meant: by these filters, or by the machine's own rules.
fn selection(
    component: ComponentName,
    machine: Option<String>,
    state: Option<String>,
    filters: Vec<Filter>,
) -> Result<Target, String> {
    let by = if filters.is_empty() {
        SelectBy::MachineRules
    } else {
        let conditions = filters.into_iter().map(Filter::read);
        SelectBy::Conditions(conditions.collect::<Result<_, _>>()?)
    };
    Ok(Target::Selection(Arc::new(Selector {
        component,
        machine: machine.map(MachineName::new),
        state: state.filter(|state| state != "*").map(StateName::new),
        by,
    })))
}

impl SaidEvent {
    fn of(event: &Event) -> Self {
        Self {
            name: event.name.to_string(),
            payload: Some(raw(&event.payload)),
            timestamp: event.at.0,
        }
    }
}

impl Filter {
    fn of(condition: &Condition) -> Self {
        Self {
            property: condition.rule.instance_property.to_string(),
            operator: condition.rule.operator.to_string(),
            value: condition.value.as_ref().map(raw),
        }
    }

    fn of_rule(rule: Rule) -> Self {
        Self {
            property: rule.instance_property,
            operator: rule.operator,
            value: rule.value,
        }
    }

    fn read(self) -> Result<Condition, String> {
        let path = || Path::parse(&self.property);
        let path = || path().ok_or_else(|| format!("`{}` is no path", self.property));
        let operator = Operator::parse(&self.operator);
        let value = self.value.as_ref().map(|value| Json::parse(value.get()));
        Ok(Condition {
            rule: MatchingRule {
                event_property: path()?,
                instance_property: path()?,
                operator: operator.ok_or_else(|| format!("`{}` is no operator", self.operator))?,
            },
            value: value.transpose().map_err(|error| error.to_string())?,
        })
    }
}

impl Rule {
    fn of(condition: &Condition) -> Self {
        Self {
            event_property: condition.rule.event_property.to_string(),
            instance_property: condition.rule.instance_property.to_string(),
            operator: condition.rule.operator.to_string(),
            value: condition.value.as_ref().map(raw),
        }
    }
}

fn raw(json: &Json) -> Box<RawValue> {
    let raw = RawValue::from_string(json.as_str().to_owned());
    raw.expect("checked when it was made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_other_languages_are_read() {
        for (channel, text) in [
            (
                COMMANDS[0],
                r#"{"componentName":"A","instanceId":"a-1","event":{"type":"GO","payload":null,"timestamp":null}}"#,
            ),
            (
                BROADCASTS[1],
                r#"{"componentName":"A","machineName":"M","currentState":null,"filters":null,"event":{"type":"GO","timestamp":1700000000123.5}}"#,
            ),
            (
                BROADCASTS[0],
                r#"{"componentName":"A","machineName":"M","filters":[{"property":"a","operator":null,"value":1.5}],"event":{"event":"GO","timestamp":"2023-11-14T22:13:20Z"}}"#,
            ),
            (
                CREATE,
                r#"{"componentName":"A","machineName":null,"context":null,"sourceComponent":null,"timestamp":1.7e12}"#,
            ),
            (
                CROSS,
                r#"{"targetComponent":"A","targetMachine":"M","matchingRules":null,"sourceComponent":null,"sourceInstanceId":null,"event":{"type":"GO"},"timestamp":"now"}"#,
            ),
            (
                "xcomponent:A",
                r#"{"sourceComponent":null,"targetComponent":"A","targetMachine":"M","targetState":"*","filters":null,"event":{"type":"GO"}}"#,
            ),
        ] {
            let message = Message::read(channel, text).unwrap_or_else(|error| {
                panic!("{channel}: {error}");
            });
            let id = EventId::parse("e-1").expect("a legal id");
            let outgoing = message.outgoing(id, Timestamp(1));
            assert!(outgoing.is_ok(), "{channel}: {outgoing:?}");
        }
    }
}
