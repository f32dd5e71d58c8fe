//! Positions and cursors as callers see them: opaque, since the numbers behind them count every
//! tenant's traffic.
//!
//! A number is enciphered together with what it is for, by a Feistel network of four HMAC rounds
//! that know the tenant. What one tenant was given means nothing to another, and what nobody was
//! given is recognised.

use std::fmt::Write as _;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use xcomponent_core::id::TenantId;

use super::error::{ApiError, Result};
use crate::{
    driver::{Cursor, Position},
    key::Key,
};

const ROUNDS: u8 = 4;

/// Shows numbers under a key, which is as old as the log that they count.
pub(super) struct Seal {
    key: Key,
}

/// What a number is for. Part of what is enciphered, so that none is taken for another.
#[derive(Clone, Copy)]
enum Purpose {
    Position = 1,
    Cursor = 2,
}

impl Seal {
    /// Shows numbers under this key.
    pub(super) fn new(key: Key) -> Self {
        Self { key }
    }

    /// A position as the tenant sees it.
    pub(super) fn position(&self, tenant: &TenantId, position: Position) -> String {
        self.close(tenant, Purpose::Position, position.0)
    }

    /// Reads a position that the tenant was given.
    pub(super) fn read_position(&self, tenant: &TenantId, text: &str) -> Result<Position> {
        let position = self.open(tenant, Purpose::Position, text);
        position.map(Position).ok_or_else(|| {
            ApiError::bad_request(
                "invalid_position",
                "`after` is not a position this host gave",
            )
        })
    }

    /// A cursor as the tenant sees it.
    pub(super) fn cursor(&self, tenant: &TenantId, cursor: Cursor) -> String {
        self.close(tenant, Purpose::Cursor, cursor.0)
    }

    /// Reads a cursor that the tenant was given.
    pub(super) fn read_cursor(&self, tenant: &TenantId, text: &str) -> Result<Cursor> {
        let cursor = self.open(tenant, Purpose::Cursor, text);
        cursor.map(Cursor).ok_or_else(|| {
            ApiError::bad_request("invalid_cursor", "`cursor` is not one that this host gave")
        })
    }

    fn close(&self, tenant: &TenantId, purpose: Purpose, number: u64) -> String {
        let (mut left, mut right) = (number, purpose as u64);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(tenant, round, right));
        }
        let mut text = String::with_capacity(32);
        // Writing to a string cannot fail.
        let _ = write!(text, "{left:016x}{right:016x}");
        text
    }

    fn open(&self, tenant: &TenantId, purpose: Purpose, text: &str) -> Option<u64> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (left, right) = text.split_at(16);
        let mut left = u64::from_str_radix(left, 16).ok()?;
        let mut right = u64::from_str_radix(right, 16).ok()?;
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(tenant, round, left), left);
        }
        (right == purpose as u64).then_some(left)
    }

    fn round(&self, tenant: &TenantId, round: u8, half: u64) -> u64 {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.bytes())
            .expect("an HMAC takes a key of any length");
        mac.update(&[round]);
        mac.update(&half.to_le_bytes());
        mac.update(tenant.as_str().as_bytes());
        let digest = mac.finalize().into_bytes();
        let first: [u8; 8] = digest[..8].try_into().expect("a digest has 32 bytes");
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal::new(Key::random().unwrap())
    }

    #[test]
    fn a_position_comes_back_to_whom_it_was_given_and_to_nobody_else() {
        let seal = seal();
        let (ours, theirs) = (TenantId::new("a"), TenantId::new("b"));
        let text = seal.position(&ours, Position(7));
        assert_eq!(seal.read_position(&ours, &text).unwrap(), Position(7));
        assert!(seal.read_position(&theirs, &text).is_err());
        assert!(seal.read_cursor(&ours, &text).is_err());
        let other = Seal::new(Key::random().unwrap());
        assert!(other.read_position(&ours, &text).is_err());
    }

    #[test]
    fn what_nobody_was_given_is_no_position() {
        let seal = seal();
        let tenant = TenantId::default_tenant();
        for bad in [
            "",
            "7",
            "+0000000000000000000000000000007",
            &"0".repeat(32),
            &"ä".repeat(16),
        ] {
            assert!(seal.read_position(&tenant, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn neighbours_do_not_look_alike() {
        let seal = seal();
        let tenant = TenantId::default_tenant();
        let (one, two) = (
            seal.position(&tenant, Position(1)),
            seal.position(&tenant, Position(2)),
        );
        assert_ne!(one[..8], two[..8]);
        assert_eq!(one, seal.position(&tenant, Position(1)));
    }
}
