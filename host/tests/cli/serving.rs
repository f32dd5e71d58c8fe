//! `serve`.

use std::{fs, net::TcpListener};

use serde_json::json;

use crate::harness::{Serving, command, finished, guest, scratch, xcomponent};

#[test]
fn a_host_serves_what_is_named_until_it_is_told_to_end() {
    let order = guest("order");
    let serving = Serving::start([order.as_os_str(), "shop.yaml".as_ref()]);
    let components = &serving.ready["components"];
    assert_eq!(components[0]["component"], "OrderComponent");
    assert_eq!(components[1]["component"], "Shop");
    assert_eq!(
        components[1]["missing_methods"],
        json!(["guard isRich", "action collect"])
    );
    let instance = serving.create("Shop", "Order", &json!({"context": {"orderId": "O-1"}}));
    assert_eq!(instance["state"], "Created");
    let (status, said) = serving.end();
    assert!(status.success(), "{status}");
    assert!(
        said.contains("shop.yaml: no code answers the guard `isRich`; it does nothing"),
        "{said}"
    );
    assert!(said.contains("finishing requests in flight"), "{said}");
}

#[test]
fn methods_without_code_do_nothing() {
    let serving = Serving::start(["shop.yaml"]);
    serving.create(
        "Shop",
        "Order",
        &json!({"id": "o", "context": {"orderId": "O-1"}}),
    );
    let sent = serving.ask(["send", "o", "PAY"]).done();
    assert_eq!(sent.stdout, "transitioned  Created → Paid\n");
}

#[test]
fn an_address_that_others_reach_needs_a_word() {
    let refused = xcomponent(["serve", "--host", "0.0.0.0", "--port", "0"]);
    assert_eq!(refused.code, 2);
    refused.expect("not-loopback.txt");
    let serving = Serving::start(["--host", "0.0.0.0", "--insecure-no-auth"]);
    assert!(
        serving.url().starts_with("http://localhost:"),
        "{}",
        serving.url()
    );
}

#[test]
fn a_definition_with_errors_is_not_served() {
    let mut serve = command();
    // The log has times and ports in it.
    let serve = serve
        .env("RUST_LOG", "warn")
        .args(["serve", "--store", "memory"]);
    let refused = finished(serve.args(["--port", "0", "ambiguous.yaml"]));
    assert_eq!(refused.code, 1);
    refused.expect("serve-ambiguous.txt");
    let serving = Serving::start(["--lenient", "ambiguous.yaml"]);
    assert_eq!(serving.ready["components"][0]["component"], "Ambiguous");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = xcomponent(["serve", "--store", "memory", "--port", &port]);
    assert_eq!(refused.code, 1);
    let message = format!("listening on 127.0.0.1:{port}");
    assert!(refused.stderr.contains(&message), "{refused:?}");
}

#[test]
fn a_database_is_named_without_its_password() {
    let serve = |url: &str| xcomponent(["serve", "--port", "0", "--store", url]);
    let refused = serve("postgres://me:secret@127.0.0.1:1/orders");
    assert_ne!(refused.code, 0);
    let shown = &refused.stderr;
    let reason = "`postgres://127.0.0.1:1/orders?schema=xcomponent` cannot be reached";
    assert!(
        shown.contains(reason) && !shown.contains("secret"),
        "{shown}"
    );
    for url in [
        "postgres://me:secret@localhost:port/orders",
        "postgres://me:secret@localhost/orders?sslmode=verify",
        "mysql://me:secret@localhost/orders",
    ] {
        let refused = serve(url);
        assert_eq!(refused.code, 2);
        assert!(!refused.stderr.contains("secret"), "{}", refused.stderr);
    }
}

#[test]
fn a_cache_is_at_an_address_of_redis() {
    for address in ["redis://me:secret@localhost:port", "some/folder"] {
        let refused = xcomponent(["serve", "--port", "0", "--cache", address]);
        assert_eq!(refused.code, 2);
        let shown = &refused.stderr;
        assert!(
            shown.contains("expected `redis://HOST:PORT`") && !shown.contains("secret"),
            "{shown}"
        );
    }
}

#[test]
fn what_one_host_kept_the_next_one_has() {
    let data = scratch("kept");
    let serving = Serving::start_in(&data, ["shop.yaml"]);
    let order = json!({"id": "o", "context": {"orderId": "O-1"}});
    serving.create("Shop", "Order", &order);
    assert!(serving.end().0.success());
    assert!(data.join("seal.key").exists());
    let serving = Serving::start_in(&data, [] as [&str; 0]);
    let sent = serving.ask(["send", "o", "PAY"]).done();
    assert_eq!(sent.stdout, "transitioned  Created → Paid\n");
}

#[test]
fn a_damaged_key_is_named() {
    let data = scratch("damaged-key");
    fs::write(data.join("seal.key"), "short").unwrap();
    let refused = command()
        .args(["serve", "--port", "0", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("seal.key` is damaged: it has 5 bytes, expected 32"),
        "{said}"
    );
}

#[test]
fn a_definition_that_was_changed_wants_another_version() {
    let folder = scratch("changed");
    let (data, path) = (folder.join("data"), folder.join("shop.yaml"));
    let yaml = fs::read_to_string("tests/cli/files/shop.yaml").unwrap();
    fs::write(&path, &yaml).unwrap();
    assert!(Serving::start_in(&data, [&path]).end().0.success());
    assert!(Serving::start_in(&data, [&path]).end().0.success());

    let changed = yaml.replace("default: 10", "default: 20");
    fs::write(&path, &changed).unwrap();
    let refused = command()
        .args(["serve", "--port", "0", "--data"])
        .args([&data, &path])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    let path_text = path.display();
    let why = format!(
        "error: {path_text} is not accepted: \
         the host has version `1.0.0` of `Shop` with other content (there "
    );
    assert!(said.contains(&why), "{said}");
    let what_to_do = format!("); raise `version:` in {path_text}\n");
    assert!(said.ends_with(&what_to_do), "{said}");

    fs::write(&path, changed.replace("1.0.0", "1.0.1")).unwrap();
    let serving = Serving::start_in(&data, [&path]);
    assert_eq!(serving.ready["components"][0]["version"], "1.0.1");
}

/// The active version of a component.
fn active(serving: &Serving, component: &str) -> String {
    let url = format!("{}/v1/components/{component}", serving.url());
    let mut answer = ureq::get(url).call().unwrap();
    let component: serde_json::Value = answer.body_mut().read_json().unwrap();
    component["version"].as_str().unwrap().to_owned()
}

#[test]
fn a_restart_does_not_roll_back_what_was_deployed_since() {
    let folder = scratch("redeployed");
    let (data, old, new) = (
        folder.join("data"),
        folder.join("old.yaml"),
        folder.join("new.yaml"),
    );
    let yaml = fs::read_to_string("tests/cli/files/shop.yaml").unwrap();
    fs::write(&old, &yaml).unwrap();
    fs::write(&new, yaml.replace("1.0.0", "2.0.0")).unwrap();
    let serving = Serving::start_in(&data, [&old]);
    serving.ask(["deploy".as_ref(), new.as_os_str()]).done();
    assert!(serving.end().0.success());

    let serving = Serving::start_in(&data, [&old]);
    assert_eq!(serving.ready["components"][0]["active"], false);
    assert_eq!(active(&serving, "Shop"), "2.0.0");
    serving.end();

    let serving = Serving::start_in(&data, ["--activate".as_ref(), old.as_os_str()]);
    assert_eq!(serving.ready["components"][0]["active"], true);
    assert_eq!(active(&serving, "Shop"), "1.0.0");
}

#[test]
fn history_is_kept_at_least_as_long_as_repeated_ids_are_answered_from_it() {
    let serve = |retain: &str| {
        let store = ["--store", "memory", "--port", "0"];
        xcomponent([&["serve", "--retain", retain][..], &store].concat())
    };
    let refused = serve("1h");
    assert_eq!(refused.code, 2);
    let message = "keeps history for 3600s, but repeated ids are answered from it for 604800s";
    assert!(refused.stderr.contains(message), "{refused:?}");
    let refused = serve("90d,5y");
    assert_eq!(refused.code, 2);
    let message = "or a number of records, as in `90d,10000000`";
    assert!(refused.stderr.contains(message), "{refused:?}");
}
