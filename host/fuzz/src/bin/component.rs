//! Any bytes are read to an end; what is read can be packed again and reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xcomponent_pack::{pack, read};

fuzz_target!(|bytes: &[u8]| {
    let Ok(packed) = read(bytes) else { return };
    let Ok(again) = pack(bytes, &packed.definition, &packed.metadata, &packed.methods) else {
        return;
    };
    let reread = read(&again).expect("what was packed can be read");
    assert_eq!(reread.definition, packed.definition);
    assert_eq!(reread.methods, packed.methods);
    assert_eq!(reread.imports, packed.imports);
});
