//! Methods in ordinary unit tests, without wasm: build a call, run the method, look at what it
//! sent and wrote. Not there when compiled for wasm.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use xcomponent_guest::{Event, info, sender, testing};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Order { executed: f64 }
//!
//! #[derive(Deserialize)]
//! struct Execution { quantity: f64 }
//!
//! fn execute(order: &mut Order, event: &Event<Execution>) {
//!     order.executed += event.payload.quantity;
//!     sender::to_self_after(500, "CHECK", &order.executed);
//!     info!("now {}", order.executed);
//! }
//!
//! let run = testing::action(execute, r#"{"executed": 1}"#, r#"{"quantity": 2}"#);
//! assert_eq!(run.context::<Order>().executed, 3.0);
//! assert_eq!(run.sends[0].event, "CHECK");
//! assert_eq!(run.logs, ["now 3"]);
//! ```
//!
//! A method that looks at more than context and payload is given a whole call:
//!
//! ```
//! use xcomponent_guest::{Call, current, testing};
//!
//! fn is_late(call: &Call) -> bool {
//!     current::attempt() > 1 || call.event.timestamp_ms > call.instance.created_ms + 60_000
//! }
//!
//! let mut call = testing::call("{}", "{}");
//! assert!(!testing::ask(is_late, &call).result.unwrap());
//! call.event.timestamp_ms = 60_001;
//! assert!(testing::ask(is_late, &call).result.unwrap());
//!
//! testing::set_current(testing::Current { attempt: 2, ..Default::default() });
//! assert!(testing::guard(is_late, "{}", "{}").result.unwrap());
//! ```

use serde::de::DeserializeOwned;

use crate::{Action, Event, Failure, Guard, Instance, RawCall};

pub use self::recorder::{Current, set_current};

/// What a method came to.
#[derive(Clone, Debug)]
pub struct Run<T> {
    /// The answer.
    pub result: Result<T, Failure>,
    /// What it sent, in order.
    pub sends: Vec<Sent>,
    /// What it wrote, in order.
    pub logs: Vec<String>,
}

impl Run<Option<String>> {
    /// The new context.
    ///
    /// # Panics
    ///
    /// If the action failed or left the context unchanged, or if the context is something else.
    pub fn context<C: DeserializeOwned>(&self) -> C {
        let answer = self.result.as_ref().expect("the action succeeds");
        let context = answer.as_ref().expect("the action changes the context");
        serde_json::from_str(context).expect("the context is of that type")
    }
}

impl<T: std::fmt::Debug> Run<T> {
    /// The code of the refusal.
    ///
    /// # Panics
    ///
    /// If the method did not refuse.
    pub fn refusal(&self) -> &str {
        match &self.result {
            Err(Failure::Refused { code, .. }) => code,
            other => panic!("the method did not refuse: {other:?}"),
        }
    }
}

/// Something that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// `self`, an instance's id, `machine X`, `create X` or `cancel <id>`; another component's
    /// name comes first.
    pub to: String,
    /// The event's name; empty for a creation or cancellation.
    pub event: String,
    /// JSON text.
    pub payload: String,
    /// How much later it leaves.
    pub delay_ms: Option<u64>,
}

/// A call to try methods with.
pub fn call(context: &str, payload: &str) -> RawCall {
    let text = str::to_owned;
    RawCall {
        method: text("method"),
        context: text(context),
        event: Event {
            id: text("event-1"),
            name: text("EVENT"),
            payload: text(payload),
            timestamp_ms: 0,
        },
        instance: Instance {
            id: text("instance-1"),
            machine: text("Machine"),
            state: text("Before"),
            created_ms: 0,
        },
        target_state: text("After"),
    }
}

/// Asks a guard. One that sends panics here, as it faults on a host.
pub fn guard<Shape>(guard: impl Guard<Shape>, context: &str, payload: &str) -> Run<bool> {
    ask(guard, &call(context, payload))
}

/// Asks a guard about a call.
pub fn ask<Shape>(guard: impl Guard<Shape>, call: &RawCall) -> Run<bool> {
    let run = recorder::record(|| guard.ask(call.clone()));
    assert!(
        run.sends.is_empty(),
        "a guard must not send, this one sent {:?}",
        run.sends
    );
    run
}

/// Runs an action; its result is the new context as JSON text, or none = unchanged.
pub fn action<Shape>(
    action: impl Action<Shape>,
    context: &str,
    payload: &str,
) -> Run<Option<String>> {
    run(action, &call(context, payload))
}

/// Runs an action on a call.
pub fn run<Shape>(action: impl Action<Shape>, call: &RawCall) -> Run<Option<String>> {
    recorder::record(|| action.run(call.clone()))
}

/// The host's place in tests: keeps what methods send and write, per thread.
pub(crate) mod recorder {
    use std::cell::RefCell;

    use super::{Run, Sent};
    use crate::{Failure, log::Level};

    /// What [`current`](crate::current) answers in tests.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Current {
        /// Which attempt this is.
        pub attempt: u32,
        /// Id of the event that caused this one.
        pub cause: Option<String>,
        /// The caller's `traceparent`.
        pub trace_parent: Option<String>,
        /// The tenant.
        pub tenant: String,
        /// The component's name.
        pub component: String,
        /// The component's version.
        pub version: String,
    }

    impl Default for Current {
        fn default() -> Self {
            Self {
                attempt: 1,
                cause: None,
                trace_parent: None,
                tenant: "default".to_owned(),
                component: "Component".to_owned(),
                version: "0.0.0".to_owned(),
            }
        }
    }

    /// From now on methods that run on this thread see this.
    pub fn set_current(current: Current) {
        CURRENT.set(Some(current));
    }

    fn current() -> Current {
        CURRENT.with_borrow(|current| current.clone().unwrap_or_default())
    }

    thread_local! {
        static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
        static SENT: RefCell<Vec<Sent>> = const { RefCell::new(Vec::new()) };
        static LOGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn record<T>(method: impl FnOnce() -> Result<T, Failure>) -> Run<T> {
        SENT.take();
        LOGS.take();
        let result = method();
        Run {
            result,
            sends: SENT.take(),
            logs: LOGS.take(),
        }
    }

    fn sent(to: String, event: &str, payload: &str, delay_ms: Option<u64>) -> String {
        SENT.with_borrow_mut(|sends| {
            sends.push(Sent {
                to,
                event: event.to_owned(),
                payload: payload.to_owned(),
                delay_ms,
            });
            format!("event-1.{}", sends.len())
        })
    }

    fn within(component: Option<&str>, target: &str) -> String {
        component.map_or_else(
            || target.to_owned(),
            |component| format!("{component} {target}"),
        )
    }

    pub(crate) fn send_to_self(event: &str, payload: &str, delay_ms: Option<u64>) -> String {
        sent("self".to_owned(), event, payload, delay_ms)
    }

    pub(crate) fn send(
        instance: &str,
        event: &str,
        payload: &str,
        delay_ms: Option<u64>,
    ) -> String {
        sent(instance.to_owned(), event, payload, delay_ms)
    }

    pub(crate) fn send_to_component(
        component: &str,
        instance: &str,
        event: &str,
        payload: &str,
        delay_ms: Option<u64>,
    ) -> String {
        sent(within(Some(component), instance), event, payload, delay_ms)
    }

    pub(crate) fn broadcast(
        component: Option<&str>,
        machine: &str,
        state: Option<&str>,
        event: &str,
        payload: &str,
        delay_ms: Option<u64>,
    ) -> String {
        let state = state
            .map(|state| format!(" in {state}"))
            .unwrap_or_default();
        sent(
            within(component, &format!("machine {machine}{state}")),
            event,
            payload,
            delay_ms,
        )
    }

    pub(crate) fn create_instance(component: Option<&str>, machine: &str, context: &str) -> String {
        sent(
            within(component, &format!("create {machine}")),
            "",
            context,
            None,
        )
    }

    pub(crate) fn cancel(id: &str) {
        sent(format!("cancel {id}"), "", "null", None);
    }

    pub(crate) fn log(_: Level, message: &str) {
        LOGS.with_borrow_mut(|logs| logs.push(message.to_owned()));
    }

    pub(crate) fn attempt() -> u32 {
        current().attempt
    }

    pub(crate) fn cause() -> Option<String> {
        current().cause
    }

    pub(crate) fn trace_parent() -> Option<String> {
        current().trace_parent
    }

    pub(crate) fn tenant() -> String {
        current().tenant
    }

    pub(crate) fn component() -> String {
        current().component
    }

    pub(crate) fn version() -> String {
        current().version
    }
}
