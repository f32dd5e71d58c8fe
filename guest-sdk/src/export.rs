//! What the code that [`component`](crate::component) generates leans on. Not for people.

use crate::{Action, Failure, Guard, RawCall};

/// A component's methods, as the macro collects them.
pub trait Component {
    /// Names of the guards.
    const GUARDS: &'static [&'static str];
    /// Names of the actions.
    const ACTIONS: &'static [&'static str];

    /// Asks a guard.
    ///
    /// # Errors
    ///
    /// If it fails, or there is none of that name.
    fn guard(call: &RawCall) -> Result<bool, Failure>;

    /// Runs an action.
    ///
    /// # Errors
    ///
    /// If it fails, or there is none of that name.
    fn action(call: &RawCall) -> Result<Option<String>, Failure>;
}

/// Asks a function that is a guard.
///
/// # Errors
///
/// If it fails.
pub fn ask<Shape>(guard: impl Guard<Shape>, call: &RawCall) -> Result<bool, Failure> {
    guard.ask(call)
}

/// Runs a function that is an action.
///
/// # Errors
///
/// If it fails.
pub fn run<Shape>(action: impl Action<Shape>, call: &RawCall) -> Result<Option<String>, Failure> {
    action.run(call)
}

/// There is no method of that name.
pub fn unknown(call: &RawCall) -> Failure {
    Failure::Failed(format!("the component has no method `{}`", call.method))
}

#[cfg(target_arch = "wasm32")]
pub use self::wasm::Exported;

#[cfg(target_arch = "wasm32")]
mod wasm {
    use std::{marker::PhantomData, sync::Once};

    use super::Component;
    use crate::{
        Event, Failure, Instance, RawCall,
        host::{bindings::exports::xcomponent::component::methods, log},
        log::Level,
    };

    /// Answers the host for a component.
    #[derive(Debug)]
    pub struct Exported<T>(PhantomData<T>);

    impl<T: Component> methods::Guest for Exported<T> {
        fn list() -> Vec<methods::Method> {
            let method = |kind: methods::MethodKind| {
                move |name: &&str| methods::Method {
                    name: (*name).to_owned(),
                    kind,
                }
            };
            let guards = T::GUARDS.iter().map(method(methods::MethodKind::Guard));
            guards
                .chain(T::ACTIONS.iter().map(method(methods::MethodKind::Action)))
                .collect()
        }

        fn guard(call: methods::Call) -> Result<bool, methods::Failure> {
            T::guard(&prepare(call)).map_err(failure)
        }

        fn action(call: methods::Call) -> Result<Option<String>, methods::Failure> {
            T::action(&prepare(call)).map_err(failure)
        }
    }

    static HOOK: Once = Once::new();

    /// Takes a call over; the text of a panic goes to the host's log before the trap.
    fn prepare(call: methods::Call) -> RawCall {
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| {
                let text = panic.payload_as_str().unwrap_or("a panic without a text");
                let place = panic
                    .location()
                    .map(|place| format!("{}:{}", place.file(), place.line()))
                    .unwrap_or_default();
                log(Level::Error, &format!("panic: {place}: {text}"));
            }));
        });
        let methods::Call {
            method,
            instance,
            event,
            target_state,
        } = call;
        let timestamp_ms = event.timestamp_ms;
        RawCall {
            method,
            context: instance.context,
            event: Event {
                id: event.id,
                name: event.name,
                payload: event.payload,
                timestamp_ms,
            },
            instance: Instance {
                id: instance.id,
                machine: instance.machine,
                state: instance.state,
                created_ms: instance.created_ms,
            },
            target_state,
        }
    }

    fn failure(failure: Failure) -> methods::Failure {
        match failure {
            Failure::Refused { code, message } => methods::Failure::Refused(
                crate::host::bindings::xcomponent::component::types::Refusal { code, message },
            ),
            Failure::Failed(message) => methods::Failure::Failed(message),
        }
    }
}
