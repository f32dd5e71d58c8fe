//! The instance's context beyond what an action's own type says of it.

use std::cell::RefCell;

thread_local! {
    static REMOVED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Removes a member of the context when the action that runs now succeeds; of no effect in an action
/// that does not take the context as `&mut`.
///
/// A field that is `None` is written as `null`; this is how a field goes away.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use xcomponent_guest::{context, testing};
///
/// #[derive(Deserialize, Serialize)]
/// struct Order { total: f64 }
///
/// fn forget_card(_: &mut Order) {
///     context::remove("card");
/// }
///
/// let run = testing::action(forget_card, r#"{"total":400,"card":"4242"}"#, "{}");
/// assert_eq!(run.result.unwrap().unwrap(), r#"{"total":400}"#);
/// ```
pub fn remove(field: &str) {
    REMOVED.with_borrow_mut(|removed| removed.push(field.to_owned()));
}

/// What was removed since the last time.
pub(crate) fn take_removed() -> Vec<String> {
    REMOVED.take()
}
