//! Every folder of `examples/` does what its script expects, and its README shows what really
//! happens. An example without a script, or a README without that, does not pass.
//!
//! `XCOMPONENT_BLESS=1` writes into the READMEs what is the case.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use xcomponent_core::definition::{Definition, Strictness, check, mermaid};
use xcomponent_host::app::{
    Config,
    simulation::{self, Script, Told},
};
use xcomponent_pack::{Metadata, blank, pack};

/// What begins a block of a README that shows a command and its output.
const CONSOLE: &str = "```console\n";

/// What begins a diagram.
const MERMAID: &str = "```mermaid\n";

/// Examples of how hosts are run: these are read by the command line's own tests.
const FOR_OPERATORS: [&str; 2] = ["compose", "systemd"];

#[test]
fn every_example_does_what_its_script_expects_and_its_readme_shows() {
    let examples = scenarios();
    assert!(!examples.is_empty());
    let mut wrong = Vec::new();
    for folder in examples {
        let name = name(&folder);
        let (told, failures) = simulate(&folder);
        wrong.extend(failures.iter().map(|failure| format!("{name}: {failure}")));
        let command = format!("$ xcomponent simulate --script examples/{name}/script.yaml\n");
        let block = format!("{command}{told}");
        wrong.extend(compare(&folder.join("README.md"), CONSOLE, &[block]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_expectation_that_is_not_met_is_told_with_its_line() {
    let yaml = "\
components: [order.yaml, payment.yaml]
steps:
  - create: {machine: Order, id: order-1, context: {orderId: O-1, amount: -1}}
  - create: {machine: Order, id: order-1, context: {orderId: O-1, amount: 40}}
    expect: {state: Paid, context: {amount: 41}, path: [Created, Paid]}
  - broadcast: {machine: Order, event: SUBMIT}
    expect: {matched: 2}
  - expect: {machine: Payment, count: 0}
";
    let script = Script::parse(yaml).unwrap();
    let (_, failures) = run(&script, &root().join("examples/order-and-payment-yaml"));
    let told: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 3: expected the step to succeed, got schema (`amount` must be at least 0)",
            "line 4: expected state `Paid`, got `Created`",
            "line 4: expected context.amount = 41, got 40",
            "line 4: expected path `Created → Paid`, got `Created`",
            "line 6: expected matched `2`, got `1`",
            "line 8: expected count `0`, got `1`",
        ]
    );
}

#[test]
fn the_diagrams_of_components_are_those_of_their_definitions() {
    let mut wrong = Vec::new();
    for folder in folders("components") {
        let yaml = read(&folder.join("component.yaml"));
        let definition = definition(&yaml);
        let diagrams: Vec<String> = definition
            .machines
            .iter()
            .map(|machine| mermaid(machine, None))
            .collect();
        wrong.extend(compare(&folder.join("README.md"), MERMAID, &diagrams));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_definition_is_valid_without_a_warning() {
    let mut files: Vec<PathBuf> = folders("components")
        .into_iter()
        .map(|folder| folder.join("component.yaml"))
        .collect();
    for folder in scenarios() {
        files.extend(files_of(&folder).filter(|file| is_definition(file)));
    }
    for file in files {
        let checked = check(&read(&file), Strictness::Normal);
        assert!(
            checked.definition.is_some() && checked.findings.is_empty(),
            "{}: {:?}",
            file.display(),
            checked.findings
        );
    }
}

/// Runs the script of an example: what is printed, and what was not as expected.
fn simulate(folder: &Path) -> (String, Vec<simulation::Failure>) {
    let yaml = read(&folder.join("script.yaml"));
    let script = Script::parse(&yaml).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    assert!(!script.components.is_empty(), "{folder:?} runs nothing");
    run(&script, folder)
}

fn run(script: &Script, folder: &Path) -> (String, Vec<simulation::Failure>) {
    let components = script.components.iter();
    let components = components.map(|path| component(&folder.join(path)));
    let mut config = Config::default();
    config.sandbox.compile.program = Some(PathBuf::from(env!("CARGO_BIN_EXE_xcomponent")));
    let mut printed = String::new();
    let mut tell = |told: &Told| printed.push_str(&format!("{told}\n"));
    let run = simulation::run(script, components.collect(), config, &mut tell);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(run);
    let report = report.unwrap_or_else(|error| panic!("{folder:?}: {error}\n{printed}"));
    printed.push_str(&format!("\n{report}\n"));
    (printed, report.failures)
}

/// A component that a script names: a folder of `components/`, built beforehand, or a definition.
fn component(path: &Path) -> Arc<[u8]> {
    if is_definition(path) {
        let yaml = read(path);
        let methods: [xcomponent_pack::Method; 0] = [];
        let packed = pack(&blank(), &yaml, &Metadata::default(), &methods);
        return packed.unwrap().into();
    }
    let built = || root().join("target/guests");
    let guests = env::var_os("XCOMPONENT_GUESTS").map_or_else(built, PathBuf::from);
    let file = guests.join(name(path)).with_extension("wasm");
    let bytes = fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; build the guests with `cargo xtask guests`",
            file.display()
        )
    });
    bytes.into()
}

/// Compares the blocks of a README that begin like that with what they should be, or makes them so.
fn compare(readme: &Path, begin: &str, blocks: &[String]) -> Vec<String> {
    let text = fs::read_to_string(readme).unwrap_or_default();
    let mut parts = text.split(begin);
    let mut blessed = parts.next().unwrap_or_default().to_owned();
    let mut wrong = Vec::new();
    let mut n_found = 0;
    for (part, block) in parts.clone().zip(blocks) {
        n_found += 1;
        let (shown, rest) = part.split_once("```").unwrap_or((part, ""));
        if shown != block {
            wrong.push(format!(
                "{} shows\n{shown}instead of\n{block}",
                readme.display()
            ));
        }
        blessed.push_str(&format!("{begin}{block}```{rest}"));
    }
    let n_shown = parts.count();
    if n_shown != blocks.len() {
        wrong.push(format!(
            "{} has {n_shown} blocks `{}`, expected {}",
            readme.display(),
            begin.trim_end(),
            blocks.len()
        ));
    } else if env::var_os("XCOMPONENT_BLESS").is_some() && n_found > 0 {
        fs::write(readme, blessed).unwrap();
        wrong.clear();
    }
    wrong
}

fn definition(yaml: &str) -> Definition {
    check(yaml, Strictness::Normal).definition.unwrap()
}

/// The examples that a script runs.
fn scenarios() -> Vec<PathBuf> {
    let mut folders = folders("examples");
    folders.retain(|folder| !FOR_OPERATORS.contains(&&*name(folder)));
    folders
}

/// The folders of a folder that are not made by cargo, by name.
fn folders(of: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = files_of(&root().join(of))
        .filter(|path| path.is_dir() && name(path) != "target")
        .collect();
    folders.sort();
    folders
}

fn files_of(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
}

fn is_definition(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "yaml")
        && name(file) != "script"
}

/// A folder's name, or a file's without its extension.
fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}
