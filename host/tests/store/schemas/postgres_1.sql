-- A database of schema 1 as `pg_dump` wrote it, after what `a_small_life` does.
CREATE SCHEMA xcomponent;
CREATE TABLE xcomponent.events (
    "position" bigint NOT NULL,
    tenant bigint NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    instance bigint,
    before bigint,
    version bigint,
    seq bigint,
    event_id text COLLATE pg_catalog."C",
    event text,
    payload text,
    event_at bigint,
    from_state text,
    to_state text,
    status text,
    context text,
    entry bigint,
    entered bigint,
    updated bigint,
    fuel bigint,
    attempts bigint,
    root text COLLATE pg_catalog."C",
    timers_json text,
    extra_json text,
    cause_json text,
    detail_json text
)
PARTITION BY RANGE (at);
CREATE TABLE xcomponent.instances (
    instance bigint NOT NULL,
    tenant bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    created bigint NOT NULL,
    origin bigint NOT NULL,
    entry_point boolean NOT NULL,
    parent_json text,
    version bigint NOT NULL,
    machine text NOT NULL,
    state text NOT NULL,
    status text NOT NULL,
    context text NOT NULL,
    seq bigint NOT NULL,
    entry bigint NOT NULL,
    updated bigint NOT NULL,
    entered bigint NOT NULL,
    timers_json text,
    extra_json text,
    last bigint NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE xcomponent.versions (
    version bigint NOT NULL,
    tenant bigint NOT NULL,
    component text NOT NULL COLLATE pg_catalog."C",
    label text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    size bigint NOT NULL,
    definition text NOT NULL,
    uploaded bigint NOT NULL,
    active boolean NOT NULL,
    on_live text NOT NULL,
    activation bigint NOT NULL,
    deleted boolean DEFAULT false NOT NULL
);
CREATE VIEW xcomponent.fsm_events AS
 SELECT e."position" AS id,
    i.id AS instance_id,
    i.machine AS machine_name,
    v.component AS component_name,
    e.event AS event_type,
    (e.payload)::jsonb AS event_payload,
    COALESCE(e.from_state, ''::text) AS from_state,
    e.to_state,
    (e.context)::jsonb AS context,
    (e.context)::jsonb AS public_member_snapshot,
    ( SELECT sv.component
           FROM (xcomponent.instances s
             JOIN xcomponent.versions sv ON ((sv.version = s.version)))
          WHERE ((s.tenant = e.tenant) AND (s.id = ((e.cause_json)::jsonb ->> 'instance'::text)))) AS source_component_name,
    COALESCE(e.root, e.event_id) AS correlation_id,
    ((e.cause_json)::jsonb ->> 'event'::text) AS causation_id,
    e.at AS persisted_at
   FROM ((xcomponent.events e
     JOIN xcomponent.instances i ON ((i.instance = e.instance)))
     JOIN xcomponent.versions v ON ((v.version = e.version)))
  WHERE (e.kind = ANY (ARRAY['created'::text, 'transitioned'::text]));
CREATE TABLE xcomponent.marks (
    name text NOT NULL,
    "position" bigint NOT NULL
)
WITH (fillfactor='10');
CREATE VIEW xcomponent.fsm_snapshots AS
 WITH newest AS (
         SELECT DISTINCT ON (e.instance) e.instance,
            e."position",
            e.to_state,
            e.context,
            e.seq,
            e.updated
           FROM xcomponent.events e
          WHERE ((e.instance IS NOT NULL) AND (e."position" > ( SELECT m."position"
                   FROM xcomponent.marks m
                  WHERE (m.name = 'covered'::text))))
          ORDER BY e.instance, e."position" DESC
        )
 SELECT i.id AS instance_id,
    i.machine AS machine_name,
    COALESCE(n.to_state, i.state) AS current_state,
    (COALESCE(n.context, i.context))::jsonb AS context,
    COALESCE(n.seq, i.seq) AS event_count,
    i.created AS created_at,
    COALESCE(n.updated, i.updated) AS updated_at
   FROM (xcomponent.instances i
     LEFT JOIN newest n ON (((n.instance = i.instance) AND (n."position" > i.last))));
CREATE TABLE xcomponent.artifacts (
    digest bytea NOT NULL,
    content bytea NOT NULL
);
ALTER TABLE ONLY xcomponent.artifacts ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE xcomponent.dead_letters (
    "position" bigint NOT NULL,
    tenant bigint NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    instance text NOT NULL COLLATE pg_catalog."C",
    component text NOT NULL,
    machine text,
    code text NOT NULL,
    letter_json text NOT NULL
);
CREATE TABLE xcomponent.events_1970_01 (
    "position" bigint NOT NULL,
    tenant bigint NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    instance bigint,
    before bigint,
    version bigint,
    seq bigint,
    event_id text COLLATE pg_catalog."C",
    event text,
    payload text,
    event_at bigint,
    from_state text,
    to_state text,
    status text,
    context text,
    entry bigint,
    entered bigint,
    updated bigint,
    fuel bigint,
    attempts bigint,
    root text COLLATE pg_catalog."C",
    timers_json text,
    extra_json text,
    cause_json text,
    detail_json text
);
CREATE TABLE xcomponent.events_1970_02 (
    "position" bigint NOT NULL,
    tenant bigint NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    instance bigint,
    before bigint,
    version bigint,
    seq bigint,
    event_id text COLLATE pg_catalog."C",
    event text,
    payload text,
    event_at bigint,
    from_state text,
    to_state text,
    status text,
    context text,
    entry bigint,
    entered bigint,
    updated bigint,
    fuel bigint,
    attempts bigint,
    root text COLLATE pg_catalog."C",
    timers_json text,
    extra_json text,
    cause_json text,
    detail_json text
);
CREATE TABLE xcomponent.migrations (
    number bigint NOT NULL,
    at timestamp with time zone NOT NULL
);
COMMENT ON TABLE xcomponent.migrations IS 'kept by xcomponent';
CREATE TABLE xcomponent.taken_in (
    "only" boolean NOT NULL,
    partitions bigint NOT NULL,
    rows_json text NOT NULL,
    CONSTRAINT taken_in_only_check CHECK ("only")
)
WITH (fillfactor='10');
CREATE TABLE xcomponent.tenants (
    tenant bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE xcomponent.tenants ALTER COLUMN tenant ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME xcomponent.tenants_tenant_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE xcomponent.versions ALTER COLUMN version ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME xcomponent.versions_version_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ONLY xcomponent.events ATTACH PARTITION xcomponent.events_1970_01 FOR VALUES FROM ('0') TO ('2678400000');
ALTER TABLE ONLY xcomponent.events ATTACH PARTITION xcomponent.events_1970_02 FOR VALUES FROM ('2678400000') TO ('5097600000');
INSERT INTO xcomponent.artifacts (digest, content) VALUES ('\x0101010101010101010101010101010101010101010101010101010101010101', '\x7761736d');
INSERT INTO xcomponent.dead_letters ("position", tenant, event_id, instance, component, machine, code, letter_json) VALUES (7, 1, 'e4', 'O-1', 'Shop', NULL, 'overload', '{"event":{"id":"e4","name":"PAY","payload":{},"at":1500},"component":"Shop","version":null,"machine":null,"instance":"O-1","why":"overload","cause":{"root":"e4","depth":0,"credits":10000},"attempts":1,"to":null,"at":5000}');
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (1, 1, 2000, 'created', 1, NULL, 1, 1, 'O-1.created', '$created', '{}', 1500, NULL, 'Open', 'active', '{"total":7,"who":"Zoë"}', 0, 1000, 1000, 42, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (2, 1, 2000, 'created', 2, NULL, 1, 1, 'O-2.created', '$created', '{}', 1500, NULL, 'Open', 'active', '{}', 0, 1000, 1000, 42, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (3, 1, 2000, 'transitioned', 2, 2, 1, 2, 'e1', 'SHIP', '{}', 1500, 'Done', 'Done', 'completed', '{}', 0, 1000, 1000, 42, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (4, 1, 2000, 'created', 3, NULL, 2, 1, 'O-3.created', '$created', '{}', 1500, NULL, 'Open', 'active', '{}', 0, 1000, 1000, 42, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (5, 1, 2000, 'transitioned', 1, 1, 1, 2, 'e2', 'PAY', '{}', 1500, 'Paid', 'Paid', 'active', '{"total":7,"who":"Zoë"}', 0, 1000, 1000, 42, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (6, 1, 2000, 'ignored', 1, 5, 1, 3, 'e3', 'PAY', '{}', 1500, 'Paid', 'Paid', 'active', '{"total":7,"who":"Zoë"}', 0, 1000, 1000, 42, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO xcomponent.events_1970_01 ("position", tenant, at, kind, instance, before, version, seq, event_id, event, payload, event_at, from_state, to_state, status, context, entry, entered, updated, fuel, attempts, root, timers_json, extra_json, cause_json, detail_json) VALUES (7, 1, 2000, 'dead-lettered', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'e4', NULL, NULL, NULL, '{"event":{"id":"e4","name":"PAY","payload":{},"at":1500},"component":"Shop","version":null,"machine":null,"instance":"O-1","why":"overload","cause":{"root":"e4","depth":0,"credits":10000},"attempts":1,"to":null,"at":5000}');
INSERT INTO xcomponent.instances (instance, tenant, id, created, origin, entry_point, parent_json, version, machine, state, status, context, seq, entry, updated, entered, timers_json, extra_json, last) VALUES (1, 1, 'O-1', 1000, 7, false, NULL, 1, 'Order', 'Open', 'active', '{"total":7,"who":"Zoë"}', 1, 0, 1000, 1000, NULL, NULL, 1);
INSERT INTO xcomponent.instances (instance, tenant, id, created, origin, entry_point, parent_json, version, machine, state, status, context, seq, entry, updated, entered, timers_json, extra_json, last) VALUES (2, 1, 'O-2', 1000, 7, false, NULL, 1, 'Order', 'Done', 'completed', '{}', 2, 0, 1000, 1000, NULL, NULL, 3);
INSERT INTO xcomponent.instances (instance, tenant, id, created, origin, entry_point, parent_json, version, machine, state, status, context, seq, entry, updated, entered, timers_json, extra_json, last) VALUES (3, 1, 'O-3', 1000, 7, true, NULL, 2, 'Order', 'Open', 'active', '{}', 1, 0, 1000, 1000, NULL, NULL, 4);
INSERT INTO xcomponent.marks (name, "position") VALUES ('covered', 4);
INSERT INTO xcomponent.marks (name, "position") VALUES ('settled_below', 7);
INSERT INTO xcomponent.migrations (number, at) VALUES (1, '2026-11-26 11:42:54.461418+00');
INSERT INTO xcomponent.tenants (tenant, name) OVERRIDING SYSTEM VALUE VALUES (1, 'default');
INSERT INTO xcomponent.versions (version, tenant, component, label, digest, size, definition, uploaded, active, on_live, activation, deleted) OVERRIDING SYSTEM VALUE VALUES (1, 1, 'Shop', '1', '\x0101010101010101010101010101010101010101010101010101010101010101', 4, '
name: Shop
version: 1
stateMachines:
  - name: Order
    initialState: Open
    states: [{name: Open}, {name: Paid}, {name: Done, type: final}]
    transitions:
      - {from: Open, to: Paid, event: PAY}
      - {from: Paid, to: Done, event: SHIP}
  - name: Bill
    initialState: Sent
    states: [{name: Sent}, {name: Done, type: final}]
    transitions:
      - {from: Sent, to: Done, event: PAY}
', 1, false, 'next-event', 0, false);
INSERT INTO xcomponent.versions (version, tenant, component, label, digest, size, definition, uploaded, active, on_live, activation, deleted) OVERRIDING SYSTEM VALUE VALUES (2, 1, 'Shop', '2', '\x0101010101010101010101010101010101010101010101010101010101010101', 4, '
name: Shop
version: 2
stateMachines:
  - name: Order
    initialState: Open
    states: [{name: Open}, {name: Paid}, {name: Done, type: final}]
    transitions:
      - {from: Open, to: Paid, event: PAY}
      - {from: Paid, to: Done, event: SHIP}
  - name: Bill
    initialState: Sent
    states: [{name: Sent}, {name: Done, type: final}]
    transitions:
      - {from: Sent, to: Done, event: PAY}
', 1, false, 'next-event', 0, false);
ALTER TABLE ONLY xcomponent.artifacts
    ADD CONSTRAINT artifacts_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY xcomponent.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY xcomponent.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position", at);
ALTER TABLE ONLY xcomponent.events_1970_01
    ADD CONSTRAINT events_1970_01_pkey PRIMARY KEY ("position", at);
ALTER TABLE ONLY xcomponent.events_1970_02
    ADD CONSTRAINT events_1970_02_pkey PRIMARY KEY ("position", at);
ALTER TABLE ONLY xcomponent.instances
    ADD CONSTRAINT instances_pkey PRIMARY KEY (instance);
ALTER TABLE ONLY xcomponent.marks
    ADD CONSTRAINT marks_pkey PRIMARY KEY (name);
ALTER TABLE ONLY xcomponent.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);
ALTER TABLE ONLY xcomponent.taken_in
    ADD CONSTRAINT taken_in_pkey PRIMARY KEY ("only");
ALTER TABLE ONLY xcomponent.tenants
    ADD CONSTRAINT tenants_name_key UNIQUE (name);
ALTER TABLE ONLY xcomponent.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant);
ALTER TABLE ONLY xcomponent.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (version);
CREATE UNIQUE INDEX dead_letters_by_event ON xcomponent.dead_letters USING btree (tenant, event_id, instance);
CREATE INDEX events_by_event_id ON ONLY xcomponent.events USING btree (event_id) WHERE (event_id IS NOT NULL);
CREATE INDEX events_1970_01_event_id_idx ON xcomponent.events_1970_01 USING btree (event_id) WHERE (event_id IS NOT NULL);
CREATE INDEX events_by_root ON ONLY xcomponent.events USING btree (root) WHERE (root IS NOT NULL);
CREATE INDEX events_1970_01_root_idx ON xcomponent.events_1970_01 USING btree (root) WHERE (root IS NOT NULL);
CREATE INDEX events_1970_02_event_id_idx ON xcomponent.events_1970_02 USING btree (event_id) WHERE (event_id IS NOT NULL);
CREATE INDEX events_1970_02_root_idx ON xcomponent.events_1970_02 USING btree (root) WHERE (root IS NOT NULL);
CREATE UNIQUE INDEX instances_by_id ON xcomponent.instances USING btree (tenant, id);
CREATE INDEX instances_live ON xcomponent.instances USING btree (instance) WHERE ((status = 'active'::text) OR entry_point OR (timers_json IS NOT NULL));
CREATE UNIQUE INDEX versions_by_label ON xcomponent.versions USING btree (tenant, component, label) WHERE (NOT deleted);
ALTER INDEX xcomponent.events_by_event_id ATTACH PARTITION xcomponent.events_1970_01_event_id_idx;
ALTER INDEX xcomponent.events_pkey ATTACH PARTITION xcomponent.events_1970_01_pkey;
ALTER INDEX xcomponent.events_by_root ATTACH PARTITION xcomponent.events_1970_01_root_idx;
ALTER INDEX xcomponent.events_by_event_id ATTACH PARTITION xcomponent.events_1970_02_event_id_idx;
ALTER INDEX xcomponent.events_pkey ATTACH PARTITION xcomponent.events_1970_02_pkey;
ALTER INDEX xcomponent.events_by_root ATTACH PARTITION xcomponent.events_1970_02_root_idx;
ALTER TABLE ONLY xcomponent.dead_letters
    ADD CONSTRAINT dead_letters_tenant_fkey FOREIGN KEY (tenant) REFERENCES xcomponent.tenants(tenant);
ALTER TABLE ONLY xcomponent.instances
    ADD CONSTRAINT instances_tenant_fkey FOREIGN KEY (tenant) REFERENCES xcomponent.tenants(tenant);
ALTER TABLE ONLY xcomponent.instances
    ADD CONSTRAINT instances_version_fkey FOREIGN KEY (version) REFERENCES xcomponent.versions(version);
ALTER TABLE ONLY xcomponent.versions
    ADD CONSTRAINT versions_tenant_fkey FOREIGN KEY (tenant) REFERENCES xcomponent.tenants(tenant);
