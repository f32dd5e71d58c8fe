-- Other hosts. This journal's own name: its positions mean something together with it only.
CREATE TABLE log (
  sole boolean PRIMARY KEY CHECK (sole),
  name text    NOT NULL
);

INSERT INTO log VALUES (true, replace(gen_random_uuid()::text, '-', ''));

-- Records that hold something for a component on another host which that host does not have yet.
CREATE TABLE outbox (
  position  bigint NOT NULL,
  tenant    bigint NOT NULL REFERENCES tenants,
  component text COLLATE "C" NOT NULL,
  PRIMARY KEY (position, tenant, component)
);

-- By component: the last record of which the other host has everything.
CREATE TABLE relayed (
  tenant    bigint NOT NULL REFERENCES tenants,
  component text COLLATE "C" NOT NULL,
  through   bigint NOT NULL,
  PRIMARY KEY (tenant, component)
);

-- By stream of another host: the number of the last parcel that was taken in.
CREATE TABLE streams (
  tenant  bigint NOT NULL REFERENCES tenants,
  stream  text COLLATE "C" NOT NULL,
  through bigint NOT NULL,
  PRIMARY KEY (tenant, stream)
);
