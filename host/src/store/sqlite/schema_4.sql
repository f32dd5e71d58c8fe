-- Other hosts. This journal's own name: its positions mean something together with it only.
CREATE TABLE log (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  name TEXT    NOT NULL
) STRICT;

INSERT INTO log VALUES (1, lower(hex(randomblob(16))));

-- Records that hold something for a component on another host which that host does not have yet.
CREATE TABLE outbox (
  position  INTEGER NOT NULL,
  tenant    INTEGER NOT NULL REFERENCES tenants,
  component TEXT    NOT NULL,
  PRIMARY KEY (position, tenant, component)
) STRICT, WITHOUT ROWID;

-- By component: the last record of which the other host has everything.
CREATE TABLE relayed (
  tenant    INTEGER NOT NULL REFERENCES tenants,
  component TEXT    NOT NULL,
  through   INTEGER NOT NULL,
  PRIMARY KEY (tenant, component)
) STRICT, WITHOUT ROWID;

-- By stream of another host: the number of the last parcel that was taken in.
CREATE TABLE streams (
  tenant  INTEGER NOT NULL REFERENCES tenants,
  stream  TEXT    NOT NULL,
  through INTEGER NOT NULL,
  PRIMARY KEY (tenant, stream)
) STRICT, WITHOUT ROWID;
