//! The keys of the format: one table for each object, which says where a key has an effect.
//!
//! Readers get a key's value from [`super::read::Fields`], which knows these tables: what a table
//! does not name cannot be read, and what it names without effect is reported and never read. A
//! test writes every key of every table into a definition and compares what comes out.

use self::Holds::{Data, Fields, Names, Nested, Texts};

/// An object of the format.
#[derive(Debug)]
pub(crate) struct Object {
    keys: &'static [Key],
    /// What its `type` may be; empty = it has none.
    pub(crate) types: &'static [&'static str],
    /// What its `type` is where none is written.
    plain: Option<&'static str>,
}

/// A key of an object.
#[derive(Debug)]
struct Key {
    name: &'static str,
    holds: Holds,
    effect: Effect,
}

/// What a key's value is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holds {
    /// A name or a list of names: texts, also where YAML takes one for a number.
    Names,
    /// An object, a list of objects, or a name instead of one.
    Nested(&'static Object),
    /// A mapping of the author's names to objects.
    Fields(&'static Object),
    /// A mapping of the author's names to names.
    Texts,
    /// Numbers, booleans, and data of the author.
    Data,
}

/// Where a key has an effect.
#[derive(Debug)]
enum Effect {
    /// Wherever the object stands.
    Always,
    /// Wherever the object stands, for those who read the definition: it changes nothing that the
    /// engine does.
    Shown,
    /// In objects of these types.
    Only(&'static [&'static str]),
    /// Nowhere: what to write instead.
    Never(&'static str),
}

/// What there is to say about a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It has an effect.
    Effective,
    /// It has none here, and why.
    NoEffect(String),
    /// The object has no such key.
    Unknown,
}

impl Object {
    /// What there is to say about a key in an object of a type, as it is written.
    pub(crate) fn judge(&self, name: &str, kind: Option<&str>) -> Judgement {
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            return Judgement::Unknown;
        };
        match key.effect {
            Effect::Always | Effect::Shown => Judgement::Effective,
            Effect::Never(instead) => Judgement::NoEffect(instead.to_owned()),
            Effect::Only(types) => {
                // An unknown type is a finding of its own.
                let here = kind.or(self.plain);
                let here = here.filter(|kind| self.types.contains(kind));
                match here.filter(|kind| !types.contains(kind)) {
                    None => Judgement::Effective,
                    Some(here) => Judgement::NoEffect(format!(
                        "it is for {}, and this is `{here}`",
                        listed(types)
                    )),
                }
            }
        }
    }

    /// What the value of a key is made of.
    pub(crate) fn holds(&self, name: &str) -> Holds {
        let key = self.keys.iter().find(|key| key.name == name);
        key.map_or(Data, |key| key.holds)
    }

    /// The names of all keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.keys.iter().map(|key| key.name)
    }
}

/// `` `auto`, `timeout` ``.
fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

const fn always(name: &'static str, holds: Holds) -> Key {
    let effect = Effect::Always;
    Key {
        name,
        holds,
        effect,
    }
}

const fn shown(name: &'static str, holds: Holds) -> Key {
    let effect = Effect::Shown;
    Key {
        name,
        holds,
        effect,
    }
}

const fn only(name: &'static str, holds: Holds, types: &'static [&'static str]) -> Key {
    let effect = Effect::Only(types);
    Key {
        name,
        holds,
        effect,
    }
}

const fn never(name: &'static str, instead: &'static str) -> Key {
    let (holds, effect) = (Data, Effect::Never(instead));
    Key {
        name,
        holds,
        effect,
    }
}

const fn object(keys: &'static [Key]) -> Object {
    Object {
        keys,
        types: &[],
        plain: None,
    }
}

/// The document.
pub(crate) static COMPONENT: Object = object(&[
    always("name", Names),
    always("version", Names),
    always("stateMachines", Nested(&MACHINE)),
    always("entryMachine", Names),
    always("entryMachineMode", Names),
    always("autoCreateEntryPoint", Data),
    always("routing", Names),
    always("isolation", Names),
    always("onFault", Nested(&ON_FAULT)),
    shown("metadata", Data),
    shown("layout", Data),
    shown("description", Names),
]);

/// One of `stateMachines`.
pub(crate) static MACHINE: Object = object(&[
    always("name", Names),
    always("initialState", Names),
    always("states", Nested(&STATE)),
    always("transitions", Nested(&TRANSITION)),
    always("publicMemberType", Names),
    always("parentLink", Nested(&PARENT_LINK)),
    always("contextSchema", Fields(&FIELD)),
    always("onFault", Nested(&ON_FAULT)),
    shown("metadata", Data),
    shown("description", Names),
    shown("layout", Data),
]);

/// `parentLink`.
pub(crate) static PARENT_LINK: Object =
    object(&[always("enabled", Data), always("onStateChange", Names)]);

/// One of `states`.
pub(crate) static STATE: Object = Object {
    types: &["entry", "regular", "final", "error"],
    plain: Some("regular"),
    keys: &[
        always("name", Names),
        always("type", Names),
        always("onEntry", Names),
        always("entryMethod", Names),
        only("onExit", Names, LIVE),
        only("exitMethod", Names, LIVE),
        always("cascadingRules", Nested(&CASCADE)),
        only("defer", Names, LIVE),
        shown("metadata", Data),
        shown("description", Names),
    ],
};

/// States that an instance may leave.
const LIVE: &[&str] = &["entry", "regular"];

/// One of `cascadingRules`.
pub(crate) static CASCADE: Object = object(&[
    always("targetComponent", Names),
    always("targetMachine", Names),
    always("targetState", Names),
    always("event", Names),
    always("matchingRules", Nested(&RULE)),
    always("payload", Data),
    shown("metadata", Data),
    shown("description", Names),
]);

/// One of `transitions`.
pub(crate) static TRANSITION: Object = Object {
    types: &[
        "regular",
        "triggerable",
        "internal",
        "auto",
        "timeout",
        "inter_machine",
        "cross_component",
    ],
    plain: Some("regular"),
    keys: &[
        always("from", Names),
        always("to", Names),
        always("event", Names),
        always("type", Names),
        always("guard", Nested(&GUARD)),
        never(
            "guards",
            "write `guard` with the name of a method, or `matchingRules`",
        ),
        always("matchingRules", Nested(&RULE)),
        always("triggeredMethod", Names),
        only("timeoutMs", Data, &["auto", "timeout"]),
        only("resetOnTransition", Data, &["timeout"]),
        only(
            "targetMachine",
            Names,
            &["inter_machine", "cross_component"],
        ),
        only("targetComponent", Names, &["cross_component"]),
        only("targetEvent", Names, &["cross_component"]),
        only(
            "contextMapping",
            Texts,
            &["inter_machine", "cross_component"],
        ),
        always("notifyParent", Nested(&NOTIFY_PARENT)),
        always("mergePayload", Data),
        always("priority", Data),
        shown("metadata", Data),
        shown("description", Names),
    ],
};

/// `guard`, where it is no name.
pub(crate) static GUARD: Object = object(&[always("method", Names), always("expression", Data)]);

/// One of `matchingRules`.
pub(crate) static RULE: Object = object(&[
    always("eventProperty", Names),
    always("instanceProperty", Names),
    always("operator", Names),
    never(
        "value",
        "a rule compares a property of the event with one of the instance;          compare with a fixed value in a `guard`",
    ),
    shown("description", Names),
]);

/// `notifyParent`.
pub(crate) static NOTIFY_PARENT: Object = object(&[
    always("event", Names),
    always("includeState", Data),
    always("includeContext", Data),
]);

/// `onFault`, where it is no word.
pub(crate) static ON_FAULT: Object =
    object(&[always("retry", Nested(&RETRY)), always("state", Names)]);

/// `onFault.retry`.
pub(crate) static RETRY: Object = object(&[always("max", Data), always("backoffMs", Data)]);

/// One field of a `contextSchema`.
pub(crate) static FIELD: Object = Object {
    types: &[
        "text", "string", "number", "boolean", "select", "array", "object",
    ],
    plain: None,
    keys: &[
        always("type", Names),
        always("required", Data),
        always("default", Data),
        only("min", Data, &["text", "string", "number", "array"]),
        only("max", Data, &["text", "string", "number", "array"]),
        only("pattern", Names, &["text", "string"]),
        only("options", Data, &["select"]),
        shown("label", Names),
        shown("description", Names),
        shown("placeholder", Names),
    ],
};

#[cfg(test)]
mod tests;
