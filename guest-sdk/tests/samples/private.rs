//! A module that nobody else can see is a component all the same.
#![deny(warnings)]

#[xcomponent_guest::component("order.yaml")]
mod methods {
    #[guard]
    fn is_paid() -> bool {
        true
    }

    #[action]
    fn ship() {}
}
