//! Tests that look at memory, in a process whose allocator keeps none for later.

#![allow(clippy::expect_used, reason = "helpers of tests are tests")]

use std::process::Command;

/// The allocator's own setting: with 0 it keeps no memory for later, so that what is resident is what
/// is used. It is read when a process begins.
const GIVES_BACK: &str = "MIMALLOC_PURGE_DELAY";

/// Whether this process gives back what it does not use. If not, this runs the test of that name in
/// one that does.
pub(crate) fn gives_back(test: &str) -> bool {
    if std::env::var_os(GIVES_BACK).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program has a file");
    let ran = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(GIVES_BACK, "0")
        .output()
        .expect("it can be started");
    let told = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}{complained}");
    assert!(told.contains("1 passed"), "it is called otherwise: {told}");
    false
}
