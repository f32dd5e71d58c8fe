//! Passwords in addresses are shown nowhere.

use std::time::Duration;

use crate::harness::{Serving, command, xcomponent};

/// What nobody may see.
const SECRET: &str = "hunter2";

/// Every option of `serve` that takes an address.
const OPTIONS: [&str; 8] = [
    "--store",
    "--store-replica",
    "--peer",
    "--broker",
    "--registry",
    "--advertise",
    "--cache",
    "--otlp-endpoint",
];

#[test]
fn no_error_shows_a_password() {
    for option in OPTIONS {
        for address in [
            "me:hunter2@127.0.0.1:1",
            "what://me:hunter2@127.0.0.1:1",
            "http://me:hunter2@127.0.0.1:port",
            "postgres://me:hunter2@127.0.0.1:port/x",
            "postgres://me:x?hunter2@127.0.0.1:1/x",
            "redis://me:hunter2@127.0.0.1:port",
            "nats://me:hunter2@127.0.0.1:port",
            "nats://me:x?hunter2@127.0.0.1:1",
            "amqp://me:hunter2@127.0.0.1:port",
            "amqp://me:x?queue_type=hunter2@127.0.0.1:1",
            "kafka://me:hunter2@127.0.0.1:port",
            "kafka://me:x?hunter2@127.0.0.1:1",
            "Payment=ftp://me:hunter2@127.0.0.1:1",
            "hunter2",
        ] {
            // Something else is wrong as well, so that no host starts.
            let mut args = vec!["serve", "--port", "0", option, address];
            if option != "--store" {
                args.extend(["--store", "sqlite:/dev/null/host.db"]);
            }
            if option == "--advertise" {
                args.extend(["--registry", "redis://127.0.0.1:1"]);
            }
            let refused = xcomponent(&args);
            assert_ne!(refused.code, 0, "{args:?}");
            let said = format!("{}{}", refused.stdout, refused.stderr);
            assert!(!said.contains(SECRET), "{args:?}: {said}");
        }
    }
    let refused = xcomponent(["health", "--url", "http://me:hunter2@127.0.0.1:1"]);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn help_shows_no_password_of_the_environment() {
    let mut help = command();
    help.args(["serve", "--help"]);
    for name in [
        "XCOMPONENT_STORE",
        "XCOMPONENT_STORE_REPLICA",
        "XCOMPONENT_BROKER",
        "XCOMPONENT_REGISTRY",
        "XCOMPONENT_CACHE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        help.env(name, "redis://me:hunter2@127.0.0.1:1");
    }
    let shown = help.output().unwrap();
    assert!(shown.status.success());
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(SECRET));
    let mut help = command();
    help.args(["send", "--help"]);
    help.env("XCOMPONENT_URL", "http://me:hunter2@127.0.0.1:1");
    let shown = help.output().unwrap();
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(SECRET));
}

#[test]
fn a_host_that_cannot_reach_others_shows_no_password_of_theirs() {
    let serving = Serving::start([
        "--peer",
        "Payment=http://me:hunter2@127.0.0.1:1",
        "--broker",
        "redis+streams://me:hunter2@127.0.0.1:1",
        "--cache",
        "redis://me:hunter2@127.0.0.1:1",
        "--otlp-endpoint",
        "http://me:hunter2@127.0.0.1:1",
        "--otlp-sample",
        "1",
        "shop.yaml",
    ]);
    let order = serde_json::json!({"id": "o", "context": {"orderId": "O-1"}});
    serving.create("Shop", "Order", &order);
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)));
    let agent = config.build().new_agent();
    for path in [
        "metrics",
        "readyz",
        "healthz",
        "v1/components",
        "v1/components/Payment",
        "v1/components/Payment/machines/Order/instances",
        "v1/openapi.json",
        "api/runtimes",
    ] {
        let answer = agent.get(format!("{}/{path}", serving.url())).call();
        let said = answer.unwrap().body_mut().read_to_string().unwrap();
        assert!(!said.contains(SECRET), "{path}: {said}");
    }
    let (_, said) = serving.end();
    assert!(!said.contains(SECRET), "{said}");
}
