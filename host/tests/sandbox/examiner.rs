//! What strangers send meets a process of its own, and nobody believes what that says.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures_util::FutureExt as _;
use tempfile::TempDir;
use xcomponent_core::definition::Strictness;
use xcomponent_host::{
    sandbox::{Config, Examined, InstallError, Sandboxes, examiner},
    sent::Sent,
};

use crate::{
    bombs,
    guests::{Text, text_guest},
    sandboxes::{config, run, sandboxes, shared},
};

const SHOP: &str = "name: Shop\nversion: 1.0.0\nstateMachines:\n  - name: Order\n    initialState: Created\n    states: [{name: Created}]\n    transitions: []\n";

async fn examine(sandboxes: &Sandboxes, sent: Sent) -> Result<Examined, InstallError> {
    sandboxes.examine(sent, Strictness::Normal).await
}

/// Sends something, and gives why it is not accepted.
fn refusal(sandboxes: &Sandboxes, sent: Sent) -> InstallError {
    match run(examine(sandboxes, sent)) {
        Err(error) => error,
        Ok(examined) => panic!("it is accepted: {:?}", examined.findings),
    }
}

fn packed(bytes: Vec<u8>) -> Sent {
    Sent::Packed(bytes.into())
}

fn definition(yaml: impl Into<String>) -> Sent {
    Sent::Definition(yaml.into().into())
}

#[test]
fn components_that_nest_too_deep_are_refused() {
    for bomb in [
        bombs::nested_types(100),
        bombs::nested_types(1_000),
        bombs::nested_types(1_000_000),
        bombs::nested_components(1_000),
        bombs::nested_components(40_000),
    ] {
        assert_eq!(refusal(shared(), packed(bomb)).code(), "too_deep");
    }
}

#[test]
fn sections_that_lie_or_are_huge_are_refused() {
    let lies = refusal(shared(), packed(bombs::lying_counts()));
    assert_eq!(lies.code(), "malformed_wasm");
    let empty = refusal(shared(), packed(bombs::huge_section(50 << 20)));
    assert_eq!(empty.code(), "no_definition");
    let over = refusal(shared(), packed(bombs::huge_section(65 << 20)));
    assert_eq!(over.code(), "too_large");
}

#[test]
fn definitions_that_are_bombs_have_few_findings_or_cost_too_much() {
    for bomb in [
        bombs::aliases(12),
        bombs::nested_lists(100_000),
        bombs::unknown_states(2_000),
    ] {
        match run(examine(shared(), definition(bomb))) {
            Ok(examined) => {
                assert!(examined.definition.is_none());
                assert!((1..=100).contains(&examined.findings.len()));
            }
            Err(error) => assert!(!error.is_of_the_host(), "{error}"),
        }
    }
}

#[test]
fn a_definition_comes_back_packed_with_its_name() {
    let examined = run(examine(shared(), definition(SHOP))).unwrap();
    assert_eq!(examined.definition.as_deref(), Some(SHOP));
    let packed = xcomponent_pack::read(&examined.component).unwrap();
    assert_eq!(packed.definition, SHOP);
    assert_eq!(packed.metadata.name.as_deref(), Some("Shop"));
}

#[test]
fn a_definition_with_errors_says_which_and_nothing_is_compiled() {
    let examined = run(examine(shared(), definition("name: Shop\n"))).unwrap();
    assert!(examined.definition.is_none());
    assert!(
        examined
            .findings
            .iter()
            .any(|one| one.code == "missing_key"),
        "{:?}",
        examined.findings
    );
}

/// Reads everything, and says nothing although it could.
const SILENT: &str = "exec 4>&1; exec /bin/cat > /dev/null";

/// An examiner that does what this says instead.
fn impostor(folder: &Path, script: &str) -> Config {
    let program = folder.join("impostor");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, executable).unwrap();
    let mut config = config();
    config.compile.program = Some(program);
    config.compile.wall_max = Duration::from_secs(1);
    config
}

#[test]
fn an_examiner_that_lies_hurts_nobody() {
    let folder = TempDir::new().unwrap();
    let finding = r#"{"is_error":true,"code":"c","line":1,"column":1,"length":1,"path":"","message":"","help":null}"#;
    let findings = vec![finding; 101].join(",");
    let report = format!(
        r#"{{"accepted":false,"findings":[{findings}],"unlisted_errors":0,"unlisted_warnings":0,"methods":[]}}"#
    );
    let mut many = vec![b'r'];
    many.extend(u32::try_from(report.len()).unwrap().to_le_bytes());
    many.extend(report.as_bytes());
    fs::write(folder.path().join("many"), many).unwrap();
    let many = format!("/bin/cat {}", folder.path().join("many").display());
    let lies = [
        ("too long", r"printf 'r\377\377\377\177'"),
        ("cut off", r"printf 'r\020\000\000\000abc'"),
        ("garbage", "printf 'hello, host'"),
        ("endless", "exec /bin/cat /dev/zero"),
        ("nothing", "exit 0"),
        ("failed", "exit 7"),
        ("no report", r"printf 'r\002\000\000\000{}'"),
        (
            "no text",
            r#"printf 'r\103\000\000\000{"accepted":true,"findings":[],"unlisted_errors":0,"unlisted_warnings":0,"methods":[],"more":[0]}'"#,
        ),
        ("too many findings", &*many),
    ];
    for (what, script) in lies {
        let sandboxes = sandboxes(impostor(folder.path(), script));
        let error = refusal(&sandboxes, definition(SHOP));
        assert_eq!(error.code(), "examiner_failed", "{what}: {error}");
        assert!(error.is_of_the_host());
    }
}

#[test]
fn an_examiner_that_says_nothing_has_its_time() {
    let folder = TempDir::new().unwrap();
    let sandboxes = sandboxes(impostor(folder.path(), SILENT));
    let error = refusal(&sandboxes, definition(SHOP));
    assert!(
        matches!(error, InstallError::Examiner(examiner::Error::Limit { .. })),
        "{error}"
    );
}

/// A pipe with a name: what its writer says, and when the last one is gone.
fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

#[tokio::test]
async fn an_examiner_ends_with_whoever_asked_and_those_beyond_the_queue_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = pipe(folder.path());
    let script = format!("exec 3> {}; echo begun >&3; {SILENT}", path.display());
    let mut config = impostor(folder.path(), &script);
    config.compile.wall_max = Duration::from_secs(600);
    config.compile.at_once_max = 1;
    config.compile.waits_max = 1;
    let sandboxes = sandboxes(config);
    let first = tokio::spawn({
        let sandboxes = sandboxes.clone();
        async move { examine(&sandboxes, definition(SHOP)).await.err() }
    });
    let begun = tokio::task::spawn_blocking(move || {
        let mut pipe = BufReader::new(fs::File::open(path).unwrap());
        let mut line = String::new();
        pipe.read_line(&mut line).unwrap();
        pipe
    });
    let mut pipe = begun.await.unwrap();

    let mut second = Box::pin(examine(&sandboxes, definition(SHOP)));
    assert!((&mut second).now_or_never().is_none());
    let third = examine(&sandboxes, definition(SHOP)).now_or_never();
    let refused = third.expect("it does not wait").err().unwrap();
    assert_eq!(refused.code(), "busy");
    drop(second);

    first.abort();
    let ended = tokio::task::spawn_blocking(move || {
        let mut rest = String::new();
        pipe.read_to_string(&mut rest).unwrap();
    });
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .expect("the examiner is stopped")
        .unwrap();
}

#[test]
fn what_was_accepted_is_compiled_again_where_the_cache_has_lost_it() {
    struct Kept(Vec<u8>);

    impl xcomponent_host::sandbox::Artifacts for Kept {
        fn find(
            &self,
            _: xcomponent_core::id::Digest,
        ) -> Result<Option<std::sync::Arc<[u8]>>, String> {
            Ok(Some(self.0.clone().into()))
        }
    }

    let component = text_guest(&Text {
        imports: "",
        answer: "(i32.const 128) (i32.const 2)",
        rest: r#"(data (i32.const 128) "{}")"#,
    });
    let sandboxes = sandboxes(config());
    let deployment =
        crate::sandboxes::deployment("default", crate::guests::digest(&component), "reused");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        sandboxes.reload_from(Kept(component));
    });
    let call = crate::sandboxes::action(&deployment, "act");
    assert!(crate::sandboxes::ask(&sandboxes, call).result.is_ok());
}
