//! The driver with a real engine: what callers see when shards cascade, stores fail, guests yield.

mod cascades;
mod durability;
mod faulty;
mod guests;
mod lifecycle;
mod requests;
mod script;
mod stream;
mod world;
