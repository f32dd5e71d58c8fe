//! What a script says: YAML to checked steps. The only file of the host that knows the YAML library.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;
use xcomponent_core::time::{Duration, Timestamp};

/// Steps of a script at most, repetitions counted: what a person waits for, not what a host bears.
pub const STEPS_MAX: usize = 1_000_000;

/// Steps that are repeated may hold repeated steps, so deep.
const NESTING_MAX: usize = 4;

/// 2026-01-01T00:00:00Z, where a script names no start.
const START: Timestamp = Timestamp(1_767_225_600_000);

/// A script, checked as far as that is possible without components.
#[derive(Clone, Debug)]
pub struct Script {
    /// What it shows.
    pub title: Option<String>,
    /// The components it runs, as the script names them: relative to its own place.
    pub components: Vec<PathBuf>,
    /// When it begins.
    pub start: Timestamp,
    /// What happens, repetitions written out.
    pub(super) steps: Vec<Step>,
}

/// Why a script cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Where it stands, from 1.
    pub(super) line: usize,
    /// A sentence about what comes.
    pub(super) say: Option<String>,
    /// Whether what happens goes without saying.
    pub(super) is_silent: bool,
    /// What is done.
    pub(super) action: Action,
    /// What must be the case afterwards.
    pub(super) expect: Option<Expect>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Create(Create),
    Send(Send),
    Broadcast(Broadcast),
    Advance(Duration),
    Find(Find),
    /// Nothing: it only expects or says something.
    Look,
}

/// `create`: a new instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    pub(super) component: Option<String>,
    pub(super) machine: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) context: Map<String, Value>,
}

/// `send`: an event for one instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    pub(super) to: String,
    pub(super) event: String,
    #[serde(default = "empty")]
    pub(super) payload: Value,
}

/// `broadcast`: an event for a selection of instances.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Broadcast {
    pub(super) component: Option<String>,
    pub(super) machine: String,
    pub(super) state: Option<String>,
    pub(super) event: String,
    #[serde(default = "empty")]
    pub(super) payload: Value,
}

/// `find`: gives a name to the one instance that is meant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    pub(super) component: Option<String>,
    pub(super) machine: String,
    pub(super) state: Option<String>,
    /// Paths into the context, and what stands there.
    #[serde(default, rename = "where")]
    pub(super) holds: BTreeMap<String, Value>,
    #[serde(rename = "as")]
    pub(super) name: String,
}

/// `expect`: what must be the case; what is absent does not matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    // What became of the step.
    pub(super) disposition: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) code: Option<String>,
    /// Stands in the message.
    pub(super) message: Option<String>,
    pub(super) refused: Option<String>,
    // How a broadcast ended.
    pub(super) matched: Option<u64>,
    pub(super) transitioned: Option<u64>,
    pub(super) ignored: Option<u64>,
    pub(super) deferred: Option<u64>,
    pub(super) rejected: Option<u64>,
    pub(super) dead_lettered: Option<u64>,
    // An instance: this one, or the one that the step was about.
    pub(super) instance: Option<String>,
    pub(super) state: Option<String>,
    pub(super) status: Option<String>,
    pub(super) context: Option<Map<String, Value>>,
    /// The states it entered, oldest first.
    pub(super) path: Option<Vec<String>>,
    /// All that happened to it, oldest first, as `--json` tells it: what is named must be so.
    pub(super) history: Option<Vec<Map<String, Value>>>,
    // How many there are.
    pub(super) component: Option<String>,
    pub(super) machine: Option<String>,
    pub(super) count: Option<u64>,
    pub(super) dead_letters: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    title: Option<String>,
    #[serde(default)]
    components: Vec<PathBuf>,
    start: Option<String>,
    steps: Vec<Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    say: Option<String>,
    #[serde(default)]
    silent: bool,
    create: Option<Create>,
    send: Option<Send>,
    broadcast: Option<Broadcast>,
    advance: Option<String>,
    find: Option<Find>,
    expect: Option<Expect>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// If it is not YAML, has keys that no step has, or more than [`STEPS_MAX`] steps.
    pub fn parse(yaml: &str) -> Result<Self, ScriptError> {
        let document: Document = serde_yaml::from_str(yaml).map_err(|error| ScriptError {
            line: error.location().map_or(1, |place| {
                usize::try_from(place.line()).unwrap_or(usize::MAX)
            }),
            message: first_line(&error.to_string()),
        })?;
        let at_start = |message: String| ScriptError { line: 1, message };
        let start = document.start.as_deref().map(timestamp).transpose();
        let mut steps = Vec::new();
        for step in document.steps {
            let line = usize::try_from(step.referenced.line()).unwrap_or(usize::MAX);
            expand(step.value, line, 0, &mut steps)
                .map_err(|message| ScriptError { line, message })?;
        }
        Ok(Self {
            title: document.title,
            components: document.components,
            start: start.map_err(at_start)?.unwrap_or(START),
            steps,
        })
    }
}

/// Writes a step out as often as it is repeated.
fn expand(step: Value, line: usize, depth: usize, into: &mut Vec<Step>) -> Result<(), String> {
    let Value::Object(mut fields) = step else {
        return Err("a step is a map, for example `- advance: 1s`".to_owned());
    };
    let Some(times) = fields.remove("repeat") else {
        if into.len() == STEPS_MAX {
            return Err(format!("a script has at most {STEPS_MAX} steps"));
        }
        into.push(single(fields, line)?);
        return Ok(());
    };
    if depth == NESTING_MAX {
        return Err(format!(
            "`repeat` stands in `repeat` at most {NESTING_MAX} deep"
        ));
    }
    let times = times
        .as_u64()
        .ok_or("`repeat` is a whole number of times")?;
    let steps = match fields.remove("steps") {
        Some(Value::Array(steps)) if fields.is_empty() => steps,
        Some(_) => return Err("`repeat` has `steps`, or the fields of one step".to_owned()),
        None => vec![Value::Object(fields)],
    };
    for n in 1..=times {
        for step in &steps {
            expand(numbered(step, n), line, depth + 1, into)?;
        }
    }
    Ok(())
}

/// The step with `{n}` replaced: by the number where it stands alone, else in the text. What is
/// itself repeated has numbers of its own.
fn numbered(value: &Value, n: u64) -> Value {
    match value {
        Value::Object(fields) if fields.contains_key("repeat") => value.clone(),
        Value::String(text) if text == "{n}" => Value::from(n),
        Value::String(text) => Value::from(text.replace("{n}", &n.to_string())),
        Value::Array(items) => items.iter().map(|item| numbered(item, n)).collect(),
        Value::Object(fields) => {
            let numbered = |(key, value): (&String, &Value)| (key.clone(), numbered(value, n));
            Value::Object(fields.iter().map(numbered).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn single(fields: Map<String, Value>, line: usize) -> Result<Step, String> {
    let raw: RawStep =
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    let advance = raw.advance.as_deref().map(duration).transpose()?;
    let mut actions = [
        raw.create.map(Action::Create),
        raw.send.map(Action::Send),
        raw.broadcast.map(Action::Broadcast),
        advance.map(Action::Advance),
        raw.find.map(Action::Find),
    ]
    .into_iter()
    .flatten();
    let action = actions.next().unwrap_or(Action::Look);
    if actions.next().is_some() {
        return Err("a step does one thing".to_owned());
    }
    if matches!(action, Action::Look) && raw.expect.is_none() && raw.say.is_none() {
        return Err("a step does, expects or says something".to_owned());
    }
    Ok(Step {
        line,
        say: raw.say,
        is_silent: raw.silent,
        action,
        expect: raw.expect,
    })
}

/// `500ms`, `3s`, `15m`, `2h`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is no time, expected for example `500ms`, `3s`, `15m`, `2h` or `30d`");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).map(Duration).ok_or_else(wrong)
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("`{text}` is no time, expected for example `2026-01-01T00:00:00Z`");
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    let ms = u64::try_from(time.as_millisecond()).map_err(|_| wrong())?;
    Ok(Timestamp(ms))
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// The library's messages go on with an excerpt; the line is told elsewhere.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(yaml: &str) -> ScriptError {
        Script::parse(yaml).expect_err("the script is wrong")
    }

    #[test]
    fn repeated_steps_are_written_out_with_their_number() {
        let yaml = r#"
steps:
  - repeat: 2
    steps:
      - repeat: 2
        create: {machine: Order, id: "order-{n}", context: {number: "{n}"}}
      - advance: 1s
"#;
        let script = Script::parse(yaml).unwrap();
        assert_eq!(script.steps.len(), 6);
        let Action::Create(create) = &script.steps[4].action else {
            panic!("{:?}", script.steps[4])
        };
        assert_eq!(create.id, "order-2");
        assert_eq!(create.context["number"], 2);
    }

    #[test]
    fn times_have_units() {
        let span = |text| duration(text).map(|span| span.0);
        assert_eq!(span("500ms"), Ok(500));
        assert_eq!(span("2d"), Ok(172_800_000));
        for wrong in ["", "5", "s", "5 weeks", "-1s", "99999999999999999999s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let yaml = "steps:\n  - advance: 1s\n  - sned: {to: a, event: E}\n";
        let error = refused(yaml);
        assert_eq!(error.line, 3);
        assert!(error.message.contains("sned"), "{error}");
        assert_eq!(refused("steps:\n  - say: a\n  - {}\n").line, 3);
        assert_eq!(refused("steps: []\nnonsense: 1\n").line, 2);
    }

    #[test]
    fn a_step_does_one_thing() {
        let error = refused("steps:\n  - {advance: 1s, send: {to: a, event: E}}\n");
        assert_eq!(error.message, "a step does one thing");
    }

    #[test]
    fn repetitions_have_a_limit() {
        let error = refused("steps:\n  - {repeat: 18446744073709551615, advance: 1s}\n");
        assert_eq!(error.message, "a script has at most 1000000 steps");
    }
}
