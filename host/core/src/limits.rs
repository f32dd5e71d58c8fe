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

/// Findings that one check lists; the rest is counted. More would help nobody, and each repeats
/// names that the definition may choose freely.
pub const FINDINGS_MAX: usize = 100;

/// Longest message, path or help of a finding, in bytes.
pub const FINDING_BYTES_MAX: usize = 512;

/// Transitions that may be tried for one event in one state, and those of a state that fire by
/// themselves. Each may ask a guard or hold a timer.
pub const CHOICES_MAX: usize = 256;

/// Matching rules that may be looked at for one event in one state, and different lists of rules
/// that a broadcast of one event may look up. Each reads two properties.
pub const RULES_MAX: usize = 512;

/// Properties of one machine's instances that an index is kept for. Each costs every instance
/// eight bytes, and every change a look at the context.
pub const INDEXED_MAX: usize = 64;

/// Longest dotted path, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;

/// Size of one `pattern` of a `contextSchema`, about the states of its automaton.
pub const PATTERN_SIZE_MAX: usize = 5_000;

/// The same for all different patterns of a definition together, each of which counts at least
/// [`PATTERN_SIZE_MIN`]: about 10 MB when all of them are in use.
pub const PATTERNS_SIZE_MAX: usize = 100_000;

/// What even the smallest pattern counts: a matcher has a fixed cost.
pub const PATTERN_SIZE_MIN: usize = 250;

/// Steps that matching one context against its schema's patterns may take: bytes of text times
/// size of the pattern. A fraction of a second in the worst case.
pub const PATTERN_STEPS_MAX: usize = 32_000_000;

/// Fields of a schema that one refusal names.
pub const VIOLATIONS_MAX: usize = 100;

/// Bytes of what one refusal says of fields, unless the first of them takes more.
pub const VIOLATIONS_BYTES_MAX: usize = 4 << 10;

/// What the cascading rules of one state may send at once, in bytes of payloads.
pub const SENT_BYTES_MAX: usize = 16 << 20;

/// Longest value that an ignored event's reason shows, in bytes of JSON.
pub const SHOWN_VALUE_BYTES_MAX: usize = 256;

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

/// Payload bytes that one credit pays for; smaller payloads are free. So one event from outside
/// causes deliveries of at most 10 000 × 16 KiB = 160 MiB, and a document of the largest size still
/// passes through a chain of the greatest depth.
pub const CREDIT_BYTES: usize = 16 << 10;

/// What a waiting event costs besides its payload: its ids, names and place in a mailbox.
pub const LETTER_BYTES: usize = 512;

/// Payloads smaller than this stay in memory: reading them again costs more than they hold.
pub const SPILLED_BYTES_MIN: usize = 128;

/// What a record costs besides the texts in it: its row and what the store keeps beside it.
pub const RECORD_BYTES: usize = 512;

/// What an instance in memory costs besides its context.
pub const INSTANCE_BYTES: usize = 1 << 10;

/// Instances that wait for their turn above which no further deadlines are met: these wait in the
/// order in which they are due, and cost nothing there.
pub const DUE_MAX: usize = 16_384;

/// Roots whose spent credits a shard remembers; only chains that select across shards need it.
pub const CASCADE_ROOTS_MAX: usize = 65_536;

/// Transitions in one record's list of effects.
pub const SENDS_PER_TRANSITION_MAX: usize = 1_000;

/// Events one instance may have deferred.
pub const DEFERRED_MAX: usize = 100;

/// Delayed sends one instance may have outstanding.
pub const TIMERS_MAX: usize = 1_000;

/// Bytes of deferred events and delayed sends that may wait at one instance: fifteen of the largest,
/// and every small one that the numbers above allow. Reading an instance back takes that much memory
/// at most, and the event of a retry, which is never refused.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

/// What anything that waits counts for besides its payload: ids, its cause, its row.
pub const WAITING_OVERHEAD_BYTES: usize = 1 << 10;

/// Furthest a timer or delayed send may lie ahead: a hundred years.
pub const DELAY_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3_600);

/// Limits that an operator may change; the defaults are those of the documentation.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Events waiting at one instance above which events from outside are refused.
    pub mailbox_max: usize,
    /// Bytes of events waiting at one instance. Beyond it events from outside are refused, and
    /// payloads of internal deliveries stay in the log.
    pub mailbox_bytes_max: usize,
    /// Bytes of events waiting on a shard; beyond it the same. From half of it on a component that
    /// has more than its share is refused.
    pub queue_bytes_max: usize,
    /// Payloads of internal deliveries that may stay in the log: those of so many bytes and more;
    /// none where the store is in memory itself.
    pub spills_from: Option<usize>,
    /// Bytes of records of a shard that are not durable, above which events from outside for a
    /// component are refused that has more than its share of them.
    pub commit_bytes_max: usize,
    /// Queued internal deliveries, unperformed effects and records that are not durable, of a shard,
    /// above which events from outside for a component are refused that has more than its share of
    /// them.
    pub debt_soft_max: usize,
    /// Queued internal deliveries and unperformed effects above which an internal delivery becomes
    /// a dead letter: a quota that back-pressure keeps out of reach.
    pub debt_hard_max: usize,
    /// Instances one broadcast may reach on a shard.
    pub broadcast_matched_max: usize,
    /// Instances handed an event by one step of a selection, before other work gets its turn.
    pub selection_slice: usize,
    /// Live instances on a shard; further creations are refused.
    pub instances_max: usize,
    /// Bytes of instances in memory above which idle ones leave it early, the least recently used
    /// first; where they leave it at all.
    pub instance_bytes_max: usize,
    /// How long nothing happens to an instance before it leaves memory; none = it never does.
    pub passivate_after: Option<Duration>,
    /// Bytes that a shard holds of callers' keys, 64 for each; the store alone knows those that are
    /// older.
    pub remembered_bytes_max: usize,
    /// How long a key is remembered at least, by the shard or the store.
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
            mailbox_bytes_max: 8 << 20,
            queue_bytes_max: 64 << 20,
            spills_from: None,
            commit_bytes_max: 64 << 20,
            debt_soft_max: 100_000,
            debt_hard_max: 2_000_000,
            broadcast_matched_max: 1_000_000,
            selection_slice: 1_000,
            instances_max: 20_000_000,
            instance_bytes_max: usize::MAX,
            passivate_after: Some(Duration::from_secs(600)),
            remembered_bytes_max: 256 << 20,
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
