//! `xcomponent components` and `xcomponent versions`: what is loaded.

use clap::Args;
use serde_json::Value;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
    table,
};

/// Lists the components of a host.
#[derive(Debug, Args)]
pub(super) struct Components {
    #[command(flatten)]
    remote: Remote,
}

/// Lists the versions of a component, the oldest upload first.
#[derive(Debug, Args)]
pub(super) struct Versions {
    /// Which component.
    component: String,
    #[command(flatten)]
    remote: Remote,
}

impl Components {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let page = self.remote.get("components", &Query::default(), printer)?;
        if printer.is_json() {
            printer.json(&page);
            return Ok(Verdict::Done);
        }
        let heading = [
            "COMPONENT",
            "VERSION",
            "MACHINES",
            "ACTIVE",
            "FINISHED",
            "BREAKER",
        ];
        let rows: Vec<_> = items(&page).iter().map(component).collect();
        table::print(heading, &rows, printer);
        Ok(Verdict::Done)
    }
}

fn component(item: &Value) -> [String; 6] {
    let machines = item["machines"].as_array().into_iter().flatten();
    let machines: Vec<_> = machines.filter_map(Value::as_str).collect();
    let instances = &item["instances"];
    let count = |name: &str| instances[name].as_u64().unwrap_or_default();
    let finished = ["completed", "error", "terminated"].map(count);
    [
        text(item, "name"),
        text(item, "version"),
        machines.join(", "),
        count("active").to_string(),
        finished.iter().sum::<u64>().to_string(),
        text(item, "breaker"),
    ]
}

impl Versions {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("components/{}", segment(&self.component));
        let component = self.remote.get(&path, &Query::default(), printer)?;
        if printer.is_json() {
            printer.json(&component["versions"]);
            return Ok(Verdict::Done);
        }
        let live = |version: &str| {
            let counts = component["instances"].as_array().into_iter().flatten();
            let counts = counts.filter(|count| count["version"] == version);
            let live = counts.filter(|count| count["status"] == "active");
            live.filter_map(|count| count["instances"].as_u64()).sum()
        };
        let versions = component["versions"].as_array().into_iter().flatten();
        let rows: Vec<_> = versions.map(|one| version(one, live)).collect();
        let heading = ["VERSION", "STATE", "LIVE", "BREAKER", "UPLOADED", "DIGEST"];
        table::print(heading, &rows, printer);
        Ok(Verdict::Done)
    }
}

fn version(version: &Value, live: impl Fn(&str) -> u64) -> [String; 6] {
    let label = text(version, "version");
    let state = match version["active"] == true {
        true => "active",
        false => "",
    };
    let live = live(&label).to_string();
    [
        label,
        state.to_owned(),
        live,
        text(&version["breaker"], "state"),
        text(version, "uploaded_at"),
        text(version, "digest").chars().take(12).collect(),
    ]
}
