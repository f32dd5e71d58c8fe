//! The examples of how a host is run say what the program understands.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use serde_json::Value;

use super::{Arguments, Command};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether these arguments are understood, and serve.
fn expect_serve<'a>(place: &str, arguments: impl Iterator<Item = &'a str>) {
    let arguments: Vec<&str> = std::iter::once("xcomponent").chain(arguments).collect();
    match Arguments::try_parse_from(&arguments) {
        Ok(Arguments {
            command: Command::Serve(_),
            ..
        }) => {}
        other => panic!("{place}: {arguments:?} is {other:?}"),
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item.as_str().unwrap_or_else(|| panic!("{item} is no text")))
}

#[test]
fn compose_files_run_hosts() {
    let strategies = [
        "single", "postgres", "http", "redis", "nats", "rabbitmq", "kafka", "registry",
    ];
    for name in strategies {
        let path = root().join(format!("examples/compose/{name}.yaml"));
        let file: Value = serde_yaml::from_str(&read(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let services = file["services"].as_object().expect("it has services");
        let volumes = file["volumes"].as_object().expect("it has volumes");
        let mut hosts = 0;
        for (service, about) in services {
            let place = format!("{name}: {service}");
            if about["image"] == "xcomponent" {
                expect_serve(&place, texts(&about["command"]));
                hosts += 1;
            }
            for volume in texts(&about["volumes"]) {
                let source = volume.split(':').next().unwrap_or_default();
                let is_known = source.starts_with("../") || volumes.contains_key(source);
                assert!(is_known, "{place}: {volume}");
            }
            let needed = about["depends_on"].as_object().into_iter().flatten();
            for (other, _) in needed {
                let is_checked = services[other]["healthcheck"]["test"].is_array();
                assert!(is_checked, "{place} waits for {other}, which nobody checks");
            }
        }
        assert_eq!(
            hosts,
            if volumes.contains_key("order") { 2 } else { 1 },
            "{name}"
        );
    }
}

#[test]
fn the_container_serves_and_is_checked() {
    let dockerfile = read(&root().join("Dockerfile"));
    let list = |instruction: &str| -> Value {
        let mut lines = dockerfile.lines().map(str::trim);
        let list = lines.find_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
        let list = list.filter(|list| list.starts_with('['));
        let list = list.unwrap_or_else(|| panic!("no {instruction}"));
        serde_json::from_str(list).expect("it is a list")
    };
    let commands: Vec<Value> = dockerfile
        .lines()
        .filter_map(|line| line.trim().strip_prefix("CMD "))
        .map(|list| serde_json::from_str(list).expect("it is a list"))
        .collect();
    let [check, serve] = &*commands else {
        panic!("one command checks, and one serves: {commands:?}");
    };
    expect_serve("Dockerfile", texts(serve));
    let program = list("ENTRYPOINT");
    assert_eq!(check[0], program[0]);
    let asked = Arguments::try_parse_from(texts(check));
    assert!(matches!(
        asked.map(|arguments| arguments.command),
        Ok(Command::Health(_))
    ));
}

#[test]
fn the_unit_serves() {
    let unit = read(&root().join("examples/systemd/xcomponent.service"));
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words = start.expect("it starts something").split(' ').skip(1);
    expect_serve("xcomponent.service", words);
}
