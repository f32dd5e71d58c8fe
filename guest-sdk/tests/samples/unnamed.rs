//! Has a method that the definition does not name.
#[xcomponent_guest::component("order.yaml")]
pub mod methods {
    #[guard]
    fn is_paid() -> bool {
        true
    }

    #[action]
    fn ship() {}

    #[action]
    fn dance() {}
}
