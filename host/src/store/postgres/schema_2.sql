-- What a retention needs to know: `complete_after` is the highest position of a removed record,
-- `absent` how many positions up to the last have no record.
CREATE TABLE retention (
  "only"         boolean PRIMARY KEY CHECK ("only"),
  complete_after bigint NOT NULL,
  absent         bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO retention SELECT true, 0, coalesce(max(position), 0) - count(*) FROM events;

-- Instances that are over, the first one first.
CREATE INDEX instances_over ON instances (last)
  WHERE status <> 'active' AND NOT entry_point AND timers_json IS NULL;
