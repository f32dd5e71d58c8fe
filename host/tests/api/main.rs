//! The HTTP API of a whole host: what each route answers when all is well and when it is not.

#[path = "../common/guests.rs"]
mod guests;
#[path = "../common/host.rs"]
mod host;
