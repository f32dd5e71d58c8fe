//! Asks a host over its HTTP API.

use std::{fs, io::Read, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};
use ureq::{Agent, Body, http::Response};

use super::{Failure, Result, printer::Printer};
use crate::address::Address;

/// How long an answer may take: an upload is compiled first.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a host may take to say how it is.
const PROBE_PATIENCE: Duration = Duration::from_secs(4);

/// Longest answer that is read, in bytes: a page of a thousand instances with large contexts.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Which host.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The host's address.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:3000"
    )]
    url: Address,
}

/// What a host answered when it did not do what it was asked.
#[derive(Debug)]
pub(super) struct Problem {
    /// The whole of it, as RFC 9457 has it.
    pub(super) value: Value,
    /// After how many seconds it may be tried again, if the host says so.
    retry_after_s: Option<u64>,
}

/// A request that is put together.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// With a parameter, if there is a value for it.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }
}

impl Remote {
    /// GET.
    pub(super) fn get(&self, path: &str, query: &Query, printer: &Printer) -> Result<Value> {
        let request = agent().get(self.at(path)).query_pairs(pairs(query));
        self.read(waiting(printer, || request.call()))
    }

    /// POST of JSON.
    pub(super) fn post(
        &self,
        path: &str,
        query: &Query,
        body: &Value,
        printer: &Printer,
    ) -> Result<Value> {
        let request = agent().post(self.at(path)).query_pairs(pairs(query));
        self.read(waiting(printer, || request.send_json(body)))
    }

    /// PUT of bytes.
    pub(super) fn put(
        &self,
        path: &str,
        query: &Query,
        media_type: &str,
        body: &[u8],
        printer: &Printer,
    ) -> Result<Value> {
        let request = agent().put(self.at(path)).query_pairs(pairs(query));
        let request = request.header("content-type", media_type);
        self.read(waiting(printer, || request.send(body)))
    }

    /// DELETE.
    pub(super) fn delete(&self, path: &str, query: &Query, printer: &Printer) -> Result<Value> {
        let request = agent().delete(self.at(path)).query_pairs(pairs(query));
        self.read(waiting(printer, || request.call()))
    }

    /// GET of Server-Sent Events, from a position on; they come until the host ends the stream.
    pub(super) fn stream(
        &self,
        path: &str,
        query: &Query,
        after: Option<&str>,
    ) -> Result<impl Read + use<>> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PROBE_PATIENCE));
        let mut request = config.build().new_agent().get(self.at(path));
        request = request
            .query_pairs(pairs(query))
            .header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let answer = request.call();
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(answer.into_body().into_reader()),
            answer => Err(match self.read(answer) {
                Err(failure) => failure,
                Ok(_) => Failure::Failed(anyhow!("{} gave no stream", self.url)),
            }),
        }
    }

    /// How the host says it is, and whether that is well.
    pub(super) fn probe(&self, path: &str) -> Result<(bool, Value)> {
        let url = format!("{}/{path}", self.url.exposed().trim_end_matches('/'));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PROBE_PATIENCE));
        let answer = config.build().new_agent().get(url).call();
        let mut answer = answer.with_context(|| format!("asking {}", self.url))?;
        let health = answer.body_mut().read_json();
        let health = health.with_context(|| format!("reading the answer of {}", self.url))?;
        Ok((answer.status().is_success(), health))
    }

    fn at(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.url.exposed().trim_end_matches('/'))
    }

    /// The answer's JSON, or the problem that it tells.
    fn read(&self, answer: std::result::Result<Response<Body>, ureq::Error>) -> Result<Value> {
        let mut answer = answer.with_context(|| {
            format!(
                "asking {}; is a host there? (`--url`, XCOMPONENT_URL)",
                self.url
            )
        })?;
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after");
        let retry_after_s = retry_after.and_then(|after| after.to_str().ok()?.parse().ok());
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = body.read_to_string();
        let text = text.with_context(|| format!("reading the answer of {}", self.url))?;
        let value = match text.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_str(&text),
        };
        if status.is_success() {
            let value = value.with_context(|| format!("{} answered no JSON", self.url))?;
            return Ok(value);
        }
        match value {
            Ok(value) if value["detail"].is_string() => Err(Failure::Refused(Box::new(Problem {
                value,
                retry_after_s,
            }))),
            _ => Err(Failure::Failed(anyhow!(
                "{} answered {status}; is it a host of xcomponent?",
                self.url
            ))),
        }
    }
}

impl Problem {
    /// A problem that this program found itself.
    pub(super) fn of(value: Value) -> Self {
        Self {
            value,
            retry_after_s: None,
        }
    }

    /// What is wrong, in words, and each single mistake.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let Value::Object(_) = &self.value else {
            return Vec::new();
        };
        let (detail, code) = (text(&self.value, "detail"), text(&self.value, "code"));
        let mut lines = vec![format!("{detail} ({code})")];
        for mistake in self.value["errors"].as_array().into_iter().flatten() {
            let place = match (mistake["line"].as_u64(), mistake["column"].as_u64()) {
                (Some(line), Some(column)) => format!("{line}:{column}"),
                _ => text(mistake, "path"),
            };
            let (code, message) = (text(mistake, "code"), text(mistake, "message"));
            lines.push(format!("  {place}: {message} ({code})"));
        }
        if let Some(seconds) = self.retry_after_s {
            lines.push(format!("  try again in {seconds} s"));
        }
        for (name, what) in [("dead_letter_id", "dead letter"), ("request_id", "request")] {
            let id = text(&self.value, name);
            let is_internal = self.value["status"].as_u64() >= Some(500);
            if !id.is_empty() && (name != "request_id" || is_internal) {
                lines.push(format!("  {what} {id}"));
            }
        }
        lines
    }
}

/// JSON as a person gives it: the text itself, or `@FILE`.
pub(super) fn json_argument(text: &str) -> Result<Value, String> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            read = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            &*read
        }
        None => text,
    };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("expected JSON, or `@FILE` with JSON in it: {error}"))?;
    match value {
        Value::Object(_) => Ok(value),
        other => Err(format!("expected a JSON object, not `{other}`")),
    }
}

/// What is sent where nothing was given.
pub(super) fn or_empty(payload: Option<Value>) -> Value {
    payload.unwrap_or_else(|| json!({}))
}

/// A text for one segment of a path.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A text of an answer; empty where there is none.
pub(super) fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The items of a page.
pub(super) fn items(page: &Value) -> &[Value] {
    page["items"].as_array().map_or(&[], Vec::as_slice)
}

fn pairs(query: &Query) -> Vec<(&str, &str)> {
    let pairs = query.0.iter();
    pairs.map(|(name, value)| (*name, value.as_str())).collect()
}

fn waiting<T>(printer: &Printer, ask: impl FnOnce() -> T) -> T {
    let _progress = printer.progress("waiting for the host");
    ask()
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_no_other_characters_than_a_path_may() {
        assert_eq!(segment("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }

    #[test]
    fn a_payload_is_an_object() {
        assert_eq!(json_argument(r#"{"a": 1}"#), Ok(json!({"a": 1})));
        assert!(json_argument("1").is_err());
        assert!(json_argument("@/nowhere").is_err());
    }
}
