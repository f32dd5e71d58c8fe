-- A database of schema 1 as `sqlite3 host.db .dump` wrote it, after what `a_small_life` does.
PRAGMA foreign_keys=OFF;
PRAGMA application_id = 2019782000;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE tenants (
  tenant INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO tenants VALUES(1,'default');
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
INSERT INTO versions VALUES(1,1,'Shop','1',X'0101010101010101010101010101010101010101010101010101010101010101',4,replace('\nname: Shop\nversion: 1\nstateMachines:\n  - name: Order\n    initialState: Open\n    states: [{name: Open}, {name: Paid}, {name: Done, type: final}]\n    transitions:\n      - {from: Open, to: Paid, event: PAY}\n      - {from: Paid, to: Done, event: SHIP}\n  - name: Bill\n    initialState: Sent\n    states: [{name: Sent}, {name: Done, type: final}]\n    transitions:\n      - {from: Sent, to: Done, event: PAY}\n','\n',char(10)),1,0,'next-event',0,0);
INSERT INTO versions VALUES(2,1,'Shop','2',X'0101010101010101010101010101010101010101010101010101010101010101',4,replace('\nname: Shop\nversion: 2\nstateMachines:\n  - name: Order\n    initialState: Open\n    states: [{name: Open}, {name: Paid}, {name: Done, type: final}]\n    transitions:\n      - {from: Open, to: Paid, event: PAY}\n      - {from: Paid, to: Done, event: SHIP}\n  - name: Bill\n    initialState: Sent\n    states: [{name: Sent}, {name: Done, type: final}]\n    transitions:\n      - {from: Sent, to: Done, event: PAY}\n','\n',char(10)),1,0,'next-event',0,0);
CREATE TABLE artifacts (
  digest  BLOB PRIMARY KEY,
  content BLOB NOT NULL
) STRICT;
INSERT INTO artifacts VALUES(X'0101010101010101010101010101010101010101010101010101010101010101',X'7761736d');
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
INSERT INTO instances VALUES(1,1,'O-1',1,'Order','Open','active','{"total":7,"who":"Zoë"}',1,0,1000,1000,1000,7,0,NULL,NULL,NULL,1);
INSERT INTO instances VALUES(2,1,'O-2',1,'Order','Done','completed','{}',2,0,1000,1000,1000,7,0,NULL,NULL,NULL,3);
INSERT INTO instances VALUES(3,1,'O-3',2,'Order','Open','active','{}',1,0,1000,1000,1000,7,1,NULL,NULL,NULL,4);
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
INSERT INTO events VALUES(1,1,2000,'created',1,NULL,1,1,'O-1.created','$created','{}',1500,NULL,'Open','active','{"total":7,"who":"Zoë"}',0,1000,1000,42,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO events VALUES(2,1,2000,'created',2,NULL,1,1,'O-2.created','$created','{}',1500,NULL,'Open','active','{}',0,1000,1000,42,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO events VALUES(3,1,2000,'transitioned',2,2,1,2,'e1','SHIP','{}',1500,'Done','Done','completed','{}',0,1000,1000,42,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO events VALUES(4,1,2000,'created',3,NULL,2,1,'O-3.created','$created','{}',1500,NULL,'Open','active','{}',0,1000,1000,42,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO events VALUES(5,1,2000,'transitioned',1,1,1,2,'e2','PAY','{}',1500,'Paid','Paid','active','{"total":7,"who":"Zoë"}',0,1000,1000,42,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO events VALUES(6,1,2000,'ignored',1,5,1,3,'e3','PAY','{}',1500,'Paid','Paid','active','{"total":7,"who":"Zoë"}',0,1000,1000,42,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO events VALUES(7,1,2000,'dead-lettered',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'e4',NULL,NULL,NULL,'{"event":{"id":"e4","name":"PAY","payload":{},"at":1500},"component":"Shop","version":null,"machine":null,"instance":"O-1","why":"overload","cause":{"root":"e4","depth":0,"credits":10000},"attempts":1,"to":null,"at":5000}');
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
INSERT INTO dead_letters VALUES(7,1,'e4','O-1','Shop',NULL,'overload','{"event":{"id":"e4","name":"PAY","payload":{},"at":1500},"component":"Shop","version":null,"machine":null,"instance":"O-1","why":"overload","cause":{"root":"e4","depth":0,"credits":10000},"attempts":1,"to":null,"at":5000}');
CREATE TABLE marks (
  name     TEXT PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO marks VALUES('covered',4);
INSERT INTO marks VALUES('settled_below',7);
CREATE TABLE taken_in (
  only       INTEGER PRIMARY KEY CHECK (only = 1),
  partitions INTEGER NOT NULL,
  rows_json  TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX versions_by_label ON versions (tenant, component, label) WHERE deleted = 0;
CREATE UNIQUE INDEX instances_by_id ON instances (tenant, id);
CREATE INDEX instances_live ON instances (instance)
  WHERE status = 'active' OR entry_point = 1 OR timers_json IS NOT NULL;
CREATE INDEX events_by_event_id ON events (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX events_by_root ON events (root) WHERE root IS NOT NULL;
CREATE UNIQUE INDEX dead_letters_by_event ON dead_letters (tenant, event_id, instance);
COMMIT;
