//! Everything a guest can do wrong, one method each. The host must survive all of it.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A context that takes anything and answers something special.
#[derive(Debug)]
pub enum Context {
    /// As it came: how often it was pinged.
    Pinged(u64),
    /// So many bytes of text.
    Text(usize),
    /// Text that is not JSON.
    Malformed,
}

impl<'de> serde::Deserialize<'de> for Context {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self::Pinged(value["pings"].as_u64().unwrap_or_default()))
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Pinged(pings) => serde_json::json!({ "pings": pings }).serialize(serializer),
            Self::Text(bytes) => serializer.serialize_str(&"x".repeat(*bytes)),
            Self::Malformed => {
                // The shape in which `serde_json` passes text through as it stands.
                const RAW: &str = "$serde_json::private::RawValue";
                let mut raw = serializer.serialize_struct(RAW, 1)?;
                raw.serialize_field(RAW, r#"{"pings": 1,, "#)?;
                raw.end()
            }
        }
    }
}

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use std::hint::black_box;

    use xcomponent_guest::{Call, info, sender};

    use super::Context;

    /// The good one.
    #[action]
    fn ping(context: &mut Context) {
        if let Context::Pinged(pings) = context {
            *pings += 1;
        }
    }

    /// Panics, with a text.
    #[action]
    fn panic() {
        panic!("this component panics on purpose");
    }

    /// Never answers.
    #[action]
    fn loop_forever() {
        let mut turns = 0_u64;
        loop {
            turns = black_box(turns.wrapping_add(1));
        }
    }

    /// Takes a MiB after the other.
    #[action]
    fn eat_memory() {
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        loop {
            eaten.push(black_box(vec![1; 1 << 20]));
        }
    }

    /// Calls itself until the stack ends.
    #[action]
    fn recurse() {
        #[expect(unconditional_recursion, reason = "that is what it is for")]
        fn deeper(depth: u64) -> u64 {
            let frame = black_box([depth; 64]);
            frame[0] + black_box(deeper(black_box(depth + 1)))
        }
        black_box(deeper(0));
    }

    /// Answers 100 MB, for which there is not even memory.
    #[action]
    fn answer_huge(context: &mut Context) {
        *context = Context::Text(100_000_000);
    }

    /// Answers 10 MB: there is memory for it, but no context is so large.
    #[action]
    fn answer_large(context: &mut Context) {
        *context = Context::Text(10_000_000);
    }

    /// Sends a million events.
    #[action]
    fn send_forever() {
        for _ in 0..1_000_000 {
            sender::to_self("PING", &serde_json::json!({}));
        }
    }

    /// Answers something that is not JSON.
    #[action]
    fn answer_malformed(context: &mut Context) {
        *context = Context::Malformed;
    }

    /// Writes a million lines.
    #[action]
    fn flood_log() {
        for line in 0..1_000_000_u32 {
            info!("line {line} of a flood");
        }
    }

    /// Sends, which only actions may.
    #[guard]
    fn send_in_guard(_: &Call) -> bool {
        sender::to_self("PING", &serde_json::json!({}));
        true
    }

    #[cfg(test)]
    mod tests {
        use xcomponent_guest::testing;

        use super::*;

        #[test]
        fn a_ping_is_counted() {
            let run = testing::action(ping, r#"{"pings":1}"#, "{}");
            assert_eq!(run.result.unwrap().as_deref(), Some(r#"{"pings":2}"#));
        }

        #[test]
        fn a_malformed_answer_is_not_json() {
            let run = testing::action(answer_malformed, "{}", "{}");
            let answer = run.result.unwrap().unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&answer).is_err());
        }
    }
}
