//! Every maximum of the core, with its reason. Being refused at one of them is a normal answer.

use crate::time::Duration;

/// Largest payload, context or answer of a guest, in bytes of JSON text. Large enough for a
/// document, small enough that a full mailbox stays far below a sandbox's memory.
pub const JSON_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of a JSON value. Recursive readers downstream (databases, browsers, guests)
/// are safe at this depth.
pub const JSON_DEPTH_MAX: usize = 64;

/// Longest name of a component, machine, state, event or method, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Machines in one component, states or transitions in one machine: 16-bit indexes are used.
pub const MACHINE_PARTS_MAX: usize = 10_000;

/// Largest definition, in bytes of YAML.
pub const DEFINITION_BYTES_MAX: usize = 4 << 20;

/// Depth of a chain of causes; an event from outside has depth 0.
pub const CASCADE_DEPTH_MAX: u16 = 64;

/// Steps of a chain of causes that are kept, the nearest ones: one more than a chain may be deep,
/// so that a dead letter shows the step that was too many. A chain that comes from another host or
/// out of a store may be longer.
pub const CHAIN_LINKS_MAX: usize = CASCADE_DEPTH_MAX as usize + 1;

/// Longest name of a stream of another host, in bytes: the name of its log, and of a component.
pub const STREAM_BYTES_MAX: usize = 256;

/// Streams of other hosts whose progress is remembered, for each shard. They are remembered for
/// ever, since what a sender repeats is known by its number, however late it comes; so that strangers
/// cannot fill the memory, beyond this no new stream begins.
pub const STREAMS_MAX: usize = 65_536;

/// Events that are held at an instance whose record cannot be read. More become dead letters.
pub const HELD_MAX: usize = 1_000;

/// Work that one event from outside may cause; divided among the deliveries of each transition.
pub const CASCADE_CREDITS: u32 = 10_000;

/// Roots whose spent credits a shard remembers; only chains that select across shards need it.
pub const CASCADE_ROOTS_MAX: usize = 65_536;

/// Transitions in one record's list of effects.
pub const SENDS_PER_TRANSITION_MAX: usize = 1_000;

/// Events one instance may have deferred.
pub const DEFERRED_MAX: usize = 100;

/// Delayed sends one instance may have outstanding.
pub const TIMERS_MAX: usize = 1_000;

/// Furthest a timer or delayed send may lie ahead: a hundred years.
pub const DELAY_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3_600);

/// Limits that an operator may change; the defaults are those of the documentation.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Events waiting at one instance, from outside; more are refused.
    pub mailbox_max: usize,
    /// Queued internal deliveries and unperformed effects of a shard above which events from
    /// outside are refused.
    pub debt_soft_max: usize,
    /// The same, above which an internal delivery becomes a dead letter.
    pub debt_hard_max: usize,
    /// Instances one broadcast may reach on a shard.
    pub broadcast_matched_max: usize,
    /// Instances handed an event by one step of a selection, before other work gets its turn.
    pub selection_slice: usize,
    /// Live instances on a shard; further creations are refused.
    pub instances_max: usize,
    /// How long nothing happens to an instance before it leaves memory; none = it never does.
    pub passivate_after: Option<Duration>,
    /// Answers to repeated ids that a shard remembers; further events with an id are refused.
    pub remembered_max: usize,
    /// How long an answer is remembered at least.
    pub dedup_retention: Duration,
    /// Faults in a row after which an instance is suspended.
    pub faults_in_row_max: u8,
    /// How long a suspended instance, or a component whose breaker opened, is left alone first.
    pub suspend_for: Duration,
    /// Window over which a breaker counts.
    pub breaker_window: Duration,
    /// Calls in the window below which a breaker never opens.
    pub breaker_calls_min: u32,
    /// Instances that must have called in the window before a breaker opens.
    pub breaker_instances_min: u32,
    /// Whether breakers and suspension are on at all.
    pub breaker: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mailbox_max: 10_000,
            debt_soft_max: 100_000,
            debt_hard_max: 2_000_000,
            broadcast_matched_max: 1_000_000,
            selection_slice: 1_000,
            instances_max: 20_000_000,
            passivate_after: Some(Duration::from_secs(600)),
            remembered_max: 10_000_000,
            dedup_retention: Duration::from_secs(7 * 24 * 3_600),
            faults_in_row_max: 5,
            suspend_for: Duration::from_secs(10),
            breaker_window: Duration::from_secs(10),
            breaker_calls_min: 50,
            breaker_instances_min: 5,
            breaker: true,
        }
    }
}
