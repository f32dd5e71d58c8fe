//! The fake guest: one function. What a method answers depends only on what it is asked.

use serde_json::{Value, json};

/// What a method is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose instance.
    pub tenant: &'a str,
    /// Whether it is asked as a guard.
    pub guard: bool,
    /// Which method.
    pub method: &'a str,
    /// Which instance.
    pub instance: &'a str,
    /// The event's id.
    pub event: &'a str,
    /// From 1.
    pub attempt: u32,
    /// Sends made before it in the same transition.
    pub sends: u32,
    /// The context.
    pub context: &'a Value,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A guard's answer.
    Guard(bool),
    /// An action's answer.
    Action {
        /// The new context, if it changed.
        context: Option<Value>,
        /// What it sent.
        sends: Vec<Sent>,
    },
    /// No.
    Refused,
    /// It panicked.
    Panicked,
}

/// What a method sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// To itself.
    Itself {
        /// Which event.
        event: &'static str,
        /// How much later.
        delay: Option<u64>,
    },
    /// To the instance that the context calls `peer`.
    Peer {
        /// Which.
        id: String,
        /// Which event.
        event: &'static str,
        /// How much later.
        delay: Option<u64>,
    },
    /// To every task with this key.
    Tasks,
    /// A new task.
    Child {
        /// Its context.
        context: Value,
    },
    /// Takes back what it sent before.
    Cancel {
        /// Which.
        id: String,
    },
}

/// What the method answers.
pub fn answer(question: Question<'_>) -> Answer {
    let mut dice = Dice::of(&question);
    let luck = dice.roll(100);
    if luck < 3 {
        return Answer::Refused;
    }
    if luck < 8 {
        return Answer::Panicked;
    }
    if question.guard {
        let odds = if question.method == "lucky" { 35 } else { 75 };
        return Answer::Guard(dice.roll(100) < odds);
    }
    let mut sends = Vec::new();
    let mut context = question.context.clone();
    let changes = dice.roll(100) < 70;
    if changes {
        let n = context["n"].as_u64().unwrap_or_default();
        context["n"] = json!(n + 1);
        if dice.roll(4) == 0 {
            context["key"] = json!(dice.roll(4));
        }
    }
    if dice.roll(100) < 45 {
        let n = question.sends + 1;
        sends.push(dice.send(&question));
        if changes && matches!(sends[0], Sent::Itself { delay: Some(_), .. }) {
            context["last"] = json!(format!("{}.{n}", question.event));
        }
    }
    if let Some(last) = question.context["last"].as_str()
        && dice.roll(3) == 0
    {
        sends.push(Sent::Cancel {
            id: last.to_owned(),
        });
    }
    Answer::Action {
        context: changes.then_some(context),
        sends,
    }
}

/// The payload of everything that a guest sends.
pub fn payload(tenant: &str, context: &Value) -> Value {
    json!({ "tenant": tenant, "key": context["key"], "n": 1 })
}

/// Chance that comes from the question.
struct Dice(u64);

impl Dice {
    fn of(question: &Question<'_>) -> Self {
        let text = format!(
            "{} {} {} {} {}",
            question.tenant, question.method, question.instance, question.event, question.attempt
        );
        Self(text.bytes().fold(0x9e37_79b9_7f4a_7c15, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    fn send(&mut self, question: &Question<'_>) -> Sent {
        let event =
            ["INC", "LOOP", "GO", "LATE"][usize::try_from(self.roll(4)).unwrap_or_default()];
        let delay =
            [None, None, Some(0), Some(15)][usize::try_from(self.roll(4)).unwrap_or_default()];
        match (self.roll(6), question.context["peer"].as_str()) {
            (0 | 1, _) | (2 | 3, None) => Sent::Itself { event, delay },
            (2 | 3, Some(peer)) => Sent::Peer {
                id: peer.to_owned(),
                event,
                delay,
            },
            (4, _) => Sent::Tasks,
            _ => Sent::Child {
                context: payload(question.tenant, question.context),
            },
        }
    }
}
