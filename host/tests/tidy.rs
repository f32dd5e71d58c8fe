//! The rules of this project that a machine can check.
//!
//! Each test reads the sources as text and names every place that breaks its rule.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot read the sources has failed"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest source file, in lines. A longer one has a noun in it that wants its own file.
const LINES_MAX: usize = 600;

/// Dependencies that the core may have: small, pure, without an outside world.
const CORE_MAY_USE: [&str; 13] = [
    "fastrand",
    "foldhash",
    "hashbrown",
    "itoa",
    "regex",
    "serde",
    "serde_json",
    "serde_yaml",
    "sha2",
    "smallvec",
    "smol_str",
    "thin-vec",
    "thiserror",
];

/// Which module of the host may import which of the others; `app` and `cli` may import all.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("sandbox", &[]),
    ("portable", &[]),
    ("store", &["portable"]),
    ("bus", &["portable", "store"]),
    ("cache", &[]),
    ("telemetry", &[]),
    ("driver", &["store", "bus", "telemetry"]),
    ("tenancy", &["driver"]),
    ("api", &["bus", "cache", "driver", "telemetry", "tenancy"]),
];

/// Foreign names that appear in one module only.
const PRIVATE: [(&str, &str); 4] = [
    ("wasmtime", "sandbox"),
    ("axum", "api"),
    ("utoipa", "api"),
    ("opentelemetry", "telemetry"),
];

#[test]
fn every_source_file_says_what_it_is() {
    let silent = sources(&root()).into_iter().filter(|(_, text)| {
        !text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("//! ") && line.len() > "//! ".len())
    });
    assert_none(silent.map(|(path, _)| path));
}

#[test]
fn no_source_file_is_too_long() {
    let long = sources(&root())
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX);
    assert_none(long.map(|(path, text)| format!("{path} has {} lines", text.lines().count())));
}

#[test]
fn modules_are_named_by_their_file() {
    let foreign = sources(&root())
        .into_iter()
        .filter(|(path, _)| path.ends_with("/mod.rs"));
    assert_none(foreign.map(|(path, _)| path));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimplement", "ed!("),
        concat!("#[ign", "ore"),
        concat!("#[should_", "panic"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X "),
    ];
    assert_none(lines_with(&marks));
}

#[test]
fn no_line_ends_in_white_space() {
    let ragged = sources(&root()).into_iter().flat_map(|(path, text)| {
        let ragged = |(number, line): (usize, &str)| {
            line.ends_with([' ', '\t'])
                .then(|| format!("{path}:{}", number + 1))
        };
        text.lines()
            .enumerate()
            .filter_map(ragged)
            .collect::<Vec<_>>()
    });
    assert_none(ragged);
}

#[test]
fn tests_never_sleep() {
    let in_tests = |place: &String| place.contains("/tests/") || place.starts_with("tests/");
    let sleeps = [concat!("thread::", "sleep"), concat!("time::", "sleep(")];
    assert_none(lines_with(&sleeps).into_iter().filter(in_tests));
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let host = root().join("host/src");
    let mut wrong = Vec::new();
    for (module, allowed) in MAY_IMPORT {
        for (path, text) in module_sources(&host, module) {
            let all = [
                "portable",
                "sandbox",
                "store",
                "bus",
                "cache",
                "telemetry",
                "driver",
                "tenancy",
                "api",
                "app",
                "cli",
            ];
            for other in all {
                let is_import = imports(&text, other);
                if other != module && !allowed.contains(&other) && is_import {
                    wrong.push(format!("{path} imports `{other}`"));
                }
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn foreign_types_stay_in_their_module() {
    let host = root().join("host/src");
    let mut wrong = Vec::new();
    for (foreign, home) in PRIVATE {
        let others = sources(&host).into_iter().filter(|(path, _)| {
            let inside = path.strip_prefix("host/src/").unwrap_or(path);
            !inside.starts_with(&format!("{home}/")) && inside != format!("{home}.rs")
        });
        let used = [format!("use {foreign}::"), format!("{foreign}::")];
        wrong.extend(
            others
                .filter(|(_, text)| {
                    code_lines(text).any(|line| used.iter().any(|used| names(line, used)))
                })
                .map(|(path, _)| format!("{path} names `{foreign}`")),
        );
    }
    assert_none(wrong);
}

#[test]
fn the_core_depends_on_nothing_that_has_an_outside_world() {
    let manifest = read(&root().join("host/core/Cargo.toml"));
    let foreign = dependencies(&manifest, "[dependencies]")
        .into_iter()
        .filter(|name| !CORE_MAY_USE.contains(&name.as_str()));
    assert_none(foreign);
}

#[test]
fn nobody_but_the_simulator_makes_mistakes_on_purpose() {
    let shell = sources(&root().join("host/src"));
    let guilty = shell
        .iter()
        .filter(|(_, text)| code_lines(text).any(|line| line.contains("sabotage")));
    assert_none(guilty.map(|(path, _)| path));
}

#[test]
fn versions_stand_in_the_workspace_only() {
    let native = [
        "host",
        "host/core",
        "host/pack",
        "host/servers",
        "host/sim",
        "host/xtask",
        "guest-sdk",
        "guest-sdk/macros",
    ];
    let mut wrong = Vec::new();
    for package in native {
        let path = format!("{package}/Cargo.toml");
        let manifest = read(&root().join(&path));
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let is_dependency = section.contains("dependencies") && line.contains('=');
            if is_dependency && !line.contains("workspace = true") {
                wrong.push(format!("{path}: {line}"));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn every_item_of_the_contract_is_described() {
    let mut wrong = Vec::new();
    for (path, text) in files(&root().join("wit"), &["wit"]) {
        let mut described = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let is_item = [
                "record ",
                "variant ",
                "enum ",
                "interface ",
                "world ",
                "type ",
            ]
            .iter()
            .any(|word| line.starts_with(word))
                || line.contains(": func(");
            if is_item && !described {
                wrong.push(format!("{path}:{}: {line}", number + 1));
            }
            described = line.starts_with("///") || (described && line.starts_with('@'));
        }
    }
    assert_none(wrong);
}

#[test]
fn the_docs_name_every_folder_at_the_top() {
    let architecture = read(&root().join("ARCHITECTURE.md"));
    let folders = [
        "wit/",
        "guest-sdk/",
        "components/",
        "examples/",
        "host/core/",
        "host/pack/",
        "host/servers/",
        "host/sim/",
        "host/xtask/",
    ];
    assert_none(
        folders
            .into_iter()
            .filter(|folder| !architecture.contains(folder)),
    );
}

// Reading the tree.

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the host stands one folder below the root")
        .to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rust sources below a folder, with their path from the root.
fn sources(folder: &Path) -> Vec<(String, String)> {
    files(folder, &["rs"])
}

fn module_sources(host: &Path, module: &str) -> Vec<(String, String)> {
    let mut all = vec![host.join(format!("{module}.rs"))];
    all.retain(|path| path.exists());
    let own = all.into_iter().map(|path| (shown(&path), read(&path)));
    let below = host.join(module);
    own.chain(
        below
            .exists()
            .then(|| sources(&below))
            .into_iter()
            .flatten(),
    )
    .collect()
}

fn files(folder: &Path, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted))
            {
                found.push((shown(&path), read(&path)));
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Places where one of these texts stands.
fn lines_with(texts: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for (path, text) in sources(&root()) {
        for (number, line) in text.lines().enumerate() {
            if texts.iter().any(|text| line.contains(text)) {
                places.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    places
}

/// Lines that are no comment.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
}

/// Whether a path stands in a line on its own, not as the end of a longer name.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

/// Whether a source imports another module of the crate: `crate::other`, or `other` in a group
/// after `crate::{`.
fn imports(text: &str, other: &str) -> bool {
    let code: String = code_lines(text).collect::<Vec<_>>().join("\n");
    let direct = format!("crate::{other}");
    let is_direct = code.match_indices(&direct).any(|(at, found)| {
        let after = code[at + found.len()..].chars().next();
        after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    });
    let grouped = code.match_indices("use crate::{").any(|(at, _)| {
        let group = &code[at + "use crate::{".len()..];
        let end = group.find("};").unwrap_or(group.len());
        top_level(&group[..end]).any(|name| name == other)
    });
    is_direct || grouped
}

/// Names at the top level of a `use` group.
fn top_level(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    group
        .split_inclusive([',', '{', '}'])
        .filter_map(move |part| {
            let at_top = depth == 0;
            depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
            let name = part.trim().split([':', ',', '{', '}']).next()?.trim();
            (at_top && !name.is_empty()).then_some(name)
        })
}

fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let after = manifest.split(section).nth(1).unwrap_or_default();
    after
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(ToOwned::to_owned)
        .collect()
}

fn assert_none<T: std::fmt::Display>(found: impl IntoIterator<Item = T>) {
    let found: Vec<String> = found.into_iter().map(|item| item.to_string()).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
