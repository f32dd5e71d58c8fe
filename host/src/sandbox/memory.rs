//! The memory of one sandbox: the sum over all its linear memories and tables.

use wasmtime::ResourceLimiter;

use super::ration::Ration;

/// Counts what a sandbox holds and refuses what is over the limit. To the guest a refusal is an
/// allocation that failed; most guests abort on it, and then the limit is what the fault names.
pub(super) struct MemoryMeter {
    used: usize,
    max: usize,
    last_growth: usize,
    refused: bool,
    ration: Ration,
    /// What it wanted to hold in all when the host had no memory for it.
    starved: Option<usize>,
}

impl MemoryMeter {
    /// A meter for a sandbox that may hold so many bytes, as long as there is memory for them.
    pub(super) fn new(max: usize, ration: Ration) -> Self {
        Self {
            used: 0,
            max,
            last_growth: 0,
            refused: false,
            ration,
            starved: None,
        }
    }

    /// Begins a call.
    pub(super) fn begin(&mut self) {
        self.refused = false;
        self.starved = None;
    }

    /// Whether the call was refused memory.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// What the sandbox would have needed, if it was the host that had no more memory for it. Then
    /// the call says nothing about the guest.
    pub(super) fn starved(&self) -> Option<usize> {
        self.starved
    }

    /// The limit, in bytes.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// What it holds, in bytes.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Gives back what the sandbox was to have and did not take.
    pub(super) fn settle(&mut self) {
        self.ration.shrink_to(self.used);
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.last_growth = 0;
        let wanted = self.used.checked_add(bytes);
        let Some(wanted) = wanted.filter(|wanted| *wanted <= self.max) else {
            self.refused = true;
            return false;
        };
        if !self.ration.reach(wanted) {
            self.refused = true;
            self.starved = Some(wanted);
            return false;
        }
        self.used = wanted;
        self.last_growth = bytes;
        true
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
    use std::sync::Arc;

    use xcomponent_core::id::{ComponentName, TenantId};

    use super::*;
    use crate::{
        memory::Memory,
        sandbox::{pool::Pool, ration::Rations},
    };

    /// A sandbox that may hold 1 000 bytes; 140 000 are there for all.
    fn meter() -> MemoryMeter {
        let pool = Arc::new(Pool::new(1, 1));
        let rations = Rations::new(Memory::new(1_000_000), &pool, 1);
        let shop = rations.holder(&TenantId::default_tenant(), &ComponentName::new("Shop"));
        MemoryMeter::new(1_000, shop.nothing())
    }

    #[test]
    fn memories_and_tables_count_against_one_limit() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.memory_growing(0, 300, None).unwrap());
        assert!(!meter.table_growing(0, 13, None).unwrap());
        assert!(meter.table_growing(0, 12, None).unwrap());
        assert!(meter.is_refused());
        assert_eq!(meter.starved(), None);
    }

    #[test]
    fn memory_that_was_granted_but_not_to_be_had_is_given_back() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 900, None).unwrap());
        meter
            .memory_grow_failed(wasmtime::Error::msg("no"))
            .unwrap();
        assert!(meter.memory_growing(0, 900, None).unwrap());
    }
}
