//! Lines that the host keeps with the instance's history: [`info!`](crate::info) and its siblings.

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Finest.
    Trace,
    /// For whoever debugs.
    Debug,
    /// Ordinary.
    Info,
    /// Worth a look.
    Warn,
    /// Broken.
    Error,
}

/// Writes one line: at most 4 KiB, at most 100 per transition.
pub fn line(level: Level, message: &str) {
    crate::host::log(level, message);
}

/// Writes a line of level info.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Info, &::std::format!($($text)*)) };
}

/// Writes a line of level warn.
#[macro_export]
macro_rules! warning {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Warn, &::std::format!($($text)*)) };
}

/// Writes a line of level error.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Error, &::std::format!($($text)*)) };
}

/// Writes a line of level debug.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Debug, &::std::format!($($text)*)) };
}

/// Writes a line of level trace.
#[macro_export]
macro_rules! trace {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Trace, &::std::format!($($text)*)) };
}
