//! Lacks the action that the definition names.
#[xcomponent_guest::component("order.yaml")]
pub mod methods {
    #[guard]
    fn is_paid() -> bool {
        true
    }
}
