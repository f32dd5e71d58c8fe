//! Any text is a shipment or is refused; what is read is written the same way again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xcomponent_host::bus::Shipment;

fuzz_target!(|text: &str| {
    let Ok(shipment) = Shipment::of_json(text) else {
        return;
    };
    let written = shipment.to_json();
    let again = Shipment::of_json(&written).expect("what a host writes, a host reads");
    assert_eq!(again.to_json(), written);
    assert!(shipment.last() > 0 || text.contains("\"number\""));
});
