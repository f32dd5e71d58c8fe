//! Skeleton.

pub mod sandbox;
