//! What can be asked of a store, and the shapes of its answers.

mod kind;
mod slices;

use std::{collections::BTreeMap, fmt, sync::Arc};

use xcomponent_core::{
    definition::{OnLive, Operator},
    id::{ComponentName, Digest, InstanceId, MachineName, StateName, TenantId, Version},
    json::{Json, Path},
    record::{Body, DeadLetter, Record, Snapshot, Status},
    time::Timestamp,
};

pub use self::kind::Kind;
use super::{Entry, Position, Result, weight::Weighed};

pub(super) use self::slices::Slices;

/// Items on one page at most.
pub const PAGE_MAX: usize = 1_000;

/// Bytes that the items of one page occupy at most, roughly; a page has at least one item.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// Entries in one answer to a trace at most.
pub const TRACE_MAX: usize = 10_000;

/// Bytes that these occupy at most, roughly.
pub const TRACE_BYTES_MAX: usize = 8 << 20;

/// Bytes that the records of one stretch of the log occupy at most, roughly; a stretch in which
/// something passes has at least one record.
pub const STRETCH_BYTES_MAX: usize = 1 << 20;

/// Where the next page begins. Opaque to everybody but the store that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Which page.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// What the page before said; none = the first.
    pub after: Option<Cursor>,
    /// Items wanted; the store gives at most [`PAGE_MAX`].
    pub limit: usize,
}

impl PageRequest {
    /// The first page, of this size.
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// Items the store may give, at least one.
    pub fn bounded(self) -> usize {
        self.limit.clamp(1, PAGE_MAX)
    }
}

/// Whether a record is part of its instance's history.
pub(super) fn is_shown(body: &Body) -> bool {
    matches!(body, Body::Handled(_) | Body::Moved(_))
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next begins; none = this was the last.
    pub next: Option<Cursor>,
}

/// A page while it is filled.
pub(super) struct Found<T> {
    items: Vec<T>,
    /// How many were taken, those among them that cannot be read.
    seen: usize,
    last: u64,
    limit: usize,
    /// What the items occupy.
    bytes: usize,
    more: bool,
}

impl<T: Weighed> Found<T> {
    /// An empty one.
    pub(super) fn new(page: PageRequest) -> Self {
        Self {
            items: Vec::new(),
            seen: 0,
            last: 0,
            limit: page.bounded(),
            bytes: 0,
            more: false,
        }
    }

    /// Takes one more item; false if the page is full without it, in items or in bytes.
    pub(super) fn take(&mut self, position: u64, item: impl FnOnce() -> T) -> bool {
        self.more |= self.seen == self.limit;
        if self.more {
            return false;
        }
        self.take_or_pass(position, Some(item()))
    }

    /// The same for something that may not be readable: then it has a place and nothing in it.
    pub(super) fn take_or_pass(&mut self, position: u64, item: Option<T>) -> bool {
        self.bytes += item.as_ref().map_or(0, Weighed::weight);
        let is_too_large = self.bytes > PAGE_BYTES_MAX && !self.items.is_empty();
        self.more |= self.seen == self.limit || is_too_large;
        if !self.more {
            self.last = position;
            self.seen += 1;
            self.items.extend(item);
        }
        !self.more
    }

    /// The search ended here, although the page is not full.
    pub(super) fn goes_on_after(&mut self, position: u64) {
        if !self.more {
            self.more = true;
            self.last = position;
        }
    }

    /// The page, and where the next begins.
    pub(super) fn into_page(self) -> Page<T> {
        Page {
            items: self.items,
            next: self.more.then_some(Cursor(self.last)),
        }
    }
}

/// Instances that are looked at for one page, and the bytes of their contexts: where few pass, a page
/// ends before it is full.
const LOOKED_AT_MAX: usize = 100_000;
const LOOKED_AT_BYTES_MAX: usize = 64 << 20;

/// How far a search may still go.
pub(super) struct Search {
    items: usize,
    bytes: usize,
}

impl Search {
    /// One for a page.
    pub(super) fn for_page() -> Self {
        Self {
            items: LOOKED_AT_MAX,
            bytes: LOOKED_AT_BYTES_MAX,
        }
    }

    /// One for all there is.
    pub(super) fn for_all() -> Self {
        Self {
            items: usize::MAX,
            bytes: usize::MAX,
        }
    }

    /// An instance with so many bytes was looked at.
    pub(super) fn looked_at(&mut self, bytes: usize) {
        self.items = self.items.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether that is enough.
    pub(super) fn is_over(&self) -> bool {
        self.items == 0 || self.bytes == 0
    }
}

/// Bytes that are left for what is gathered.
pub(super) struct Room {
    left: usize,
    is_empty: bool,
}

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            is_empty: true,
        }
    }

    /// Takes the room for an item; false if there is not enough left. The first always fits.
    pub(super) fn has_room_for(&mut self, item: &impl Weighed) -> bool {
        let left = self.left.checked_sub(item.weight());
        let fits = left.is_some() || self.is_empty;
        self.is_empty = false;
        self.left = left.unwrap_or_default();
        fits
    }
}

/// Bytes that entries occupy, roughly.
pub fn bytes_of(entries: &[Entry]) -> usize {
    entries.iter().map(Weighed::weight).sum()
}

/// Whether something may be missing at the end of a trace.
pub fn is_cut(trace: &[Entry]) -> bool {
    trace.len() >= TRACE_MAX || bytes_of(trace) >= TRACE_BYTES_MAX
}

/// Takes entries of a trace, oldest first: at most `limit`, and none after [`TRACE_BYTES_MAX`].
pub(super) fn gather_trace(
    entries: impl Iterator<Item = Result<Entry>>,
    limit: usize,
) -> Result<Vec<Entry>> {
    let (mut trace, mut bytes) = (Vec::new(), 0);
    for entry in entries.take(limit) {
        let entry = entry?;
        bytes += entry.weight();
        trace.push(entry);
        if bytes >= TRACE_BYTES_MAX {
            break;
        }
    }
    Ok(trace)
}

/// Which instances; what is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct InstanceFilter {
    /// Of this component.
    pub component: Option<ComponentName>,
    /// Of this machine.
    pub machine: Option<MachineName>,
    /// In this state.
    pub state: Option<StateName>,
    /// Active, completed, error or terminated.
    pub status: Option<Status>,
    /// On this version.
    pub version: Option<Version>,
    /// All of these hold.
    pub conditions: Vec<Where>,
    /// This text stands in the id or the context.
    pub text: Option<String>,
}

impl InstanceFilter {
    /// Whether an instance passes. A deleted one never does.
    pub fn passes(&self, instance: &Snapshot) -> bool {
        let matches_kind = !instance.is_deleted()
            && same(&self.component, instance.component())
            && same(&self.machine, &instance.machine().name)
            && same(&self.state, &instance.state().name)
            && same(&self.status, &instance.status)
            && same(&self.version, &instance.deployment.definition.version);
        matches_kind && self.passes_content(instance)
    }

    /// Whether instances of a kind pass, as far as their kind decides.
    pub fn passes_kind(&self, kind: &InstanceCount) -> bool {
        kind.status != Status::Deleted
            && same(&self.component, &kind.component)
            && same(&self.machine, &kind.machine)
            && same(&self.state, &kind.state)
            && same(&self.status, &kind.status)
            && same(&self.version, &kind.version)
    }

    /// Whether the kind alone decides.
    pub(super) fn is_about_kinds(&self) -> bool {
        self.conditions.is_empty() && self.text.is_none()
    }

    fn passes_content(&self, instance: &Snapshot) -> bool {
        let holds = |condition: &Where| {
            let value = instance.context.raw(&condition.path);
            let expected = condition.value.tree();
            value.is_some_and(|value| condition.operator.holds(&value.tree(), &expected))
        };
        let has = |text: &String| {
            instance.context.says(text) || instance.id.to_string().contains(&**text)
        };
        self.conditions.iter().all(holds) && self.text.as_ref().is_none_or(has)
    }
}

/// `context.path OP value`, compared as matching rules compare.
#[derive(Clone, Debug)]
pub struct Where {
    /// Path into the context (or public member).
    pub path: Path,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: Json,
}

/// How many instances there are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceCount {
    /// Of which component.
    pub component: ComponentName,
    /// On which version.
    pub version: Version,
    /// Of which machine.
    pub machine: MachineName,
    /// In which state.
    pub state: StateName,
    /// Active, completed, error or terminated.
    pub status: Status,
    /// How many.
    pub instances: u64,
}

impl InstanceCount {
    /// No instance of the kind that this one is of.
    pub(super) fn none_like(instance: &Snapshot) -> Self {
        Self {
            component: instance.component().clone(),
            version: instance.deployment.definition.version.clone(),
            machine: instance.machine().name.clone(),
            state: instance.state().name.clone(),
            status: instance.status,
            instances: 0,
        }
    }
}

/// Instances by kind, while they are counted.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<InstanceCount, u64>);

impl Counts {
    /// So many more of a kind.
    pub(super) fn add(&mut self, kind: InstanceCount, instances: u64) {
        *self.0.entry(kind).or_default() += instances;
    }

    /// The kinds that pass and of which there are any.
    pub(super) fn passing(self, filter: &InstanceFilter) -> Vec<InstanceCount> {
        let counted = self.0.into_iter();
        counted
            .filter(|(kind, instances)| *instances > 0 && filter.passes_kind(kind))
            .map(|(kind, instances)| InstanceCount { instances, ..kind })
            .collect()
    }
}

/// Which records; what is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// About this component.
    pub component: Option<ComponentName>,
    /// About this machine.
    pub machine: Option<MachineName>,
    /// About this instance.
    pub instance: Option<InstanceId>,
    /// One of these kinds; empty = all.
    pub kinds: Vec<Kind>,
}

impl RecordFilter {
    /// Whether a record passes.
    pub fn passes(&self, record: &Record) -> bool {
        let subject = Subject::of(&record.body);
        (self.kinds.is_empty() || self.kinds.contains(&Kind::of(record)))
            && matches(&self.component, subject.component)
            && matches(&self.machine, subject.machine)
            && matches(&self.instance, subject.instance)
    }
}

/// What a record is about.
struct Subject<'r> {
    component: Option<&'r ComponentName>,
    machine: Option<&'r MachineName>,
    instance: Option<&'r InstanceId>,
}

impl<'r> Subject<'r> {
    fn of(body: &'r Body) -> Self {
        match body {
            Body::Handled(handled) => Self::of_instance(&handled.after),
            Body::Departed(departed) => Self::of_instance(&departed.after),
            Body::Moved(instance) => Self::of_instance(instance),
            Body::Selected(selected) => Self {
                component: Some(&selected.selector.component),
                machine: selected.selector.machine.as_ref(),
                instance: None,
            },
            Body::Parked(letter) => Self {
                component: Some(&letter.component),
                machine: letter.machine.as_ref(),
                instance: letter.instance.as_ref(),
            },
            Body::Received(_) => Self {
                component: None,
                machine: None,
                instance: None,
            },
            Body::Discarded(discarded) => Self {
                component: None,
                machine: None,
                instance: discarded.instance.as_ref(),
            },
        }
    }

    fn of_instance(instance: &'r Snapshot) -> Self {
        Self {
            component: Some(instance.component()),
            machine: Some(&instance.machine().name),
            instance: Some(&instance.id),
        }
    }
}

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct Tail {
    /// What passed the filter, oldest first.
    pub entries: Vec<Entry>,
    /// How far the log was looked at: where to go on from.
    pub through: Position,
}

impl Tail {
    /// Takes what passes of the entries between two positions, oldest first; at most `limit`, and
    /// no more than [`STRETCH_BYTES_MAX`].
    pub(super) fn gather(
        mut entries: impl Iterator<Item = Result<Entry>>,
        filter: &RecordFilter,
        (after, through): (Position, Position),
        limit: usize,
    ) -> Result<Self> {
        let mut tail = Self {
            entries: Vec::new(),
            through: after,
        };
        let mut room = Room::new(STRETCH_BYTES_MAX);
        while let Some(entry) = entries.next().transpose()? {
            let passes = filter.passes(&entry.record);
            if tail.entries.len() == limit || passes && !room.has_room_for(&entry) {
                return Ok(tail);
            }
            tail.through = entry.position;
            if passes {
                tail.entries.push(entry);
            }
        }
        tail.through = through.max(after);
        Ok(tail)
    }
}

/// A parked event and where it stands in the log.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it was parked.
    pub position: Position,
    /// The parked event; a replay in vain counts as one of its attempts.
    pub letter: Arc<DeadLetter>,
}

/// Which parked events; what is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// For this component.
    pub component: Option<ComponentName>,
    /// For this machine.
    pub machine: Option<MachineName>,
    /// For this instance.
    pub instance: Option<InstanceId>,
    /// Parked for this reason (`Parked::code`).
    pub code: Option<String>,
}

impl LetterFilter {
    /// Whether a parked event passes.
    pub fn passes(&self, letter: &DeadLetter) -> bool {
        same(&self.component, &letter.component)
            && matches(&self.machine, letter.machine.as_ref())
            && matches(&self.instance, letter.instance.as_ref())
            && self
                .code
                .as_ref()
                .is_none_or(|code| code == letter.why.code())
    }
}

/// A version of a component as it was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentVersion {
    /// Whose.
    pub tenant: TenantId,
    /// Of which component.
    pub component: ComponentName,
    /// Which.
    pub version: Version,
    /// SHA-256 of the artifact.
    pub digest: Digest,
    /// Bytes of the artifact.
    pub size: u64,
    /// The definition, byte for byte.
    pub definition: Arc<str>,
    /// When it was uploaded.
    pub uploaded: Timestamp,
    /// Whether new instances run on it.
    pub active: bool,
    /// What happened to live instances when it was activated last.
    pub on_live: OnLive,
    /// When it was activated last, 0 = never; in any case a higher number than that of what was
    /// activated before it. Earlier versions of the host counted activations from 1. A rollback goes to
    /// the highest below the active one's.
    pub activation: u64,
}

impl ComponentVersion {
    /// When it was activated last, if that is known.
    pub fn activated(&self) -> Option<Timestamp> {
        /// The year 2001 in milliseconds: more than anybody has counted, less than any clock says.
        const EARLIEST: u64 = 1_000_000_000_000;
        (self.activation >= EARLIEST).then_some(Timestamp(self.activation))
    }
}

/// Whether something is what was asked for, if anything was.
fn same<T: PartialEq>(wanted: &Option<T>, actual: &T) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted == actual)
}

/// The same for what may be missing.
fn matches<T: PartialEq>(wanted: &Option<T>, actual: Option<&T>) -> bool {
    wanted.as_ref().is_none_or(|wanted| actual == Some(wanted))
}
