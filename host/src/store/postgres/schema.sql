-- What a host keeps. Times are milliseconds since 1970-01-01T00:00:00Z.
-- Columns that end in `_json`, and `context`, `payload` and `definition`, hold texts byte for byte
-- as they came, which the type `jsonb` would not.

CREATE TABLE tenants (
  tenant bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name   text COLLATE "C" NOT NULL UNIQUE
);

-- Every version of a component that was ever saved. One that was deleted stays for the history.
CREATE TABLE versions (
  version    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant     bigint  NOT NULL REFERENCES tenants,
  component  text COLLATE "C" NOT NULL,
  label      text COLLATE "C" NOT NULL,
  digest     bytea   NOT NULL,
  size       bigint  NOT NULL,
  definition text    NOT NULL,
  uploaded   bigint  NOT NULL,
  active     boolean NOT NULL,
  on_live    text    NOT NULL,
  activation bigint  NOT NULL,
  deleted    boolean NOT NULL DEFAULT false
);

CREATE UNIQUE INDEX versions_by_label ON versions (tenant, component, label) WHERE NOT deleted;

-- The components themselves, by the SHA-256 of their bytes.
CREATE TABLE artifacts (
  digest  bytea PRIMARY KEY,
  content bytea NOT NULL
);

ALTER TABLE artifacts ALTER content SET STORAGE EXTERNAL;

-- Every instance, numbered by the host in the order of creation. A row is written every few records
-- and at the end; `events` after `last` tell the rest (see `marks`).
CREATE TABLE instances (
  instance    bigint PRIMARY KEY,
  tenant      bigint  NOT NULL REFERENCES tenants,
  id          text COLLATE "C" NOT NULL,
  created     bigint  NOT NULL,
  origin      bigint  NOT NULL,
  entry_point boolean NOT NULL,
  parent_json text,
  version     bigint  NOT NULL REFERENCES versions,
  machine     text    NOT NULL,
  state       text    NOT NULL,
  status      text    NOT NULL,
  context     text    NOT NULL,
  seq         bigint  NOT NULL,
  entry       bigint  NOT NULL,
  updated     bigint  NOT NULL,
  entered     bigint  NOT NULL,
  timers_json text,
  extra_json  text,
  last        bigint  NOT NULL
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX instances_by_id ON instances (tenant, id);
CREATE INDEX instances_live ON instances (instance)
  WHERE status = 'active' OR entry_point OR timers_json IS NOT NULL;

-- The journal: one row for everything that happened, each whole in itself, in a partition for each
-- month (UTC). `before` is the position of the same instance's row before, so that a history is read
-- backwards without an index that every event would have to sort itself into. No foreign keys: the
-- host makes the numbers, and a look-up for each event would cost more than the event.
CREATE TABLE events (
  position    bigint NOT NULL,
  tenant      bigint NOT NULL,
  at          bigint NOT NULL,
  kind        text   NOT NULL,
  instance    bigint,
  before      bigint,
  version     bigint,
  seq         bigint,
  event_id    text COLLATE "C",
  event       text,
  payload     text,
  event_at    bigint,
  from_state  text,
  to_state    text,
  status      text,
  context     text,
  entry       bigint,
  entered     bigint,
  updated     bigint,
  fuel        bigint,
  attempts    bigint,
  -- The event from outside that this one follows from; null for that one itself.
  root        text COLLATE "C",
  timers_json text,
  extra_json  text,
  cause_json  text,
  detail_json text,
  PRIMARY KEY (position, at)
) PARTITION BY RANGE (at);

CREATE INDEX events_by_event_id ON events (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX events_by_root ON events (root) WHERE root IS NOT NULL;

-- Parked events that nobody has settled. `instance` is empty where none was chosen.
CREATE TABLE dead_letters (
  position    bigint PRIMARY KEY,
  tenant      bigint NOT NULL REFERENCES tenants,
  event_id    text COLLATE "C" NOT NULL,
  instance    text COLLATE "C" NOT NULL,
  component   text   NOT NULL,
  machine     text,
  code        text   NOT NULL,
  letter_json text   NOT NULL
);

CREATE UNIQUE INDEX dead_letters_by_event ON dead_letters (tenant, event_id, instance);

-- Places in the journal. `covered`: rows of `instances` miss nothing up to here. `settled_below`:
-- everything that records before it sent has been received.
CREATE TABLE marks (
  name     text PRIMARY KEY,
  position bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO marks VALUES ('covered', 0), ('settled_below', 1);

-- How the shards were placed, and up to which record of each shard each has taken in selections.
CREATE TABLE taken_in (
  "only"     boolean PRIMARY KEY CHECK ("only"),
  partitions bigint NOT NULL,
  rows_json  text   NOT NULL
) WITH (fillfactor = 10);

-- What tools for xcomponent-ai read: transitions and creations, one row each.
CREATE VIEW fsm_events AS
SELECT e.position                              AS id,
       i.id                                    AS instance_id,
       i.machine                               AS machine_name,
       v.component                             AS component_name,
       e.event                                 AS event_type,
       e.payload::jsonb                        AS event_payload,
       coalesce(e.from_state, '')              AS from_state,
       e.to_state                              AS to_state,
       e.context::jsonb                        AS context,
       e.context::jsonb                        AS public_member_snapshot,
       (SELECT sv.component FROM instances s JOIN versions sv ON sv.version = s.version
        WHERE s.tenant = e.tenant AND s.id = e.cause_json::jsonb ->> 'instance')
                                               AS source_component_name,
       coalesce(e.root, e.event_id)            AS correlation_id,
       e.cause_json::jsonb ->> 'event'         AS causation_id,
       e.at                                    AS persisted_at
FROM events e
JOIN instances i ON i.instance = e.instance
JOIN versions v ON v.version = e.version
WHERE e.kind IN ('created', 'transitioned');

-- The same tools' newest state of every instance: its row, or what the journal has that is newer.
CREATE VIEW fsm_snapshots AS
WITH newest AS (
  SELECT DISTINCT ON (e.instance) e.instance, e.position, e.to_state, e.context, e.seq, e.updated
  FROM events e
  WHERE e.instance IS NOT NULL
    AND e.position > (SELECT m.position FROM marks m WHERE m.name = 'covered')
  ORDER BY e.instance, e.position DESC
)
SELECT i.id                                AS instance_id,
       i.machine                           AS machine_name,
       coalesce(n.to_state, i.state)       AS current_state,
       coalesce(n.context, i.context)::jsonb AS context,
       coalesce(n.seq, i.seq)              AS event_count,
       i.created                           AS created_at,
       coalesce(n.updated, i.updated)      AS updated_at
FROM instances i
LEFT JOIN newest n ON n.instance = i.instance AND n.position > i.last;
