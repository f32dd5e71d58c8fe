-- What a retention needs to know: `complete_after` is the highest position of a removed record,
-- `absent` how many positions up to the last have no record.
CREATE TABLE retention (
  only           INTEGER PRIMARY KEY CHECK (only = 1),
  complete_after INTEGER NOT NULL,
  absent         INTEGER NOT NULL
) STRICT;

INSERT INTO retention SELECT 1, 0, coalesce(max(position), 0) - count(*) FROM events;

-- Instances that are over, the first one first.
CREATE INDEX instances_over ON instances (last)
  WHERE status <> 'active' AND entry_point = 0 AND timers_json IS NULL;
