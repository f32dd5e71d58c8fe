//! How functions of different shapes become methods.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Call, Event, Failure, Instance, context, patch::Before};

/// A call as it crosses the boundary: context and payload are JSON text.
#[derive(Clone, Debug)]
pub struct RawCall {
    /// Which method.
    pub method: String,
    /// JSON text.
    pub context: String,
    /// Its payload is JSON text.
    pub event: Event<String>,
    /// Who is asked.
    pub instance: Instance,
    /// The state that the transition leads to.
    pub target_state: String,
}

impl RawCall {
    fn context<C: DeserializeOwned>(&self) -> Result<C, Failure> {
        serde_json::from_str(&self.context).map_err(|error| {
            Failure::Failed(format!(
                "the context is not what `{}` expects: {error}",
                self.method
            ))
        })
    }

    fn payload<P: DeserializeOwned>(&self) -> Result<P, Failure> {
        let problem = |error| {
            format!(
                "the payload of {} is not what `{}` expects: {error}",
                self.event.name, self.method
            )
        };
        serde_json::from_str(&self.event.payload).map_err(|error| Failure::Failed(problem(error)))
    }

    fn event<P: DeserializeOwned>(self) -> Result<Event<P>, Failure> {
        let payload = self.payload()?;
        Ok(self.event.with(payload))
    }

    fn typed<C: DeserializeOwned, P: DeserializeOwned>(self) -> Result<Call<C, P>, Failure> {
        let (context, payload) = (self.context()?, self.payload()?);
        Ok(Call {
            context,
            event: self.event.with(payload),
            instance: self.instance,
            target_state: self.target_state,
        })
    }
}

impl Event<String> {
    /// The same event with its payload read.
    fn with<P>(self, payload: P) -> Event<P> {
        Event {
            id: self.id,
            name: self.name,
            payload,
            timestamp_ms: self.timestamp_ms,
        }
    }
}

/// What a guard may return.
pub trait Verdict {
    /// The answer.
    fn verdict(self) -> Result<bool, Failure>;
}

impl Verdict for bool {
    fn verdict(self) -> Result<bool, Failure> {
        Ok(self)
    }
}

impl<E: Into<Failure>> Verdict for Result<bool, E> {
    fn verdict(self) -> Result<bool, Failure> {
        self.map_err(Into::into)
    }
}

/// What an action may return.
pub trait Outcome {
    /// Whether it worked.
    fn outcome(self) -> Result<(), Failure>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> Outcome for Result<(), E> {
    fn outcome(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}

/// A function that can be a guard; `Shape` tells its parameters.
#[diagnostic::on_unimplemented(
    message = "this function cannot be a guard",
    note = "a guard takes nothing, `&C` or `&Call<C, P>`, where C and P are `Deserialize`",
    note = "it returns `bool` or `Result<bool, Failure>`"
)]
pub trait Guard<Shape> {
    /// Asks it.
    ///
    /// # Errors
    ///
    /// If context or payload are not what it expects, or it fails itself.
    fn ask(&self, call: RawCall) -> Result<bool, Failure>;
}

impl<F: Fn() -> V, V: Verdict> Guard<()> for F {
    fn ask(&self, _: RawCall) -> Result<bool, Failure> {
        self().verdict()
    }
}

impl<F: Fn(&C) -> V, V: Verdict, C: DeserializeOwned> Guard<(C,)> for F {
    fn ask(&self, call: RawCall) -> Result<bool, Failure> {
        self(&call.context()?).verdict()
    }
}

/// The shape of a method that takes the whole call.
#[derive(Debug)]
pub struct Whole<C, P>(std::marker::PhantomData<(C, P)>);

impl<F: Fn(&Call<C, P>) -> V, V: Verdict, C: DeserializeOwned, P: DeserializeOwned>
    Guard<Whole<C, P>> for F
{
    fn ask(&self, call: RawCall) -> Result<bool, Failure> {
        self(&call.typed()?).verdict()
    }
}

/// A context while an action changes it.
struct Changing(Before);

impl Changing {
    fn begin<C: DeserializeOwned + Serialize>(context: &C) -> Result<Self, Failure> {
        context::take_removed();
        Ok(Self(Before::of(context)?))
    }

    /// The new context as JSON text.
    fn end<C: Serialize>(self, original: &str, context: &C) -> Result<Option<String>, Failure> {
        let removed = context::take_removed();
        Ok(Some(self.0.patch(original, context, &removed)?))
    }
}

/// A function that can be an action; `Shape` tells its parameters.
#[diagnostic::on_unimplemented(
    message = "this function cannot be an action",
    note = "an action takes nothing, `&Call<C, P>`, `&mut C`, `&mut C` and `&Event<P>`, or `&mut Call<C, P>`",
    note = "C and P are `Deserialize`, and C is `Serialize` where it is `&mut`",
    note = "it returns nothing or `Result<(), Failure>`"
)]
pub trait Action<Shape> {
    /// Runs it; the new context as JSON text, or none = unchanged.
    ///
    /// # Errors
    ///
    /// If context or payload are not what it expects, or it fails itself.
    fn run(&self, call: RawCall) -> Result<Option<String>, Failure>;
}

impl<F: Fn() -> O, O: Outcome> Action<()> for F {
    fn run(&self, _: RawCall) -> Result<Option<String>, Failure> {
        self().outcome().map(|()| None)
    }
}

impl<F: Fn(&Call<C, P>) -> O, O: Outcome, C: DeserializeOwned, P: DeserializeOwned>
    Action<Whole<C, P>> for F
{
    fn run(&self, call: RawCall) -> Result<Option<String>, Failure> {
        self(&call.typed()?).outcome().map(|()| None)
    }
}

impl<F: Fn(&mut C) -> O, O: Outcome, C: DeserializeOwned + Serialize> Action<(C,)> for F {
    fn run(&self, call: RawCall) -> Result<Option<String>, Failure> {
        let mut context: C = call.context()?;
        let changing = Changing::begin(&context)?;
        self(&mut context).outcome()?;
        changing.end(&call.context, &context)
    }
}

/// The shape of an action that takes the whole call and changes its context.
#[derive(Debug)]
pub struct WholeChanged<C, P>(std::marker::PhantomData<(C, P)>);

impl<F, O, C, P> Action<WholeChanged<C, P>> for F
where
    F: Fn(&mut Call<C, P>) -> O,
    O: Outcome,
    C: DeserializeOwned + Serialize,
    P: DeserializeOwned,
{
    fn run(&self, call: RawCall) -> Result<Option<String>, Failure> {
        let original = call.context.clone();
        let mut call: Call<C, P> = call.typed()?;
        let changing = Changing::begin(&call.context)?;
        self(&mut call).outcome()?;
        changing.end(&original, &call.context)
    }
}

impl<F, O, C, P> Action<(C, Event<P>)> for F
where
    F: Fn(&mut C, &Event<P>) -> O,
    O: Outcome,
    C: DeserializeOwned + Serialize,
    P: DeserializeOwned,
{
    fn run(&self, call: RawCall) -> Result<Option<String>, Failure> {
        let mut context: C = call.context()?;
        let changing = Changing::begin(&context)?;
        let original = call.context.clone();
        self(&mut context, &call.event()?).outcome()?;
        changing.end(&original, &context)
    }
}
