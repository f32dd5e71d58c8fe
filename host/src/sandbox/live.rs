//! A guest in its store: started once, asked many times, within a budget each time.

use std::sync::Arc;

use wasmtime::Store;
use xcomponent_core::{
    call::{Answer, Call, Failure, Fault, FaultCode, Outcome, Refusal},
    definition::MethodKind,
    id::MethodName,
    json::{Json, JsonError},
};

use super::{
    bindings::{
        self, exports::xcomponent::component::methods::Failure as GuestFailure,
        xcomponent::component::types,
    },
    config::Config,
    fault,
    loaded::Loaded,
    log::cut,
    ration::Ration,
    state::State,
};

/// Longest code of a refusal, as the contract says.
const REFUSAL_CODE_BYTES_MAX: usize = 64;
/// Longest message of a refusal, as the contract says.
const REFUSAL_MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Longest text of an error a method reports.
const FAILED_BYTES_MAX: usize = 4 << 10;

/// A store and the guest that lives in it.
pub(super) struct Live {
    store: Store<State>,
    guest: bindings::Component,
}

/// Why a guest does not start.
pub(super) enum NoStart {
    /// The host has no memory for it; it needs so many bytes.
    Starved(usize),
    /// It is the guest's fault.
    Fault(Fault),
}

/// What a guest gave back, before it is checked.
enum Given {
    Guard(Result<bool, GuestFailure>),
    Action(Result<Option<String>, GuestFailure>),
}

impl Live {
    /// Starts a guest, which may use this memory and more where there is some.
    ///
    /// # Errors
    ///
    /// If its start traps or is over a limit, or if neither slot nor memory can be had.
    pub(super) async fn start(
        loaded: &Loaded,
        config: &Arc<Config>,
        ration: Ration,
    ) -> Result<Box<Self>, NoStart> {
        let state = State::new(config, loaded.with_wasi, ration);
        let mut store = Store::new(loaded.guest.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(config.transfer_bytes_max);
        let metered = store.fuel_async_yield_interval(Some(config.fuel_yield_interval));
        metered.expect("fuel is turned on and the interval is not zero");
        refuel(&mut store);
        match loaded.guest.instantiate_async(&mut store).await {
            Ok(guest) => Ok(Box::new(Self { store, guest })),
            Err(error) => Err(match store.data().memory.starved() {
                Some(bytes) => NoStart::Starved(bytes),
                None => NoStart::Fault(fault::of_error(&error, store.data())),
            }),
        }
    }

    /// Gives back memory that it does not need, and says how much it holds.
    pub(super) fn settle(&mut self) -> usize {
        let memory = &mut self.store.data_mut().memory;
        memory.settle();
        memory.used()
    }

    /// What the last call would have needed, if it was the host that had no memory for it.
    pub(super) fn starved(&self) -> Option<usize> {
        self.store.data().memory.starved()
    }

    /// Asks which methods the guest answers.
    ///
    /// # Errors
    ///
    /// If the guest traps or is over a limit.
    pub(super) async fn list(&mut self) -> Result<Vec<(MethodKind, MethodName)>, Fault> {
        refuel(&mut self.store);
        let listed = self
            .guest
            .xcomponent_component_methods()
            .call_list(&mut self.store)
            .await;
        let methods = listed.map_err(|error| fault::of_error(&error, self.store.data()))?;
        let kind = |kind| match kind {
            types::MethodKind::Guard => MethodKind::Guard,
            types::MethodKind::Action => MethodKind::Action,
        };
        let mut methods: Vec<_> = methods
            .into_iter()
            .map(|method| (kind(method.kind), MethodName::new(method.name)))
            .collect();
        methods.sort();
        Ok(methods)
    }

    /// Begins a transition.
    pub(super) fn renew(&mut self) {
        self.store.data_mut().renew();
    }

    /// Asks a method.
    pub(super) async fn answer(mut self: Box<Self>, call: Arc<Call>) -> (Box<Self>, Outcome) {
        let fuel_max = self.store.data().config.fuel_per_call_max;
        self.store.data_mut().begin(Arc::clone(&call));
        refuel(&mut self.store);
        let given = self.ask(&call).await;
        let left = self.store.get_fuel().expect("fuel is turned on");
        let state = self.store.data_mut();
        state.end();
        let sends = std::mem::take(&mut state.sends);
        let result = match given {
            Ok(given) => checked(given, sends, state.config.answer_bytes_max),
            Err(error) => Err(Failure::Fault(fault::of_error(&error, state))),
        };
        let fuel = fuel_max - left + state.work;
        let logs = state.log.take();
        (self, Outcome { result, logs, fuel })
    }

    async fn ask(&mut self, call: &Call) -> wasmtime::Result<Given> {
        let instance = call.instance.to_string();
        let event = call.event.id.to_string();
        let question = types::Call {
            method: call.method.as_str(),
            instance: types::Instance {
                id: &instance,
                machine: call.machine_name().as_str(),
                state: call.state_name().as_str(),
                context: call.context.as_str(),
                created_ms: call.created.0,
            },
            event: types::Event {
                id: &event,
                name: call.event.name.as_str(),
                payload: call.event.payload.as_str(),
                timestamp_ms: call.event.at.0,
            },
            target_state: call.target_name().as_str(),
        };
        let methods = self.guest.xcomponent_component_methods();
        match call.kind {
            MethodKind::Guard => methods
                .call_guard(&mut self.store, question)
                .await
                .map(Given::Guard),
            MethodKind::Action => methods
                .call_action(&mut self.store, question)
                .await
                .map(Given::Action),
        }
    }
}

fn refuel(store: &mut Store<State>) {
    let fuel = store.data().config.fuel_per_call_max;
    store.set_fuel(fuel).expect("fuel is turned on");
}

fn checked(
    given: Given,
    sends: Vec<xcomponent_core::call::Send>,
    bytes_max: usize,
) -> Result<Answer, Failure> {
    match given {
        Given::Guard(answer) => answer.map(Answer::Guard).map_err(failure),
        Given::Action(Ok(None)) => Ok(Answer::Action {
            context: None,
            sends,
        }),
        Given::Action(Ok(Some(text))) => {
            let context = context(&text, bytes_max).map_err(Failure::Fault)?;
            Ok(Answer::Action {
                context: Some(context),
                sends,
            })
        }
        Given::Action(Err(given)) => Err(failure(given)),
    }
}

fn context(text: &str, bytes_max: usize) -> Result<Json, Fault> {
    let too_large = |bytes| {
        fault::plain(
            FaultCode::AnswerTooLarge,
            format!("the answer has {bytes} bytes, at most {bytes_max} are accepted"),
        )
    };
    if text.len() > bytes_max {
        return Err(too_large(text.len()));
    }
    let context = Json::parse(text).map_err(|error| match error {
        JsonError::TooLarge { bytes } => too_large(bytes),
        JsonError::Malformed(reason) => fault::plain(
            FaultCode::AnswerMalformed,
            format!("the answer is not a context: {reason}"),
        ),
    })?;
    if !context.is_object() {
        return Err(fault::plain(
            FaultCode::AnswerMalformed,
            "the answer is not a context: expected a JSON object",
        ));
    }
    Ok(context)
}

fn failure(given: GuestFailure) -> Failure {
    match given {
        GuestFailure::Refused(refusal) => Failure::Refused(Refusal {
            code: cut(&refusal.code, REFUSAL_CODE_BYTES_MAX).into(),
            message: cut(&refusal.message, REFUSAL_MESSAGE_BYTES_MAX).into(),
        }),
        GuestFailure::Failed(message) => Failure::Fault(fault::plain(
            FaultCode::Failed,
            cut(&message, FAILED_BYTES_MAX),
        )),
    }
}
