//! What is packed is read back unchanged, and nothing else is accepted.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use proptest::prelude::*;
use wasm_encoder::{ComponentBuilder, ComponentTypeRef, InstanceType};
use xcomponent_pack::{Metadata, Method, MethodKind, ReadError, blank, pack, read};

#[path = "../../tests/common/bombs.rs"]
mod bombs;

const YAML: &str = "name: Shop\n# kept, byte for byte: ä\n";

fn methods() -> Vec<Method> {
    let method = |kind, name: &str| Method {
        kind,
        name: name.to_owned(),
    };
    vec![
        method(MethodKind::Guard, "isSmall"),
        method(MethodKind::Action, "ship it"),
    ]
}

fn metadata() -> Metadata {
    Metadata {
        name: Some("Shop".to_owned()),
        version: Some("1.2.3".to_owned()),
        description: Some("sells".to_owned()),
        source: Some("https://example.com/shop".to_owned()),
        revision: Some("abc".to_owned()),
    }
}

fn packed() -> Vec<u8> {
    pack(&blank(), YAML, &metadata(), &methods()).unwrap()
}

fn code(bytes: &[u8]) -> &'static str {
    read(bytes).unwrap_err().code()
}

#[test]
fn everything_packed_is_read_back() {
    let read = read(&packed()).unwrap();
    assert_eq!(read.definition, YAML);
    assert_eq!(read.methods, methods());
    assert_eq!(read.metadata, metadata());
    assert!(!read.has_migration);
}

#[test]
fn packing_again_replaces_what_was_packed() {
    let again = pack(&packed(), "name: Other\n", &Metadata::default(), &[]).unwrap();
    let read = read(&again).unwrap();
    assert_eq!(
        (read.definition.as_str(), read.methods.len()),
        ("name: Other\n", 0)
    );
}

#[test]
fn what_is_no_packed_component_is_refused_by_name() {
    assert_eq!(code(b"hello, I am text"), "not_wasm");
    assert_eq!(code(b"\0asm\x01\0\0\0"), "core_module");
    assert_eq!(code(&blank()), "no_definition");
    let bytes = packed();
    assert_eq!(code(&bytes[..bytes.len() / 2]), "malformed_wasm");
    assert_eq!(code(&bytes[..bytes.len() - 3]), "malformed_wasm");
    assert_eq!(code(b"\0asm\x0d\0\x01\0"), "no_definition");
}

#[test]
fn a_module_without_methods_is_no_component_for_the_host() {
    assert!(pack(b"x", YAML, &metadata(), &[]).is_err());
    let packed = pack(b"\0asm\x01\0\0\0", YAML, &metadata(), &[]).unwrap();
    assert_eq!(code(&packed), "methods_not_exported");
}

#[test]
fn an_import_that_is_not_allowed_is_named() {
    let mut component = ComponentBuilder::default();
    let empty = component.type_instance(None, &InstanceType::new());
    component.import("evil:net/socket@1.0.0", ComponentTypeRef::Instance(empty));
    assert_eq!(
        read(&component.finish()),
        Err(ReadError::ImportNotAllowed(
            "evil:net/socket@1.0.0".to_owned()
        ))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = packed();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        bytes.truncate(cut.index(bytes.len()).max(1));
        let _ = read(&bytes);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&[b"\0asm\x0d\0\x01\0", &bytes[..]].concat());
    }
}

#[test]
fn what_nests_too_deep_is_refused_before_anybody_recurses_into_it() {
    for levels in [51, 1_000, 1_000_000] {
        assert_eq!(code(&bombs::nested_types(levels)), "too_deep");
    }
    for levels in [51, 1_000, 40_000] {
        assert_eq!(code(&bombs::nested_components(levels)), "too_deep");
    }
    assert_eq!(code(&bombs::nested_types(49)), "no_definition");
    assert_eq!(code(&bombs::nested_components(50)), "no_definition");
    assert_eq!(code(&bombs::lying_counts()), "malformed_wasm");
}
