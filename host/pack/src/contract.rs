//! The WIT package that components target.

use wit_parser::{Resolve, UnresolvedPackageGroup, WorldId};

/// The package, as guests and host see it.
const WIT: &str = include_str!("../../../wit/component.wit");

/// The interface that every component exports, without its version.
pub(crate) const METHODS: &str = "xcomponent:component/methods@0.1.";

/// The interface that components export which move contexts of older versions.
pub(crate) const MIGRATION: &str = "xcomponent:component/migration@0.1.";

/// Interfaces that a component may import, up to the patch version.
const IMPORTS: [&str; 4] = [
    "xcomponent:component/types@0.1.",
    "xcomponent:component/sender@0.1.",
    "xcomponent:component/current@0.1.",
    "xcomponent:component/logging@0.1.",
];

/// Whether a component may import an interface: the contract's own, or WASI 0.2, which the host
/// answers without giving anything away.
pub(crate) fn may_import(name: &str) -> bool {
    let of_contract = IMPORTS.iter().any(|prefix| name.starts_with(prefix));
    let of_wasi = name.starts_with("wasi:")
        && name
            .split_once('@')
            .is_some_and(|(_, version)| version.starts_with("0.2."));
    of_contract || of_wasi
}

/// The world `component`, resolved.
pub(crate) fn world() -> (Resolve, WorldId) {
    let group = UnresolvedPackageGroup::parse("component.wit", WIT)
        .expect("the WIT package of this release parses");
    let mut resolve = Resolve::default();
    let package = resolve
        .push_group(group)
        .expect("the WIT package of this release resolves");
    let world = resolve
        .select_world(&[package], Some("component"))
        .expect("the WIT package has a world `component`");
    (resolve, world)
}
