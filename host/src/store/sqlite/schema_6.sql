-- What waits at an instance with a payload: deferred events, delayed sends, the event of a retry.
-- Written and deleted together with the record in `events` that says so; `extra_json` has how many
-- bytes wait. `position` is that record, `n` its place among what began to wait with it.
CREATE TABLE waiting (
  instance     INTEGER NOT NULL REFERENCES instances,
  kind         TEXT    NOT NULL,
  event_id     TEXT    NOT NULL,
  tenant       INTEGER NOT NULL REFERENCES tenants,
  position     INTEGER NOT NULL,
  n            INTEGER NOT NULL,
  due          INTEGER,
  event        TEXT    NOT NULL,
  payload      TEXT    NOT NULL,
  waiting_json TEXT    NOT NULL,
  PRIMARY KEY (instance, kind, event_id)
) STRICT;

-- What waits is moved out of rows that are up to date.
UPDATE instances SET
  version = e.version, state = e.to_state, status = e.status, context = e.context, seq = e.seq,
  entry = e.entry, updated = e.updated, entered = e.entered, timers_json = e.timers_json,
  extra_json = e.extra_json, last = e.position
FROM (SELECT instance, max(position) AS position FROM events
      WHERE position > (SELECT position FROM marks WHERE name = 'covered') AND instance IS NOT NULL
      GROUP BY instance) newest
  JOIN events e ON e.position = newest.position
WHERE instances.instance = newest.instance AND instances.last < newest.position;

UPDATE marks SET position = max(position, (SELECT coalesce(max(position), 0) FROM events))
WHERE name = 'covered';
