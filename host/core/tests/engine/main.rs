//! The engine, driven by hand: one shard, scripted guests, a store in memory.

mod budget;
mod cascades;
mod chains;
mod deletion;
mod differences;
mod elsewhere;
mod faults;
mod figures;
mod harness;
mod operators;
mod passivation;
mod queues;
mod repeats;
mod selection;
mod tenants;
mod timers;
mod transitions;
mod unreadable;
mod versions;
mod waiting;
