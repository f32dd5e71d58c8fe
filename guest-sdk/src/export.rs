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
    fn guard(call: RawCall) -> Result<bool, Failure>;

    /// Runs an action.
    ///
    /// # Errors
    ///
    /// If it fails, or there is none of that name.
    fn action(call: RawCall) -> Result<Option<String>, Failure>;
}

/// Asks a function that is a guard.
///
/// # Errors
///
/// If it fails.
pub fn ask<Shape>(guard: impl Guard<Shape>, call: RawCall) -> Result<bool, Failure> {
    guard.ask(call)
}

/// Runs a function that is an action.
///
/// # Errors
///
/// If it fails.
pub fn run<Shape>(action: impl Action<Shape>, call: RawCall) -> Result<Option<String>, Failure> {
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
        host::{
            bindings::{exports::xcomponent::component::methods, xcomponent::component::types},
            log,
        },
        log::Level,
    };

    /// Answers the host for a component.
    #[derive(Debug)]
    pub struct Exported<T>(PhantomData<T>);

    impl<T: Component> methods::Guest for Exported<T> {
        fn list() -> Vec<types::Method> {
            let method = |kind: types::MethodKind| {
                move |name: &&str| types::Method {
                    name: (*name).to_owned(),
                    kind,
                }
            };
            let guards = T::GUARDS.iter().map(method(types::MethodKind::Guard));
            guards
                .chain(T::ACTIONS.iter().map(method(types::MethodKind::Action)))
                .collect()
        }

        fn guard(call: types::Call) -> Result<bool, types::Failure> {
            T::guard(prepare(call)).map_err(failure)
        }

        fn action(call: types::Call) -> Result<Option<String>, types::Failure> {
            T::action(prepare(call)).map_err(failure)
        }
    }

    static HOOK: Once = Once::new();

    /// Takes a call over; the text of a panic goes to the host's log before the trap.
    fn prepare(call: types::Call) -> RawCall {
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
        let types::Call {
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

    fn failure(failure: Failure) -> types::Failure {
        match failure {
            Failure::Refused { code, message } => {
                types::Failure::Refused(types::Refusal { code, message })
            }
            Failure::Failed(message) => types::Failure::Failed(message),
        }
    }
}
