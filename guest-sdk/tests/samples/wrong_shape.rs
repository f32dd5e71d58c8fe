//! A guard that answers no boolean.
#[xcomponent_guest::component("order.yaml")]
pub mod methods {
    #[guard]
    fn is_paid() -> &'static str {
        "maybe"
    }

    #[action]
    fn ship() {}
}
