//! Rows of `waiting`: what waits at an instance with its payload, and what a batch changes of it.

use std::collections::BTreeMap;

use xcomponent_core::{
    id::EventId,
    json::Json,
    record::{Extra, Snapshot, Timer, Waiting, WaitingKind},
};

use super::{
    Cell, Column, Columns, Links,
    instance::{extra_text, read_waits, timers_text},
    number, text, unsigned,
};
use crate::store::{
    Entry, Result,
    stored::{Malformed, read_waiting_text, waiting_text, word},
};

/// The columns of `waiting`, in the order of [`WaitingRow::cells`].
pub(in crate::store) const WAITING_COLUMNS: [Column; 10] = [
    number("instance"),
    text("kind"),
    text("event_id"),
    number("tenant"),
    number("position"),
    number("n"),
    number("due"),
    text("event"),
    text("payload"),
    text("waiting_json"),
];

/// Reads rows of `waiting`, for [`Gathered::add`].
pub(in crate::store) const SELECT_WAITING: &str =
    "SELECT w.instance, w.kind, w.due, w.waiting_json, w.position, w.n, w.payload FROM waiting w";

/// The same without payloads: what waits is only named.
pub(in crate::store) const SELECT_NAMES: &str =
    "SELECT w.instance, w.kind, w.due, w.waiting_json, w.position, w.n, CAST(NULL AS text)
     FROM waiting w";

/// What names something that waits: the number of its instance, why, and which event.
type Key<'r> = (i64, WaitingKind, &'r EventId);

/// What a batch changes of what waits: of each name the last that its records say.
#[derive(Default)]
pub(in crate::store) struct WaitingChanges<'r> {
    changes: BTreeMap<Key<'r>, Option<WaitingRow<'r>>>,
}

/// Something that waits, as a row.
pub(in crate::store) struct WaitingRow<'r> {
    instance: i64,
    tenant: i64,
    /// The record that it began with, and its place among what began with it.
    position: u64,
    n: u64,
    waiting: &'r Waiting,
}

impl<'r> WaitingChanges<'r> {
    pub(in crate::store) fn of(links: &[Links], entries: &'r [Entry]) -> Self {
        let mut changes = BTreeMap::new();
        for (links, entry) in links.iter().zip(entries) {
            let Some((instance, _)) = links.instance else {
                continue;
            };
            let body = &entry.record.body;
            for (kind, id) in body.ended() {
                changes.insert((instance, kind, id), None);
            }
            for (n, began) in (0..).zip(body.began()) {
                let row = began.what.as_ref().map(|waiting| WaitingRow {
                    instance,
                    tenant: links.tenant,
                    position: links.position,
                    n,
                    waiting,
                });
                changes.insert((instance, began.kind, &began.id), row);
            }
        }
        Self { changes }
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What waits no more.
    pub(in crate::store) fn gone(&self) -> impl Iterator<Item = Key<'r>> {
        let gone = self.changes.iter().filter(|(_, row)| row.is_none());
        gone.map(|(key, _)| *key)
    }

    /// What waits from now on; it replaces what waits under the same name.
    pub(in crate::store) fn rows(&self) -> impl Iterator<Item = &WaitingRow<'r>> {
        self.changes.values().flatten()
    }
}

impl<'r> WaitingRow<'r> {
    /// Bytes of it, about.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.waiting.weight()
    }

    pub(in crate::store) fn cells(&self) -> [Cell<'r>; WAITING_COLUMNS.len()] {
        let event = self.waiting.event();
        [
            self.instance.into(),
            self.waiting.kind().as_str().into(),
            event.id.to_string().into(),
            self.tenant.into(),
            self.position.into(),
            self.n.into(),
            self.waiting.due().map(|due| due.0).into(),
            event.name.as_str().into(),
            event.payload.as_str().into(),
            waiting_text(self.waiting).into(),
        ]
    }
}

/// What waits at an instance, gathered row by row.
#[derive(Default)]
pub(in crate::store) struct Gathered {
    rows: Vec<((u64, u64), Waiting)>,
}

impl Gathered {
    /// Adds a row that [`SELECT_WAITING`] or [`SELECT_NAMES`] read.
    pub(in crate::store) fn add(&mut self, row: &impl Columns) -> Result<()> {
        let kind = word(row.text(1)?, WaitingKind::parse, "reason to wait")?;
        let due = row.number(2)?.map(unsigned);
        let mut waiting = read_waiting_text(kind, due, row.text(3)?)?;
        if let Some(payload) = row.optional_text(6)? {
            waiting = waiting.carrying(Json::of_stored(payload).map_err(Malformed::from)?);
        }
        let place = (row.bits(4)?, row.bits(5)?);
        self.rows.push((place, waiting));
        Ok(())
    }

    /// Gives the instance what waits at it, in the order in which it began.
    pub(in crate::store) fn attach(mut self, snapshot: Snapshot) -> Snapshot {
        self.rows.sort_by_key(|(place, _)| *place);
        snapshot.with_waiting(self.rows.into_iter().map(|(_, waiting)| waiting))
    }
}

/// A row of `instances` from before schema 6, which has all that waits in it.
pub(in crate::store) struct OldRow {
    pub(in crate::store) instance: i64,
    pub(in crate::store) tenant: i64,
    /// Its last record.
    pub(in crate::store) last: i64,
    timers: Vec<Timer>,
    extra: Extra,
    waiting: Vec<Waiting>,
}

/// Reads rows of `instances` that may have something waiting in them, one at a time: each may be as
/// large as memory allows.
pub(in crate::store) const OLD_ROWS: &str =
    "SELECT i.instance, i.tenant, i.last, i.timers_json, i.extra_json FROM instances i
     WHERE (i.timers_json LIKE '%\"send\":{%' OR i.extra_json IS NOT NULL)";

impl OldRow {
    pub(in crate::store) fn read(row: &impl Columns) -> Result<Self> {
        let (timers, extra) = read_waits(row.optional_text(3)?, row.optional_text(4)?)?;
        let extra = extra.unwrap_or_default();
        let waiting: Vec<_> = extra.items().collect();
        Ok(Self {
            instance: row.integer(0)?,
            tenant: row.integer(1)?,
            last: row.integer(2)?,
            timers,
            extra: Extra {
                waiting: waiting.iter().map(|item| item.weight() as u64).sum(),
                held: extra.held,
                ..Extra::default()
            },
            waiting,
        })
    }

    /// What is to be in `timers_json` and `extra_json`.
    pub(in crate::store) fn texts(&self) -> (Option<String>, Option<String>) {
        let extra = Some(&self.extra).filter(|extra| !extra.is_empty());
        (timers_text(&self.timers), extra_text(extra))
    }

    /// What waits, as rows. Of two under one name the later one counts.
    pub(in crate::store) fn rows(&self) -> Vec<WaitingRow<'_>> {
        let row = |(n, waiting)| WaitingRow {
            instance: self.instance,
            tenant: self.tenant,
            position: unsigned(self.last),
            n,
            waiting,
        };
        let rows = (0..).zip(&self.waiting).map(row);
        let by_name: BTreeMap<Key<'_>, WaitingRow<'_>> = rows
            .map(|row| {
                let event = row.waiting.event();
                ((self.instance, row.waiting.kind(), &event.id), row)
            })
            .collect();
        by_name.into_values().collect()
    }
}
