//! The memory of a guest: small pieces in lists by their size.
//!
//! A call hands over a dozen short texts, a method parses some of them, and all are given back at
//! its end. The standard allocator spends more on that than the method on its work: it splits and
//! joins pieces. These are never split or joined; a piece that was given back is the next one of
//! its size.
//!
//! The first pieces are cut from memory that the guest has from its start. A guest that needs no
//! more than that never grows, and a host that starts a fresh guest for every transition has
//! nothing to take away from it afterwards.

#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::UnsafeCell,
    ptr,
};

/// Memory that is there from the start; all but the pages in use costs nothing.
const FIRST_BYTES: usize = 128 << 10;

/// What is asked of the standard allocator when that is used up.
const MORE_BYTES: usize = 64 << 10;

/// The smallest piece, and the alignment of all.
const PIECE_BYTES_MIN: usize = 16;

/// Sizes double from list to list, up to this; larger pieces are the standard allocator's.
const LISTS: usize = 10;
const PIECE_BYTES_MAX: usize = PIECE_BYTES_MIN << (LISTS - 1);

/// An allocator for one thread: a guest has no more.
#[derive(Debug)]
pub(crate) struct Memory {
    state: UnsafeCell<State>,
    first: UnsafeCell<First>,
}

#[derive(Debug)]
struct State {
    /// By size: pieces that were given back, each with the address of the next in it.
    free: [*mut u8; LISTS],
    /// Where the next piece is cut from, and how much is left there; null before the first.
    rest: *mut u8,
    left: usize,
}

#[derive(Debug)]
#[repr(align(16))]
struct First([u8; FIRST_BYTES]);

// SAFETY: guests have one thread, and nothing here calls back while the state is borrowed.
unsafe impl Sync for Memory {}

impl Memory {
    /// Nothing is handed out yet.
    pub(crate) const fn new() -> Self {
        Self {
            state: UnsafeCell::new(State {
                free: [ptr::null_mut(); LISTS],
                rest: ptr::null_mut(),
                left: 0,
            }),
            first: UnsafeCell::new(First([0; FIRST_BYTES])),
        }
    }

    /// A piece for the list of that size, from what is left or from more.
    fn cut(&self, state: &mut State, bytes: usize) -> *mut u8 {
        if state.rest.is_null() {
            // SAFETY: the address is taken, nothing is read.
            state.rest = unsafe { (&raw mut (*self.first.get()).0).cast() };
            state.left = FIRST_BYTES;
        }
        if state.left < bytes {
            let more = Layout::from_size_align(MORE_BYTES, PIECE_BYTES_MIN);
            let more = more.expect("a power of two is an alignment");
            // SAFETY: the layout is not empty.
            let more = unsafe { System.alloc(more) };
            if more.is_null() {
                return more;
            }
            state.rest = more;
            state.left = MORE_BYTES;
        }
        let piece = state.rest;
        state.left -= bytes;
        // SAFETY: `left` bytes follow `rest` in one allocation, and `bytes` is no more than that.
        state.rest = unsafe { piece.add(bytes) };
        piece
    }
}

/// The list that serves a layout; none if the standard allocator does.
fn list_of(layout: Layout) -> Option<usize> {
    if layout.size() > PIECE_BYTES_MAX || layout.align() > PIECE_BYTES_MIN {
        return None;
    }
    let bytes = layout.size().max(PIECE_BYTES_MIN).next_power_of_two();
    Some((bytes.trailing_zeros() - PIECE_BYTES_MIN.trailing_zeros()) as usize)
}

// SAFETY: pieces of a list are as large as its size, aligned to the smallest, and on no list while
// they are handed out; everything else is the standard allocator's.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = list_of(layout) else {
            // SAFETY: the caller's promise is the same.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: there is one thread, and this function is not entered again below.
        let state = unsafe { &mut *self.state.get() };
        let piece = state.free[list];
        if piece.is_null() {
            return self.cut(state, PIECE_BYTES_MIN << list);
        }
        // SAFETY: a piece on a list has the address of the next in its first bytes.
        state.free[list] = unsafe { piece.cast::<*mut u8>().read() };
        piece
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let Some(list) = list_of(layout) else {
            // SAFETY: the caller's promise is the same; no list has this size.
            return unsafe { System.dealloc(piece, layout) };
        };
        // SAFETY: there is one thread, and this function is not entered again below.
        let state = unsafe { &mut *self.state.get() };
        // SAFETY: the caller gives the piece back; it is large and aligned enough for an address.
        unsafe { piece.cast::<*mut u8>().write(state.free[list]) };
        state.free[list] = piece;
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is not too large for the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        let (now, then) = (list_of(layout), list_of(wanted));
        if now.is_some() && now == then {
            return piece;
        }
        if now.is_none() && then.is_none() {
            // SAFETY: the piece came from there, with this layout.
            return unsafe { System.realloc(piece, layout, bytes) };
        }
        // SAFETY: the caller's promise is the same.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are at least so large, and the new piece was handed out just now.
            unsafe {
                ptr::copy_nonoverlapping(piece, moved, layout.size().min(bytes));
                self.dealloc(piece, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    #[test]
    fn a_piece_that_was_given_back_is_the_next_of_its_size() {
        let memory = Memory::new();
        // SAFETY: layouts are not empty, and pieces are given back as they were asked for.
        unsafe {
            let first = memory.alloc(layout(20));
            let other = memory.alloc(layout(20));
            assert_ne!(first, other);
            memory.dealloc(first, layout(20));
            assert_ne!(memory.alloc(layout(40)), first);
            assert_eq!(memory.alloc(layout(32)), first);
        }
    }

    #[test]
    fn pieces_do_not_overlap_however_many_there_are() {
        let memory = Memory::new();
        let sizes = [1, 16, 17, 100, 500, 4_000, 8_192, 9_000];
        // SAFETY: each piece is written within its size and given back as it was asked for.
        unsafe {
            let pieces: Vec<_> = (0..2_000_usize)
                .map(|n| {
                    let bytes = sizes[n % sizes.len()];
                    let piece = memory.alloc(layout(bytes));
                    assert_eq!(piece.align_offset(8), 0);
                    piece.write_bytes(n.to_le_bytes()[0], bytes);
                    (piece, bytes, n.to_le_bytes()[0])
                })
                .collect();
            for (piece, bytes, value) in pieces {
                let own = std::slice::from_raw_parts(piece, bytes);
                assert!(own.iter().all(|byte| *byte == value));
                memory.dealloc(piece, layout(bytes));
            }
        }
    }

    #[test]
    fn what_grows_keeps_what_is_in_it() {
        let memory = Memory::new();
        // SAFETY: the piece is written and read within its size.
        unsafe {
            let mut piece = memory.alloc(layout(10));
            piece.write_bytes(7, 10);
            let mut bytes = 10;
            for larger in [12, 100, 5_000, 10_000, 100_000, 50] {
                piece = memory.realloc(piece, layout(bytes), larger);
                bytes = larger;
                let kept = std::slice::from_raw_parts(piece, 10);
                assert_eq!(kept, [7; 10]);
            }
            memory.dealloc(piece, layout(bytes));
        }
    }
}
