//! Which components are let in.

use std::{fmt::Write as _, time::Duration};

use xcomponent_core::{definition::MethodKind, id::MethodName};
use xcomponent_host::sandbox::{InstallError, examiner};

use crate::{
    guests::{Text, digest, guest, text_guest},
    sandboxes::{
        action, ask, config, deploy, deployment, install, install_wanting, sandboxes, shared,
    },
};

/// Answers `{}`.
const EMPTY: Text<'static> = Text {
    imports: "",
    answer: "(i32.const 128) (i32.const 2)",
    rest: r#"(data (i32.const 128) "{}")"#,
};

#[test]
fn a_component_gives_the_methods_it_answers() {
    let methods = install(shared(), &text_guest(&EMPTY)).unwrap();
    assert_eq!(methods, [(MethodKind::Action, MethodName::new("act"))]);
}

#[test]
fn a_method_that_the_definition_wants_and_nobody_answers_is_named() {
    let component = text_guest(&EMPTY);
    let wanted = [
        (MethodKind::Action, MethodName::new("act")),
        (MethodKind::Guard, MethodName::new("mayPay")),
    ];
    let error = install_wanting(shared(), &component, &wanted, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component does not answer guard `mayPay`"
    );
    install_wanting(shared(), &component, &wanted, true).unwrap();
}

#[test]
fn an_import_that_guests_may_not_have_is_named() {
    let imports = r#"(import "acme:secrets/vault@1.0.0" "open" (func $open (result i32)))"#;
    let component = text_guest(&Text {
        imports,
        answer: "(drop (call $open)) (i32.const 128) (i32.const 2)",
        ..EMPTY
    });
    let error = install(shared(), &component).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the import `acme:secrets/vault@1.0.0` is not allowed: expected `xcomponent:component/…@0.1` or `wasi:…@0.2`"
    );
}

#[test]
fn bytes_that_are_no_component_are_refused() {
    let component = text_guest(&EMPTY);
    let module = wat::parse_str("(module)").unwrap();
    for bytes in [&b"not wasm"[..], &module, &component[..component.len() / 2]] {
        let error = install(shared(), bytes).unwrap_err();
        assert!(
            matches!(
                error,
                InstallError::Examiner(examiner::Error::Refused { .. })
            ),
            "{error}"
        );
    }
}

#[test]
fn a_component_with_too_many_functions_is_not_compiled() {
    let functions = "(func)".repeat(100);
    let mut config = config();
    config.compile.functions_max = 50;
    let error = install(
        &sandboxes(config),
        &text_guest(&Text {
            rest: &functions,
            ..EMPTY
        }),
    )
    .unwrap_err();
    assert_eq!(error.code(), "too_large");
    assert!(
        error.to_string().ends_with("at most 50 are accepted"),
        "{error}"
    );
}

/// A function that takes the compiler minutes and gigabytes.
fn compile_bomb() -> Vec<u8> {
    let mut body = String::from("(func $bomb (param i64) (result i64) (local.get 0)");
    for n in 0..300_000_u32 {
        write!(body, "(i64.const {n}) (i64.mul) (local.tee 0) (if (param i64) (result i64) (i64.eqz (local.get 0)) (then (local.get 0) (i64.xor)))")
            .expect("writing to a string cannot fail");
    }
    body.push(')');
    text_guest(&Text {
        rest: &body,
        ..EMPTY
    })
}

#[test]
fn a_compile_bomb_ends_the_compiler_and_nothing_else() {
    let mut config = config();
    config.compile.cpu_seconds_max = 1;
    config.compile.memory_bytes_max = 512 << 20;
    config.compile.wall_max = Duration::from_secs(60);
    let sandboxes = sandboxes(config);
    let error = install(&sandboxes, &compile_bomb()).unwrap_err();
    assert!(
        matches!(error, InstallError::Examiner(examiner::Error::Limit { .. })),
        "{error}"
    );
    let deployment = deploy(&sandboxes, &text_guest(&EMPTY));
    assert!(ask(&sandboxes, action(&deployment, "act")).result.is_ok());
}

#[test]
fn a_component_that_loops_when_it_is_started_is_refused() {
    let component = text_guest(&Text {
        rest: r"(func $loop (loop (br 0))) (start $loop)",
        ..EMPTY
    });
    let error = install(shared(), &component).unwrap_err();
    assert!(matches!(error, InstallError::Start { .. }), "{error}");
}

#[test]
fn a_version_that_was_unloaded_is_found_again_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let with_folder = || {
        let mut config = config();
        config.cache_dir = Some(folder.path().to_owned());
        sandboxes(config)
    };
    let component = text_guest(&EMPTY);
    let first = with_folder();
    let deployed = deploy(&first, &component);
    first.unload(&deployed.artifact);
    assert!(ask(&first, action(&deployed, "act")).result.is_ok());
    let second = with_folder();
    assert!(
        ask(
            &second,
            action(&deployment("default", deployed.artifact, "reused"), "act")
        )
        .result
        .is_ok()
    );
}

#[test]
fn a_version_that_was_never_installed_is_not_to_be_had() {
    let unknown = deployment("default", digest(b"nobody"), "reused");
    let code = crate::sandboxes::checkout(shared(), &unknown).unwrap_err();
    assert_eq!(code.as_str(), "sandbox_unavailable");
}

#[test]
fn the_order_component_is_let_in() {
    let methods = install(shared(), &guest("order")).unwrap();
    assert!(!methods.is_empty());
}
