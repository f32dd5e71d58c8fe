//! Says U+0000 wherever a guest can say something. No database keeps that character.

use std::collections::BTreeMap;

/// Texts by name.
pub type Context = BTreeMap<String, String>;

/// The methods that `component.yaml` names.
#[xcomponent_guest::component("component.yaml")]
pub mod methods {
    use serde_json::json;
    use xcomponent_guest::{Failure, info, refuse, sender};

    use super::Context;

    const ZERO: &str = "a\0b";

    /// In a text of the context.
    #[action]
    fn answer(context: &mut Context) {
        context.insert("text".to_owned(), ZERO.to_owned());
    }

    /// In a name of the context.
    #[action]
    fn answer_name(context: &mut Context) {
        context.insert(ZERO.to_owned(), "text".to_owned());
    }

    /// In a payload.
    #[action]
    fn send_payload() {
        sender::to_self("PING", &json!({ "text": ZERO }));
    }

    /// In an event's name.
    #[action]
    fn send_event() {
        sender::to_self(ZERO, &json!({}));
    }

    /// In an instance's id.
    #[action]
    fn send_to() {
        sender::to(ZERO, "PING", &json!({}));
    }

    /// In a component's name.
    #[action]
    fn send_to_component() {
        sender::to_component(ZERO, "some", "PING", &json!({}));
    }

    /// In a machine's name.
    #[action]
    fn broadcast_machine() {
        sender::broadcast(ZERO, None, "PING", &json!({}));
    }

    /// In a state's name.
    #[action]
    fn broadcast_state() {
        sender::broadcast("Zero", Some(ZERO), "PING", &json!({}));
    }

    /// In the name of a component that is told.
    #[action]
    fn broadcast_to_component() {
        sender::broadcast_to(ZERO, "Zero", None, "PING", &json!({}));
    }

    /// In the context of a child.
    #[action]
    fn create_context() {
        sender::create("Zero", &json!({ "text": ZERO }));
    }

    /// In the machine of a child.
    #[action]
    fn create_machine() {
        sender::create(ZERO, &json!({}));
    }

    /// In the id of what is not to be sent after all.
    #[action]
    fn cancel() {
        sender::cancel(ZERO);
    }

    /// In a line of the history.
    #[action]
    fn log() {
        info!("{ZERO}");
    }

    /// In a business "no".
    #[action]
    fn refuse_it() -> Result<(), Failure> {
        Err(refuse(ZERO, ZERO))
    }

    /// In the reason of a failure.
    #[action]
    fn fail() -> Result<(), Failure> {
        Err(Failure::Failed(ZERO.to_owned()))
    }

    /// In a panic.
    #[action]
    fn panic() {
        panic!("{ZERO}");
    }
}
