//! `xcomponent inspect`: what is in a component, without running it.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xcomponent_core::{
    definition::{Checked, Definition, Isolation, Machine, Strictness, check},
    id::Digest,
};
use xcomponent_pack::{self as pack, Metadata, Packed};

use super::{
    Result, Verdict, build::same_kind, loading, printer::Printer, table, upload::kind_name,
};

/// Shows what is in a component: definition, methods, imports, metadata, sizes.
///
/// Nothing of it is run. A definition or project is packed first.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A packed `.wasm` component.
    file: PathBuf,
}

/// A method, and who knows it.
struct Method {
    kind: &'static str,
    name: String,
    is_answered: bool,
    is_named: bool,
}

impl Inspect {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let component = loading::load_one(&self.file, printer)?;
        let packed = pack::read(&component.bytes).context("reading what was packed")?;
        let checked = check(&packed.definition, Strictness::Lenient);
        let methods = methods(&packed, checked.definition.as_ref());
        let digest = Digest(Sha256::digest(&component.bytes).into());
        if printer.is_json() {
            let mut shown = to_json(&packed, &checked, &methods);
            shown["file"] = json!(self.file);
            shown["bytes"] = json!(component.bytes.len());
            shown["digest"] = json!(digest.to_string());
            printer.json(&shown);
            return Ok(Verdict::Done);
        }
        let bytes = component.bytes.len();
        printer.line(format_args!("{}: {bytes} bytes", self.file.display()));
        let mut facts = vec![fact("digest", digest), fact("functions", packed.functions)];
        facts.extend(definition_facts(&packed, &checked));
        facts.extend(metadata_facts(&packed.metadata));
        show("", &facts, printer);
        if let Some(definition) = &checked.definition {
            let machines: Vec<_> = definition.machines.iter().map(machine_row).collect();
            show("machines", &machines, printer);
        }
        let rows: Vec<_> = methods.iter().map(Method::row).collect();
        show("methods", &rows, printer);
        let imports: Vec<_> = packed.imports.iter().map(|name| [name.clone()]).collect();
        show("imports", &imports, printer);
        Ok(Verdict::Done)
    }
}

/// A heading, and a table below it; nothing where that is empty.
fn show<const N: usize>(heading: &str, rows: &[[String; N]], printer: &Printer) {
    if rows.is_empty() {
        return;
    }
    if !heading.is_empty() {
        printer.line("");
        printer.line(heading);
    }
    for line in table::lines(rows) {
        printer.line(format_args!("  {line}"));
    }
}

fn fact(name: &str, value: impl ToString) -> [String; 2] {
    [name.to_owned(), value.to_string()]
}

fn definition_facts(packed: &Packed, checked: &Checked) -> Vec<[String; 2]> {
    let found = checked.findings.to_string();
    let size = format!("{} bytes, {found}", packed.definition.len());
    let mut facts = vec![fact("definition", size)];
    if let Some(definition) = &checked.definition {
        let name = format!("{} {}", definition.name, definition.version);
        facts.push(fact("component", name));
        facts.push(fact("isolation", isolation(definition)));
        if let Some(entry) = definition.entry {
            let machine = &definition.machine(entry.machine).name;
            let count = match (entry.singleton, entry.auto_create) {
                (true, true) => "one instance, created when it is loaded",
                (true, false) => "one instance",
                (false, true) => "any number of instances, one created when it is loaded",
                (false, false) => "any number of instances",
            };
            facts.push(fact("entry", format!("{machine}: {count}")));
        }
        if let Some(routing) = &definition.routing {
            facts.push(fact("routing", routing));
        }
    }
    if packed.has_migration {
        facts.push(fact("migration", "moves contexts of older versions"));
    }
    facts
}

fn metadata_facts(metadata: &Metadata) -> Vec<[String; 2]> {
    let Metadata {
        name,
        version,
        description,
        source,
        revision,
    } = metadata;
    let known = [
        ("name", name),
        ("version", version),
        ("description", description),
        ("source", source),
        ("revision", revision),
    ];
    let known = known.into_iter();
    known
        .filter_map(|(what, value)| Some(fact(what, value.as_ref()?)))
        .collect()
}

fn machine_row(machine: &Machine) -> [String; 4] {
    let ends: Vec<&str> = ends(machine).collect();
    let ends = match ends.is_empty() {
        true => "never ends".to_owned(),
        false => format!("ends in {}", ends.join(", ")),
    };
    let initial = &machine.state(machine.initial).name;
    [
        machine.name.to_string(),
        format!("{} states", machine.states.len()),
        format!("{} transitions", machine.transitions.len()),
        format!("starts in {initial}, {ends}"),
    ]
}

fn ends(machine: &Machine) -> impl Iterator<Item = &str> {
    let ends = machine.states.iter();
    ends.filter(|state| state.kind.is_terminal())
        .map(|state| state.name.as_str())
}

fn isolation(definition: &Definition) -> &'static str {
    match definition.isolation {
        Isolation::Reused => "reused",
        Isolation::Fresh => "fresh",
    }
}

/// Methods that the code answers, then those that only the definition names.
fn methods(packed: &Packed, definition: Option<&Definition>) -> Vec<Method> {
    let named = definition.map(Definition::methods).unwrap_or_default();
    let same = |method: &pack::Method, (kind, name): &(_, xcomponent_core::id::MethodName)| {
        same_kind(method.kind, *kind) && method.name == name.as_str()
    };
    let answered = packed.methods.iter().map(|method| Method {
        kind: match method.kind {
            pack::MethodKind::Guard => "guard",
            pack::MethodKind::Action => "action",
        },
        name: method.name.clone(),
        is_answered: true,
        is_named: named.iter().any(|named| same(method, named)),
    });
    let missing = named
        .iter()
        .filter(|named| !packed.methods.iter().any(|method| same(method, named)))
        .map(|(kind, name)| Method {
            kind: kind_name(*kind),
            name: name.to_string(),
            is_answered: false,
            is_named: true,
        });
    answered.chain(missing).collect()
}

impl Method {
    fn row(&self) -> [String; 3] {
        let remark = match (self.is_answered, self.is_named) {
            (true, true) => "",
            (true, false) => "not named by the definition",
            (false, _) => "not answered by the code",
        };
        [self.kind.to_owned(), self.name.clone(), remark.to_owned()]
    }
}

fn to_json(packed: &Packed, checked: &Checked, methods: &[Method]) -> Value {
    let Metadata {
        name,
        version,
        description,
        source,
        revision,
    } = &packed.metadata;
    let machine = |machine: &Machine| {
        json!({
            "name": machine.name.as_str(),
            "states": machine.states.iter().map(|state| state.name.as_str()).collect::<Vec<_>>(),
            "events": machine.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(),
            "transitions": machine.transitions.len(),
            "initial": machine.state(machine.initial).name.as_str(),
            "ends": ends(machine).collect::<Vec<_>>(),
        })
    };
    let method = |method: &Method| {
        json!({
            "kind": method.kind,
            "name": method.name,
            "answered": method.is_answered,
            "named": method.is_named,
        })
    };
    let definition = checked.definition.as_ref();
    let machines = definition.map_or(&[][..], |definition| &definition.machines);
    json!({
        "component": definition.map(|definition| definition.name.as_str()),
        "version": definition.map(|definition| definition.version.as_str()),
        "isolation": definition.map(isolation),
        "definition_bytes": packed.definition.len(),
        "findings": checked.findings.len() + checked.findings.unlisted(),
        "functions": packed.functions,
        "migration": packed.has_migration,
        "machines": machines.iter().map(machine).collect::<Vec<_>>(),
        "methods": methods.iter().map(method).collect::<Vec<_>>(),
        "imports": packed.imports,
        "metadata": {
            "name": name,
            "version": version,
            "description": description,
            "source": source,
            "revision": revision,
        },
    })
}
