-- Deleted instances that owe nothing any more: their records are removed, the oldest deletion first.
CREATE INDEX instances_deleted ON instances (last)
  WHERE status = 'deleted' AND timers_json IS NULL AND extra_json IS NULL;

-- Tools do not see deleted instances.
CREATE OR REPLACE VIEW fsm_events AS
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
WHERE e.kind IN ('created', 'transitioned') AND i.status <> 'deleted';

CREATE OR REPLACE VIEW fsm_snapshots AS
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
LEFT JOIN newest n ON n.instance = i.instance AND n.position > i.last
WHERE i.status <> 'deleted';
