//! From what a person wrote to a [`Definition`], with everything there is to say about it.

mod choices;
mod lint;
mod machine;
mod transition;

use std::sync::Arc;

use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};

use crate::{
    definition::{
        Definition, Entry, Isolation, Machine, MachineIdx,
        diagnostic::{Findings, Strictness},
        keys,
        notes::Notes,
        parse::{Node, parse},
        read::{Fields, Named, repeated_keys},
    },
    id::{ComponentName, Digest, Version},
    limits::MACHINE_PARTS_MAX,
};

/// What came of checking a document.
#[derive(Debug)]
pub struct Checked {
    /// The definition, if there is no error among the findings.
    pub definition: Option<Definition>,
    /// The findings: a bounded list, errors first, and how many there are besides.
    pub findings: Findings,
}

/// Checks a document: all findings at once.
///
/// The cost is at most n log n in the bytes of the document, with limits on whatever multiplies;
/// recursion is as deep as values nest, at most [`crate::limits::JSON_DEPTH_MAX`] levels.
pub fn check(source: &str, strictness: Strictness) -> Checked {
    let root = match parse(source) {
        Ok(root) => root,
        Err(finding) => {
            return Checked {
                definition: None,
                findings: Findings::new(vec![*finding], 0, 0),
            };
        }
    };
    let mut notes = Notes::default();
    repeated_keys(&root, &mut notes);
    let definition = component(&root, source, strictness, &mut notes);
    let usable = !notes.has_errors();
    Checked {
        definition: definition.filter(|_| usable),
        findings: notes.into_findings(),
    }
}

fn component(
    root: &Node,
    source: &str,
    strictness: Strictness,
    notes: &mut Notes,
) -> Option<Definition> {
    let fields = Fields::read(root, "", &keys::COMPONENT, source, notes)?;
    let name = fields.required_name("name", notes);
    let digest = Digest(Sha256::digest(source.as_bytes()).into());
    let version = fields.name("version", notes).map(|version| version.text);
    let version = version.unwrap_or_else(|| format!("0.0.0+{}", &digest.to_string()[..8]));
    let routing = fields
        .get("routing")
        .and_then(|_| fields.dotted("routing", notes));
    let isolation = isolation(&fields, notes);
    let machines = machines(&fields, strictness, notes);
    let entry = entry(&fields, &machines, notes);
    let mut positions = HashMap::default();
    for (position, machine) in machines.iter().enumerate() {
        let idx = MachineIdx(u16::try_from(position).expect("machines are limited"));
        positions.entry(machine.name.clone()).or_insert(idx);
    }
    Some(Definition {
        positions,
        name: ComponentName::new(name?.text),
        version: Version::new(version),
        digest,
        source: Arc::from(source),
        entry,
        routing,
        isolation,
        metadata: fields.json("metadata"),
        machines,
    })
}

fn isolation(fields: &Fields<'_>, notes: &mut Notes) -> Isolation {
    match fields.name("isolation", notes) {
        None => Isolation::Reused,
        Some(name) if name.text == "reused" => Isolation::Reused,
        Some(name) if name.text == "fresh" => Isolation::Fresh,
        Some(name) => {
            let message = format!("isolation is `reused` or `fresh`, not `{}`", name.text);
            notes.error("unknown_value", name.place, "isolation", message);
            Isolation::Reused
        }
    }
}

fn machines(fields: &Fields<'_>, strictness: Strictness, notes: &mut Notes) -> Vec<Machine> {
    let items = fields.list("stateMachines", notes);
    if items.is_empty() {
        match fields.get("stateMachines") {
            None => fields.missing("stateMachines", notes),
            Some(node) => {
                notes.error(
                    "no_machine",
                    node.place,
                    "stateMachines",
                    "a component needs at least one state machine",
                );
            }
        }
    }
    if items.len() > MACHINE_PARTS_MAX {
        notes.error(
            "too_many",
            fields.place_of("stateMachines"),
            "stateMachines",
            format!("at most {MACHINE_PARTS_MAX} machines"),
        );
        return Vec::new();
    }
    let names = machine::names(fields, &items, notes);
    let outline = machine::Outline {
        names: &names,
        strictness,
        fault: fields,
    };
    items
        .iter()
        .filter_map(|(path, item)| machine::machine(fields, item, path, &outline, notes))
        .collect()
}

/// Whether the mode says that there is exactly one instance.
fn is_singleton(fields: &Fields<'_>, mode: Option<&Named>, notes: &mut Notes) -> bool {
    match mode.map(|mode| mode.text.as_str()) {
        None | Some("multiple") => false,
        Some("singleton") => true,
        Some(other) => {
            let message = format!("the mode is `singleton` or `multiple`, not `{other}`");
            notes.error(
                "unknown_value",
                fields.place_of("entryMachineMode"),
                "entryMachineMode",
                message,
            );
            false
        }
    }
}

/// The entry machine, if one is named.
fn entry(fields: &Fields<'_>, machines: &[Machine], notes: &mut Notes) -> Option<Entry> {
    let mode = fields.name("entryMachineMode", notes);
    let auto = fields.boolean("autoCreateEntryPoint", notes);
    let Some(name) = fields.name("entryMachine", notes) else {
        if let Some(mode) = mode {
            notes.error(
                "entry_mode_without_machine",
                mode.place,
                "entryMachineMode",
                "`entryMachineMode` needs an `entryMachine`",
            );
        }
        if auto.is_some() {
            let key = "autoCreateEntryPoint";
            let why = "it says whether an instance of the `entryMachine` is created at load";
            notes.no_effect(key, fields.key_place(key), key, why);
        }
        return None;
    };
    let Some(position) = machines
        .iter()
        .position(|machine| machine.name.as_str() == name.text)
    else {
        let known = machines.iter().map(|machine| machine.name.as_str());
        let help = notes.suggest(&name.text, known);
        let message = format!("there is no machine `{}`", name.text);
        notes
            .error("unknown_machine", name.place, "entryMachine", message)
            .help = help;
        return None;
    };
    let singleton = is_singleton(fields, mode.as_ref(), notes);
    Some(Entry {
        machine: MachineIdx(u16::try_from(position).ok()?),
        singleton,
        auto_create: is_created_at_load(&machines[position], &name, singleton, mode, auto, notes),
    })
}

/// Whether an entry instance is created at load. A singleton is, unless that is off; any other is
/// if it is wanted, or if nothing is said and an empty context will do.
fn is_created_at_load(
    machine: &Machine,
    name: &Named,
    singleton: bool,
    mode: Option<Named>,
    auto: Option<bool>,
    notes: &mut Notes,
) -> bool {
    let schema = machine.schema.as_ref();
    let fits = schema.is_none_or(|schema| {
        schema
            .check(&schema.defaults(&crate::json::Json::empty()))
            .is_ok()
    });
    match (singleton, mode.is_some(), auto) {
        (_, _, Some(false)) | (false, true, None) => false,
        (true, _, _) if !fits => {
            let message =
                "a singleton is created at load with an empty context, which its schema refuses";
            let finding = notes.error(
                "singleton_needs_context",
                name.place,
                "entryMachine",
                message,
            );
            finding.help = Some(
                "give the required fields a default, or set `autoCreateEntryPoint: false`"
                    .to_owned(),
            );
            false
        }
        (false, false, None) if !fits => {
            let message =
                "no entry instance is created at load: its schema refuses an empty context";
            let finding = notes.warning("entry_not_created", name.place, "entryMachine", message);
            finding.help = Some(
                "set `autoCreateEntryPoint: false` or `entryMachineMode: multiple` to say so"
                    .to_owned(),
            );
            false
        }
        _ => true,
    }
}
