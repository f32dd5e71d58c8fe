//! Names a definition with three mistakes.
#[xcomponent_guest::component("three-mistakes.yaml")]
pub mod methods {
    #[guard]
    fn is_paid() -> bool {
        true
    }

    #[action]
    fn ship() {}
}
