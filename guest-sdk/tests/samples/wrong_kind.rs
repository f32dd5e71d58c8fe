//! Marks as an action what the definition uses as a guard.
#[xcomponent_guest::component("order.yaml")]
pub mod methods {
    #[action]
    fn is_paid() {}

    #[action]
    fn ship() {}
}
