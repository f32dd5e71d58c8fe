//! A runtime in Node, with an ordinary Redis client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use xcomponent_servers::Redis;

use crate::{
    fleet::{Listening, SHOP, reserve},
    host::config,
};

/// What the runtime needs, installed once.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-runtime");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts/node");
    fs::create_dir_all(&folder).expect("the folder can be made");
    for file in ["package.json", "package-lock.json", "runtime.js"] {
        fs::copy(sources.join(file), folder.join(file)).expect("it can be copied");
    }
    if !folder.join("node_modules/redis").exists() {
        let mut install = Command::new("npm");
        install
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder);
        succeeded(&install.output().expect("npm is installed"));
    }
    folder
}

fn succeeded(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_runtime_takes_part_in_an_order_and_its_payment() {
    let folder = installed();
    let redis = Redis::start().expect("the server starts");
    let mut shop = config();
    shop.links.broker = Some(redis.url().into());
    shop.links.external_api = true;
    shop.links.publish_events = true;
    shop.public_address = Some(("127.0.0.1".to_owned(), 3_000));
    let shop = Listening::start(shop, reserve().await, SHOP).await;
    let mut node = Command::new("node");
    node.arg("runtime.js")
        .arg(redis.url())
        .current_dir(folder)
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || node.output()).await;
    let told = succeeded(&ran.expect("nothing panics").expect("node is installed"));
    assert!(told.ends_with("the order is paid\n"), "{told}");
    let listed = shop
        .host
        .get("/v1/instances?component=Shop&state=Paid")
        .await;
    assert_eq!(listed.json()["items"].as_array().map(Vec::len), Some(1));
}
