//! The command line, as the program that people start.

mod definitions;
mod harness;
mod project;
mod remote;
mod serving;
