//! Any upload is answered, never with a failure of the host, and a refused one leaves nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use xcomponent_core::id::TenantId;
use xcomponent_fuzz::World;
use xcomponent_host::app::Config;

static WORLD: LazyLock<World> = LazyLock::new(|| World::start(Config::default()));

fuzz_target!(|bytes: &[u8]| {
    let path = "/v1/components/Fuzzed?dry-run=true";
    let status = WORLD.answer("PUT", path, "application/wasm", bytes);
    assert!(
        !status.is_server_error(),
        "an upload is answered with {status}"
    );
    let registry = WORLD.host().registry();
    assert!(registry.list(&TenantId::default_tenant()).is_empty());
});
