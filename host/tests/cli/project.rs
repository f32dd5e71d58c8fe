//! `new` and `build`.

use std::{
    fs,
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

/// Slow the first time: the standard library is compiled where no target is installed. Its target
/// folder is kept from run to run.
#[test]
fn a_new_project_builds_passes_its_tests_and_runs() {
    if let Err(error) = Toolchain::find() {
        eprintln!("skipped: {error}");
        return;
    }
    let kept = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    let folder = kept.join("first-steps");
    fs::create_dir_all(&kept).unwrap();
    for name in [
        "src",
        "Cargo.toml",
        "component.yaml",
        "script.yaml",
        "README.md",
        ".gitignore",
    ] {
        let path = folder.join(name);
        // They are not there the first time.
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    let fresh = kept.join("fresh");
    let _ = fs::remove_dir_all(&fresh);
    xcomponent(["new".into(), fresh.join("first-steps")]).done();
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(fresh.join("first-steps")).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let tested = Command::new("cargo")
        .args(["test", "--quiet", "--target-dir"])
        .arg(folder.join("target/native"))
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        tested.status.success(),
        "{}",
        String::from_utf8_lossy(&tested.stderr)
    );
    let built = command()
        .current_dir(&folder)
        .arg("build")
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    assert!(folder.join("target/first-steps.wasm").exists());
    let simulated = command()
        .current_dir(&folder)
        .args([
            "simulate",
            "target/first-steps.wasm",
            "--script",
            "script.yaml",
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&simulated.stdout);
    assert!(simulated.status.success(), "{told}");
    assert!(told.contains("Pens is approved"), "{told}");
    // A folder is served as it is, and replaced while the host runs.
    let serving = Serving::start([&folder]);
    assert_eq!(
        serving.ready["components"][0]["component"],
        "FirstStepsComponent"
    );
    let yaml = folder.join("component.yaml");
    let newer = fs::read_to_string(&yaml)
        .unwrap()
        .replace("version: 0.1.0", "version: 0.2.0");
    fs::write(&yaml, newer).unwrap();
    let deployed = serving.ask(["deploy".as_ref(), folder.as_os_str()]).done();
    assert_eq!(deployed.stdout, "FirstStepsComponent 0.2.0 is active\n");
}
