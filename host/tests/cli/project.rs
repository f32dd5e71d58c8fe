//! `new` and `build`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use xcomponent_pack::build::Toolchain;

use crate::harness::{Serving, command, root, scratch, xcomponent};

#[test]
fn a_new_project_has_everything_it_needs() {
    let folder = scratch("new").join("travel-costs");
    let made = xcomponent(["new".into(), folder.clone()]).done();
    assert!(
        made.stdout.starts_with("TravelCostsComponent is in "),
        "{made:?}"
    );
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let sdk = fs::canonicalize(root().join("guest-sdk")).unwrap();
    assert!(read("Cargo.toml").contains("name = \"travel-costs\""));
    assert!(read("Cargo.toml").contains(&format!("path = \"{}\"", sdk.display())));
    for name in [
        "README.md",
        "component.yaml",
        "script.yaml",
        "src/lib.rs",
        ".gitignore",
    ] {
        assert!(!read(name).contains("{{"), "{name}");
    }
    xcomponent(["validate".into(), "--strict".into(), folder.clone()]).done();
    let again = xcomponent(["new".into(), folder]);
    assert_eq!(again.code, 2);
}

#[test]
fn a_project_is_not_made_without_a_name_or_an_sdk() {
    let folder = scratch("new-misuse");
    for args in [
        &["new", "1st"][..],
        &["new", "a b"],
        &["new", "fine", "--sdk", "nowhere"],
    ] {
        let made = command().current_dir(&folder).args(args).output().unwrap();
        assert_eq!(made.status.code(), Some(2), "{args:?}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_definition_is_built_only_without_methods() {
    let folder = scratch("build");
    let output = folder.join("shop.wasm");
    let build = |more: &[&str]| {
        let mut args = vec![
            "build".as_ref(),
            "shop.yaml".as_ref(),
            "-o".as_ref(),
            output.as_os_str(),
        ];
        args.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        xcomponent(args)
    };
    let refused = build(&[]);
    assert_eq!(refused.code, 1);
    assert!(!output.exists());
    assert_eq!(
        refused.stderr,
        "error: no code answers guard `isRich`, action `collect`; write it, or add \
         `--allow-missing-methods`\n"
    );
    build(&["--allow-missing-methods"]).done();
    xcomponent(["inspect".as_ref(), output.as_os_str()]).done();
}

/// Slow the first time: the standard library is compiled where no target is installed.
#[test]
fn a_new_project_builds_passes_its_tests_and_runs() {
    if let Err(error) = Toolchain::find() {
        eprintln!("skipped: {error}");
        return;
    }
    let folder = first_steps();
    let run = |program: &mut Command| {
        let output = program.current_dir(&folder).stdin(Stdio::null()).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let native = folder.join("target/native");
    let mut tests = Command::new("cargo");
    run(tests.args(["test", "--quiet", "--target-dir"]).arg(native));
    run(command().arg("build"));
    let packed = "target/first-steps.wasm";
    assert!(folder.join(packed).exists());
    let told = run(command().args(["simulate", packed, "--script", "script.yaml"]));
    assert!(told.contains("Pens is approved"), "{told}");
    // A folder is served as it is, and replaced while the host runs.
    let serving = Serving::start([&folder]);
    assert_eq!(
        serving.ready["components"][0]["component"],
        "FirstStepsComponent"
    );
    let yaml = folder.join("component.yaml");
    let newer = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, newer.replace("version: 0.1.0", "version: 0.2.0")).unwrap();
    let deployed = serving.ask(["deploy".as_ref(), folder.as_os_str()]).done();
    assert_eq!(deployed.stdout, "FirstStepsComponent 0.2.0 is active\n");
}

/// A new project in a folder whose target folder is kept from run to run.
fn first_steps() -> PathBuf {
    let fresh = scratch("scaffold-fresh").join("first-steps");
    xcomponent(["new".as_ref(), fresh.as_os_str()]).done();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold/first-steps");
    fs::create_dir_all(&kept).unwrap();
    for entry in fs::read_dir(&fresh).unwrap() {
        let entry = entry.unwrap();
        let place = kept.join(entry.file_name());
        // It is not there the first time.
        let _ = fs::remove_dir_all(&place).or_else(|_| fs::remove_file(&place));
        fs::rename(entry.path(), place).unwrap();
    }
    kept
}
