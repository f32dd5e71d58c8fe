-- What waits at an instance with a payload: deferred events, delayed sends, the event of a retry.
-- Written and deleted together with the record in `events` that says so; `extra_json` has how many
-- bytes wait. `position` is that record, `n` its place among what began to wait with it.
CREATE TABLE waiting (
  instance     bigint NOT NULL,
  kind         text COLLATE "C" NOT NULL,
  event_id     text COLLATE "C" NOT NULL,
  tenant       bigint NOT NULL,
  position     bigint NOT NULL,
  n            bigint NOT NULL,
  due          bigint,
  event        text   NOT NULL,
  payload      text   NOT NULL,
  waiting_json text   NOT NULL,
  PRIMARY KEY (instance, kind, event_id)
);

-- What waits is moved out of rows that are up to date.
UPDATE instances i SET
  version = e.version, state = e.to_state, status = e.status, context = e.context, seq = e.seq,
  entry = e.entry, updated = e.updated, entered = e.entered, timers_json = e.timers_json,
  extra_json = e.extra_json, last = e.position
FROM (SELECT instance, max(position) AS position FROM events
      WHERE position > (SELECT position FROM marks WHERE name = 'covered') AND instance IS NOT NULL
      GROUP BY instance) newest
  JOIN events e ON e.position = newest.position
WHERE i.instance = newest.instance AND i.last < newest.position;

UPDATE marks SET position = greatest(position, (SELECT coalesce(max(position), 0) FROM events))
WHERE name = 'covered';
