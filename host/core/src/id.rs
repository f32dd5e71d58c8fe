//! Names and ids. Each has its own type, so that they cannot be mixed up.
//!
//! Names are texts that are kept in place up to 23 bytes, so that copying one counts no reference
//! that another thread counts too. Ids ([`InstanceId`], [`EventId`]) are kept as 16 bytes where
//! they are UUIDs (those made by the host) and as shared text otherwise, so that the common case
//! allocates nothing. An id has exactly one representation; equality and hash follow it.
//!
//! An event that another one caused has an id that is made of the other's: `<cause>.<n>` and the
//! like. However long a chain of causes is, such an id is at most
//! [`MADE_ID_BYTES_MAX`] long. It says nothing about order; positions do.

mod made;

use std::{borrow::Borrow, fmt, sync::Arc};

use smol_str::SmolStr;

pub use self::made::MADE_ID_BYTES_MAX;

use crate::time::Timestamp;

/// The longest id a caller may choose, in bytes.
pub const ID_BYTES_MAX: usize = 128;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// Wraps a text as it is; what may stand in it is checked where it comes from.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text!(
    /// A tenant: the outermost part of every key. One is always there: `default`.
    TenantId
);
text!(
    /// A component's name, unique within its tenant.
    ComponentName
);
text!(
    /// A component's version label, unique within its component.
    Version
);
text!(
    /// A machine's name, unique within its component.
    MachineName
);
text!(
    /// A state's name, unique within its machine.
    StateName
);
text!(
    /// An event's name.
    EventName
);
text!(
    /// A stream of parcels: which log they come from, and which component they are for. Parcels of
    /// one stream are numbered, and their numbers grow.
    StreamId
);
text!(
    /// A guard's or action's name, as the definition writes it.
    MethodName
);

impl StreamId {
    /// No stream: what comes on it has no numbers, and is not known again.
    pub fn none() -> Self {
        Self::new("")
    }

    /// Whether it is none.
    pub fn is_none(&self) -> bool {
        self.as_str().is_empty()
    }

    /// Its place among the shards: one of them takes it in.
    pub fn route(&self) -> u16 {
        route_of(self.as_str())
    }
}

impl TenantId {
    /// The one tenant of a host without tenants.
    pub fn default_tenant() -> Self {
        Self::new("default")
    }
}

/// SHA-256 of an artifact or a source text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Either 16 bytes or a text that is not a canonical UUID. The bytes are two halves, the first the
/// higher: a `u128` would be aligned to 16 and make everything with an id in it larger.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Uuid(u64, u64),
    Text(Arc<str>),
}

impl Repr {
    fn parse(text: &str) -> Self {
        parse_uuid(text).map_or_else(|| Self::Text(text.into()), Self::of_bits)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half is what is meant"
    )]
    fn of_bits(bits: u128) -> Self {
        Self::Uuid((bits >> 64) as u64, bits as u64)
    }

    /// The text, written into `buffer` if need be.
    fn text<'r>(&'r self, buffer: &'r mut [u8; 36]) -> &'r str {
        match self {
            Self::Uuid(high, low) => write_uuid(*high, *low, buffer),
            Self::Text(text) => text,
        }
    }

    /// The text with a mark and something more behind it: an id that follows from this one.
    fn marked(&self, mark: &str, more: &str) -> Self {
        Self::Text(made::derived(self.text(&mut [0; 36]), mark, more).into())
    }
}

/// An id that nobody may choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id has 1 to {ID_BYTES_MAX} characters of A-Z a-z 0-9 . _ ~ -, and an event's has no `~` in \
     front of 32 hexadecimal digits: the host shortens long ids to such"
)]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $is_reserved:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Repr);

        impl $name {
            /// An id made by the host.
            pub fn from_uuid(bits: u128) -> Self {
                Self(Repr::of_bits(bits))
            }

            /// An id chosen by a caller.
            ///
            /// # Errors
            ///
            /// If it is not `[A-Za-z0-9._~-]{1,128}`, or an event's that looks like one that the
            /// host has shortened.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if text.len() > ID_BYTES_MAX || !is_legal(text) || $is_reserved(text) {
                    return Err(InvalidId);
                }
                Ok(Self(Repr::parse(text)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.text(&mut [0; 36]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.text(&mut [0; 36]))
            }
        }
    };
}

id!(
    /// An instance's id, unique within its tenant: a UUIDv8 whose first 16 bits decide the
    /// partition, or the caller's own, which hashes to one.
    InstanceId, |_: &str| false
);
id!(
    /// An event's id: the caller's own, the host's, or `<id of the cause>.<n>`.
    EventId, made::is_shortened
);

/// Whether every byte of a text may stand in an id.
fn is_legal(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

impl EventId {
    /// An id made by the host: a UUIDv8 with the time in milliseconds in front, so that an index
    /// of events grows at its end, and chance behind.
    pub fn made(at: Timestamp, chance: u128) -> Self {
        let bits = u128::from(at.0) << 80 | chance >> 48;
        Self::from_uuid(uuid_v8(bits, None))
    }

    /// The id of the `n`th effect of this event.
    #[must_use]
    pub fn derive(&self, n: u32) -> Self {
        Self(self.0.marked(".", &n.to_string()))
    }

    /// The id under which one of the instances that a selection chose gets this event: what they
    /// send in turn is theirs, not each other's.
    #[must_use]
    pub fn at(&self, instance: &InstanceId) -> Self {
        let place = hex(stable_hash(instance.0.text(&mut [0; 36]).as_bytes()));
        Self(self.0.marked("~", ascii(&place)))
    }

    /// The id under which the `n`th timer that this event armed fires.
    #[must_use]
    pub fn timer(&self, n: u32) -> Self {
        Self(self.0.marked(".t", &n.to_string()))
    }

    /// Texts that the ids of all its replays lie between.
    pub fn replays(&self) -> [String; 2] {
        ["r", "s"].map(|end| Self(self.0.marked(".", end)).to_string())
    }

    /// The id under which the `n`th replay of this event runs.
    #[must_use]
    pub fn replay(&self, n: u32) -> Self {
        Self(self.0.marked(".r", &n.to_string()))
    }

    /// An id read back from where this program wrote it: any text.
    pub fn from_stored(text: &str) -> Self {
        Self(Repr::parse(text))
    }

    /// An id that another host says an event has. One of a host that did not shorten its ids is
    /// shortened here, to the same whenever it comes.
    ///
    /// # Errors
    ///
    /// If it is empty or has other characters than `[A-Za-z0-9._~-]`.
    pub fn received(text: &str) -> Result<Self, InvalidId> {
        if !is_legal(text) {
            return Err(InvalidId);
        }
        Ok(Self::from_stored(text).bounded())
    }

    /// The id as this version makes it: what a version that did not shorten ids made from a cause
    /// is what this one makes from that cause. So both are known to be the same delivery.
    #[must_use]
    pub fn bounded(&self) -> Self {
        match &self.0 {
            Repr::Text(text) if text.len() > MADE_ID_BYTES_MAX => {
                Self(Repr::Text(made::bounded(text).into()))
            }
            Repr::Uuid(..) | Repr::Text(_) => self.clone(),
        }
    }
}

impl InstanceId {
    /// An id read back from where this program wrote it: any text.
    pub fn from_stored(text: &str) -> Self {
        Self(Repr::parse(text))
    }

    /// The instance id that the `n`th creation of an event makes: a UUIDv8 of the event's id, in
    /// the partition that `routing` hashes to, so that a redelivered creation finds the first.
    pub fn derive(cause: &EventId, n: u32, routing: Option<u16>) -> Self {
        let seed = format!("{cause}.{n}");
        let low = stable_hash(seed.as_bytes());
        let high = stable_hash(&[seed.as_bytes(), b"#"].concat());
        Self::from_uuid(uuid_v8(u128::from(high) << 64 | u128::from(low), routing))
    }

    /// The first 16 bits of the id's place: those of a UUIDv8, else a hash of the text.
    pub fn route(&self) -> u16 {
        match &self.0 {
            Repr::Uuid(high, _) if high >> 12 & 0xF == 8 => top16(*high),
            Repr::Uuid(high, low) => route_of(write_uuid(*high, *low, &mut [0; 36])),
            Repr::Text(text) => route_of(text),
        }
    }
}

/// A slice of the instances; it lives on one shard at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

/// How many partitions a deployment has: a power of two from 1 to 65 536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount(u32);

impl PartitionCount {
    /// 256, the default.
    pub const DEFAULT: Self = Self(256);

    /// A count, if it is a power of two from 1 to 65 536.
    pub fn new(count: u32) -> Option<Self> {
        (count.is_power_of_two() && count <= 65_536).then_some(Self(count))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The partition of an instance: the top bits of its route.
    pub fn partition(self, id: &InstanceId) -> Partition {
        self.partition_of_route(id.route())
    }

    /// The partition of 16 routing bits.
    pub fn partition_of_route(self, route: u16) -> Partition {
        let bits = self.0.trailing_zeros();
        let shifted = u32::from(route) >> (16 - bits);
        Partition(u16::try_from(shifted).expect("16 bits shifted right fit 16 bits"))
    }
}

/// The id of the one instance of a singleton machine.
pub fn singleton_id(
    tenant: &TenantId,
    component: &ComponentName,
    machine: &MachineName,
) -> InstanceId {
    let seed = format!("{tenant}/{component}/{machine}");
    let (high, low) = (
        stable_hash(seed.as_bytes()),
        stable_hash(format!("{seed}#").as_bytes()),
    );
    InstanceId::from_uuid(uuid_v8(u128::from(high) << 64 | u128::from(low), None))
}

/// The id of the instance that a caller's key makes: the same key for the same machine names the
/// same instance.
pub fn keyed_instance_id(
    tenant: &TenantId,
    component: &ComponentName,
    machine: &MachineName,
    key: &EventId,
) -> InstanceId {
    let seed = format!("{tenant}\0{component}\0{machine}\0{key}");
    let (high, low) = (
        stable_hash(seed.as_bytes()),
        stable_hash(format!("{seed}#").as_bytes()),
    );
    InstanceId::from_uuid(uuid_v8(u128::from(high) << 64 | u128::from(low), None))
}

/// The 16 routing bits of a text: the same on every host and in every release.
pub fn route_of(text: &str) -> u16 {
    top16(stable_hash(text.as_bytes()))
}

/// Turns 128 arbitrary bits into a UUIDv8 (RFC 9562, section 5.8), its first 16 bits replaced by
/// `route` if given.
pub fn uuid_v8(bits: u128, route: Option<u16>) -> u128 {
    let bits = route.map_or(bits, |route| {
        bits & (u128::MAX >> 16) | u128::from(route) << 112
    });
    bits & !(0xF << 76) & !(0b11 << 62) | 8 << 76 | 0b10 << 62
}

/// FNV-1a over the bytes, finished with the mixer of SplitMix64. Part of the id format: never
/// change it.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ fnv >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn top16(bits: u64) -> u16 {
    u16::try_from(bits >> 48).expect("the top 16 of 64 bits fit 16 bits")
}

const DASHES: [usize; 4] = [8, 13, 18, 23];

/// Reads a UUID in its canonical form: 36 characters, lower case.
fn parse_uuid(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    text.bytes()
        .enumerate()
        .try_fold(0_u128, |bits, (position, byte)| {
            let digit = match byte {
                b'-' if DASHES.contains(&position) => return Some(bits),
                _ if DASHES.contains(&position) => return None,
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            Some(bits << 4 | u128::from(digit))
        })
}

fn write_uuid(high: u64, low: u64, buffer: &mut [u8; 36]) -> &str {
    let (high, low) = (hex(high), hex(low));
    let parts = [&high[..8], &high[8..12], &high[12..], &low[..4], &low[4..]];
    let mut at = 0;
    for part in parts {
        if at > 0 {
            buffer[at] = b'-';
            at += 1;
        }
        buffer[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    ascii(buffer)
}

/// The digits of a number to the base of 16.
fn hex(bits: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (two, byte) in digits.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        two[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        two[1] = b"0123456789abcdef"[usize::from(byte & 0xF)];
    }
    digits
}

fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("hexadecimal digits and dashes are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_and_written_unchanged() {
        let text = "b7a9c7de-0000-8000-8000-00000000abcd";
        assert_eq!(InstanceId::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn upper_case_uuids_stay_the_text_they_are() {
        let text = "B7A9C7DE-0000-8000-8000-00000000ABCD";
        assert_eq!(EventId::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn a_caller_cannot_choose_an_id_with_other_characters() {
        for bad in ["", "a b", "ä", "a/b", &"x".repeat(129)] {
            assert_eq!(InstanceId::parse(bad), Err(InvalidId));
        }
    }

    #[test]
    fn an_id_stays_short_however_long_the_chain_is() {
        let root = EventId::parse(&"r".repeat(ID_BYTES_MAX)).unwrap();
        let mut seen = std::collections::HashSet::new();
        let (mut tick, mut send) = (root.clone(), root);
        for _ in 0..5_000 {
            (tick, send) = (tick.timer(1), send.derive(u32::MAX));
            for id in [&tick, &send, &send.replay(1), &send.at(&instance("i"))] {
                assert!(id.to_string().len() <= MADE_ID_BYTES_MAX, "{id}");
                assert!(seen.insert(id.clone()), "{id} was made twice");
            }
        }
        assert!(tick.to_string().starts_with("rrrrrrrr"), "{tick}");
    }

    #[test]
    fn nobody_can_choose_an_id_that_the_host_shortened() {
        let mut id = EventId::parse("tick").unwrap();
        while !made::is_shortened(&id.to_string()) {
            id = id.timer(1);
        }
        assert_eq!(EventId::parse(&id.to_string()), Err(InvalidId));
        assert_eq!(EventId::received(&id.to_string()), Ok(id));
    }

    #[test]
    fn what_an_older_version_made_is_known_by_its_shorter_id() {
        let long = EventId::from_stored(&format!("tick{}", ".t1".repeat(30_000)));
        let of_old = |ending: &str| EventId::from_stored(&format!("{long}{ending}")).bounded();
        assert_eq!(of_old(".7"), long.derive(7));
        assert_eq!(of_old(".t2"), long.timer(2));
        assert_eq!(of_old(".r3"), long.replay(3));
        let chosen = EventId::from_stored(&format!("{long}~{}", "0f".repeat(8)));
        assert!(chosen.bounded().to_string().ends_with("~0f0f0f0f0f0f0f0f"));
        assert_eq!(of_old(".7").bounded(), of_old(".7"));
    }

    #[test]
    fn another_host_may_not_send_any_text_as_an_id() {
        for bad in ["", "a\0b", "a b"] {
            assert_eq!(EventId::received(bad), Err(InvalidId));
        }
        let long = EventId::received(&"x".repeat(1 << 20)).unwrap();
        assert!(long.to_string().len() <= MADE_ID_BYTES_MAX);
    }

    fn instance(id: &str) -> InstanceId {
        InstanceId::parse(id).unwrap()
    }

    #[test]
    fn the_routing_bits_decide_the_partition() {
        let id = InstanceId::from_uuid(uuid_v8(u128::MAX / 3, Some(0xAB12)));
        assert_eq!(PartitionCount::DEFAULT.partition(&id), Partition(0xAB));
        assert_eq!(PartitionCount::new(1).unwrap().partition(&id), Partition(0));
        assert_eq!(
            PartitionCount::new(65_536).unwrap().partition(&id),
            Partition(0xAB12)
        );
    }

    #[test]
    fn the_hash_of_a_text_never_changes() {
        assert_eq!(route_of("ORD-1"), route_of("ORD-1"));
        assert_eq!(stable_hash(b""), 0xf52a_15e9_a9b5_e89b);
    }
}
