-- What a host keeps. Times are milliseconds since 1970-01-01T00:00:00Z.
-- Columns that end in `_json`, and parts that few rows have, are JSON.

CREATE TABLE tenants (
  tenant INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE
) STRICT;

-- Every version of a component that was ever saved. One that was deleted stays for the history.
CREATE TABLE versions (
  version    INTEGER PRIMARY KEY,
  tenant     INTEGER NOT NULL REFERENCES tenants,
  component  TEXT    NOT NULL,
  label      TEXT    NOT NULL,
  digest     BLOB    NOT NULL,
  size       INTEGER NOT NULL,
  definition TEXT    NOT NULL,
  uploaded   INTEGER NOT NULL,
  active     INTEGER NOT NULL,
  on_live    TEXT    NOT NULL,
  activation INTEGER NOT NULL,
  deleted    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX versions_by_label ON versions (tenant, component, label) WHERE deleted = 0;

-- The components themselves, by the SHA-256 of their bytes.
CREATE TABLE artifacts (
  digest  BLOB PRIMARY KEY,
  content BLOB NOT NULL
) STRICT;

-- Every instance, numbered in the order of creation. A row is written every few records and at
-- the end; `events` after `last` tell the rest (see `marks`).
CREATE TABLE instances (
  instance    INTEGER PRIMARY KEY,
  tenant      INTEGER NOT NULL REFERENCES tenants,
  id          TEXT    NOT NULL,
  version     INTEGER NOT NULL REFERENCES versions,
  machine     TEXT    NOT NULL,
  state       TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  context     TEXT    NOT NULL,
  seq         INTEGER NOT NULL,
  entry       INTEGER NOT NULL,
  created     INTEGER NOT NULL,
  updated     INTEGER NOT NULL,
  entered     INTEGER NOT NULL,
  origin      INTEGER NOT NULL,
  entry_point INTEGER NOT NULL,
  parent_json TEXT,
  timers_json TEXT,
  extra_json  TEXT,
  last        INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX instances_by_id ON instances (tenant, id);
CREATE INDEX instances_live ON instances (instance)
  WHERE status = 'active' OR entry_point = 1 OR timers_json IS NOT NULL;

-- The journal: one row for everything that happened, each whole in itself. `before` is the
-- position of the same instance's row before, so that a history is read backwards without an index
-- that every event would have to sort itself into.
CREATE TABLE events (
  position    INTEGER PRIMARY KEY,
  tenant      INTEGER NOT NULL REFERENCES tenants,
  at          INTEGER NOT NULL,
  kind        TEXT    NOT NULL,
  instance    INTEGER REFERENCES instances,
  before      INTEGER,
  version     INTEGER REFERENCES versions,
  seq         INTEGER,
  event_id    TEXT,
  event       TEXT,
  payload     TEXT,
  event_at    INTEGER,
  from_state  TEXT,
  to_state    TEXT,
  status      TEXT,
  context     TEXT,
  entry       INTEGER,
  entered     INTEGER,
  updated     INTEGER,
  fuel        INTEGER,
  attempts    INTEGER,
  -- The event from outside that this one follows from; null for that one itself.
  root        TEXT,
  timers_json TEXT,
  extra_json  TEXT,
  cause_json  TEXT,
  detail_json TEXT
) STRICT;

CREATE INDEX events_by_event_id ON events (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX events_by_root ON events (root) WHERE root IS NOT NULL;

-- Parked events that nobody has settled. `instance` is empty where none was chosen.
CREATE TABLE dead_letters (
  position    INTEGER PRIMARY KEY,
  tenant      INTEGER NOT NULL REFERENCES tenants,
  event_id    TEXT    NOT NULL,
  instance    TEXT    NOT NULL,
  component   TEXT    NOT NULL,
  machine     TEXT,
  code        TEXT    NOT NULL,
  letter_json TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX dead_letters_by_event ON dead_letters (tenant, event_id, instance);

-- Places in the journal. `covered`: rows of `instances` miss nothing up to here. `settled_below`:
-- everything that records before it sent has been received.
CREATE TABLE marks (
  name     TEXT PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO marks VALUES ('covered', 0), ('settled_below', 1);

-- How the shards were placed, and up to which record of each shard each has taken in selections.
CREATE TABLE taken_in (
  only       INTEGER PRIMARY KEY CHECK (only = 1),
  partitions INTEGER NOT NULL,
  rows_json  TEXT    NOT NULL
) STRICT;
