-- An instance that has ended belongs in memory until it has given back what it deferred: that is in
-- `extra_json`, and nothing else of one that has ended.
DROP INDEX instances_live;
CREATE INDEX instances_live ON instances (instance)
  WHERE status = 'active' OR entry_point OR timers_json IS NOT NULL OR extra_json IS NOT NULL;

DROP INDEX instances_over;
CREATE INDEX instances_over ON instances (last)
  WHERE status <> 'active' AND NOT entry_point AND timers_json IS NULL AND extra_json IS NULL;
