//! What the compiler tells an author: each sample is compiled by the real compiler.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the compiler says about a sample, and whether it accepts it.
fn compile(sample: &str) -> (bool, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let dependencies = std::env::current_exe().unwrap();
    let dependencies = dependencies.parent().unwrap();
    let mut sdk = std::ffi::OsString::from("xcomponent_guest=");
    sdk.push(newest_sdk(dependencies));
    let out = tempfile(sample);
    let compiler = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
        ])
        .arg("--out-dir")
        .arg(&out)
        .arg("-L")
        .arg(dependencies)
        .arg("--extern")
        .arg(sdk)
        .arg(folder.join(format!("{sample}.rs")))
        .env("CARGO_MANIFEST_DIR", &folder)
        .output()
        .unwrap();
    fs::remove_dir_all(out).unwrap();
    let told = String::from_utf8(compiler.stderr).unwrap();
    (compiler.status.success(), told)
}

/// The library that cargo has just built for this test.
fn newest_sdk(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let libraries = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libxcomponent_guest-") && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    newest.expect("cargo builds the library first").path()
}

/// A folder of this sample's own.
fn tempfile(sample: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(sample);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn assert_accepted(sample: &str) {
    let (accepted, told) = compile(sample);
    assert!(accepted && told.is_empty(), "{told}");
}

fn assert_refused(sample: &str, lines: &[&str]) {
    let (accepted, told) = compile(sample);
    assert!(!accepted, "{sample} was accepted: {told}");
    assert_told(&told, lines);
}

fn assert_told(told: &str, lines: &[&str]) {
    for line in lines {
        assert!(told.contains(line), "expected `{line}` in:\n{told}");
    }
}

#[test]
fn a_component_that_answers_everything_compiles_without_a_warning() {
    assert_accepted("complete");
    assert_accepted("private");
}

#[test]
fn a_method_that_the_code_lacks_is_an_error_at_the_definitions_name() {
    assert_refused(
        "missing",
        &[
            "error: order.yaml names an action `ship`, and no function here answers it",
            "missing.rs:2:31",
        ],
    );
}

#[test]
fn a_method_that_no_definition_names_is_a_warning_at_the_function() {
    let (accepted, told) = compile("unnamed");
    assert!(accepted, "{told}");
    assert_told(
        &told,
        &[
            "warning: ",
            "order.yaml names no method that `dance` answers",
            "unnamed.rs:13:8",
        ],
    );
}

#[test]
fn a_method_of_the_wrong_kind_is_an_error_at_the_function() {
    assert_refused(
        "wrong_kind",
        &[
            "order.yaml uses `isPaid` as a guard, but it is marked as an action",
            "wrong_kind.rs:5:8",
        ],
    );
}

#[test]
fn a_function_of_the_wrong_shape_is_an_error_at_the_function() {
    assert_refused(
        "wrong_shape",
        &[
            "this function cannot be a guard",
            "wrong_shape.rs:5:8",
            "it returns `bool` or `Result<bool, Failure>`",
        ],
    );
}

#[test]
fn every_mistake_of_a_definition_is_an_error_with_its_line() {
    assert_refused(
        "invalid",
        &[
            "three-mistakes.yaml:5:19: error[unknown_state]",
            "three-mistakes.yaml:9:15: error[unknown_value]",
            "three-mistakes.yaml:11:26: error[unknown_state]",
        ],
    );
}

#[test]
fn a_definition_that_is_not_there_is_an_error_with_its_path() {
    assert_refused("absent", &["cannot read ", "samples/nowhere.yaml"]);
}
