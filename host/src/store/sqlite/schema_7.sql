-- Deleted instances that owe nothing any more: their records are removed, the oldest deletion first.
CREATE INDEX instances_deleted ON instances (last)
  WHERE status = 'deleted' AND timers_json IS NULL AND extra_json IS NULL;
