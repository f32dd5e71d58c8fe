//! Answers everything the definition names, and nothing else.
#![deny(warnings)]

#[xcomponent_guest::component("order.yaml")]
pub mod methods {
    use xcomponent_guest::{Call, Failure, current, debug, error, info, sender, trace, warning};

    #[guard]
    fn is_paid(call: &Call) -> bool {
        call.event.timestamp_ms >= call.instance.created_ms
    }

    #[action]
    fn ship(call: &Call) -> Result<(), Failure> {
        let due: u64 = call.instance.id.parse()?;
        sender::to_self_after(due, "SHIPPED", &call.target_state);
        trace!("{}", current::tenant());
        debug!("{}", current::attempt());
        info!("{}", call.event.name);
        warning!("{}", call.instance.state);
        error!("{}", call.instance.machine);
        Ok(())
    }
}
