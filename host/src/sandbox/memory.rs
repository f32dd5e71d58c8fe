//! The memory of one sandbox: the sum over all its linear memories and tables.

use wasmtime::ResourceLimiter;

/// Counts what a sandbox holds and refuses what is over the limit. To the guest a refusal is an
/// allocation that failed; most guests abort on it, and then the limit is what the fault names.
#[derive(Debug)]
pub(super) struct MemoryMeter {
    used: usize,
    max: usize,
    last_growth: usize,
    refused: bool,
}

impl MemoryMeter {
    /// A meter for a sandbox that may hold so many bytes.
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: 0,
            max,
            last_growth: 0,
            refused: false,
        }
    }

    /// Begins a call.
    pub(super) fn begin(&mut self) {
        self.refused = false;
    }

    /// Whether the call was refused memory.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The limit, in bytes.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    fn grow(&mut self, bytes: usize) -> bool {
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.max => {
                self.used = used;
                self.last_growth = bytes;
                true
            }
            _ => {
                self.last_growth = 0;
                self.refused = true;
                false
            }
        }
    }

    fn take_back(&mut self) {
        self.used -= self.last_growth;
        self.last_growth = 0;
        self.refused = true;
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current);
        Ok(self.grow(elements.saturating_mul(size_of::<usize>())))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_against_one_limit() {
        let mut meter = MemoryMeter::new(1_000);
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.memory_growing(0, 300, None).unwrap());
        assert!(!meter.table_growing(0, 13, None).unwrap());
        assert!(meter.table_growing(0, 12, None).unwrap());
        assert!(meter.is_refused());
    }

    #[test]
    fn memory_that_was_granted_but_not_to_be_had_is_given_back() {
        let mut meter = MemoryMeter::new(1_000);
        assert!(meter.memory_growing(0, 900, None).unwrap());
        meter
            .memory_grow_failed(wasmtime::Error::msg("no"))
            .unwrap();
        assert!(meter.memory_growing(0, 900, None).unwrap());
    }
}
