//! `cargo xtask test`: everything CI checks, in the order in which a mistake shows soonest.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    attack, clients,
    command::{answers, cargo, root, say, step},
    crash, demo, example, guests, sim,
};

/// Everything CI checks.
#[derive(Debug, Args)]
pub(crate) struct Test {}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let components = root().join("components");
        step("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
        step(
            "formatting of the fuzz targets",
            cargo(&["fmt", "--check"]).current_dir(root().join("host/fuzz")),
        )?;
        step(
            "formatting of the guests",
            cargo(&["fmt", "--all", "--check"]).current_dir(&components),
        )?;
        step(
            "clippy",
            &mut cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
        )?;
        guests::Guests {}.run()?;
        step(
            "methods of the guests, natively",
            cargo(&["test", "--quiet"]).current_dir(&components),
        )?;
        say("── servers for the tests");
        xcomponent_servers::install()?;
        tests()?;
        sim::Sim::check().run()?;
        for crash in crash::Crash::checks() {
            crash.run()?;
        }
        attack::Attack::check().run()?;
        clients::Clients {}.run()?;
        step("doc tests", &mut cargo(&["test", "--workspace", "--doc"]))?;
        let mut docs = cargo(&[
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]);
        step("docs", docs.env("RUSTDOCFLAGS", "-D warnings"))?;
        dependencies()?;
        for example in example::Example::all() {
            example.run()?;
        }
        demo::Demo::check().run()
    }
}

/// With nextest where it is present: it runs tests of several binaries side by side.
fn tests() -> Result<()> {
    if answers(&mut cargo(&["nextest", "--version"])) {
        let profile = if std::env::var_os("CI").is_some() {
            "ci"
        } else {
            "default"
        };
        let mut nextest = cargo(&["nextest", "run", "--workspace", "--profile", profile]);
        return step("tests", &mut nextest);
    }
    step(
        "tests",
        &mut cargo(&["test", "--workspace", "--lib", "--bins", "--tests"]),
    )
}

/// Licences, sources and bans always; advisories where their database can be reached.
fn dependencies() -> Result<()> {
    if !answers(&mut cargo(&["deny", "--version"])) {
        say(
            "── cargo-deny is not installed (`cargo install cargo-deny`): dependencies are not checked",
        );
        return Ok(());
    }
    step(
        "dependencies",
        &mut cargo(&["deny", "check", "bans", "licenses", "sources"]),
    )?;
    let mut fetch = Command::new("cargo");
    if !answers(fetch.args(["deny", "fetch"]).current_dir(root())) {
        say("── the advisory database cannot be reached: advisories are not checked");
        return Ok(());
    }
    step("advisories", &mut cargo(&["deny", "check", "advisories"]))
}
