//! Guests for tests: those of `components/`, built beforehand, and small ones written as text.

#![allow(dead_code, reason = "not every test needs every helper")]

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use xcomponent_core::id::Digest;
use xcomponent_pack::{Metadata, Method, MethodKind, pack};

/// A packed guest of `components/`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; build the guests with `cargo xtask guests`",
            path.display()
        )
    })
}

fn folder() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    std::env::var_os("XCOMPONENT_GUESTS").map_or_else(built, PathBuf::from)
}

/// The digest under which a component is installed.
pub(crate) fn digest(component: &[u8]) -> Digest {
    Digest(Sha256::digest(component).into())
}

/// What a text guest is made of: parts of a core module, with the answer to one action.
pub(crate) struct Text<'t> {
    /// Imports of the core module.
    pub(crate) imports: &'t str,
    /// Body of the action: leaves the address of the text it answers, and its length.
    pub(crate) answer: &'t str,
    /// Anything else at the end of the module.
    pub(crate) rest: &'t str,
}

/// A component with the one action `act`, and guests' usual memory management.
pub(crate) fn text_guest(text: &Text<'_>) -> Vec<u8> {
    let Text {
        imports,
        answer,
        rest,
    } = text;
    let module = format!(
        r#"(module
          {imports}
          (memory (export "memory") 2)
          (global $top (mut i32) (i32.const 65536))
          (data (i32.const 0) "\10\00\00\00\01\00\00\00")
          (data (i32.const 16) "\20\00\00\00\03\00\00\00\01")
          (data (i32.const 32) "act")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
          (func $answer (result i32 i32) {answer})
          (func (export "xcomponent:component/methods@0.1.0#list") (result i32) (i32.const 0))
          (func (export "xcomponent:component/methods@0.1.0#guard") (param i32) (result i32) unreachable)
          (func (export "xcomponent:component/methods@0.1.0#action") (param i32) (result i32)
            (local $at i32) (local $len i32)
            (global.set $top (i32.const 65536))
            (call $answer)
            (local.set $len)
            (local.set $at)
            (i32.store (i32.const 72) (local.get $at))
            (i32.store (i32.const 76) (local.get $len))
            (i32.store (i32.const 64) (i32.const 0))
            (i32.store (i32.const 68) (i32.const 1))
            (i32.const 64))
          {rest})"#
    );
    let module = wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    let act = Method {
        kind: MethodKind::Action,
        name: "act".to_owned(),
    };
    let component = encode(&module);
    pack(&component, "name: Text", &Metadata::default(), &[act])
        .expect("the component can be packed")
}

/// The world of text guests: the contract, some of WASI, and something nobody provides.
const WORLD: &str = r"
package test:guest;
world guest {
    include xcomponent:component/component@0.1.0;
    import wasi:clocks/wall-clock@0.2.0;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:random/random@0.2.0;
    import acme:secrets/vault@1.0.0;
}
package wasi:io@0.2.0 {
    interface poll {
        resource pollable { block: func(); }
    }
}
package wasi:clocks@0.2.0 {
    interface wall-clock {
        record datetime { seconds: u64, nanoseconds: u32 }
        now: func() -> datetime;
    }
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:random@0.2.0 {
    interface random { get-random-u64: func() -> u64; }
}
package acme:secrets@1.0.0 {
    interface vault { open: func() -> u32; }
}
";

fn encode(module: &[u8]) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve
        .push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit"))
        .expect("the contract can be read");
    let package = resolve
        .push_str("guest.wit", WORLD)
        .expect("the test's world can be read");
    let world = resolve
        .select_world(&[package], None)
        .expect("the test has one world");
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world can be embedded");
    let encoder = ComponentEncoder::default().validate(true);
    encoder
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module fits the world")
}
