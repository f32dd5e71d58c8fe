-- Who may write, and until when it must have said so again. `epoch` counts how often that changed
-- hands. Every transaction of a host writes its own epoch into `writing`, and fails if that is not the
-- row's: a host that stood still while another took over cannot write any more.
CREATE TABLE owner (
  sole     boolean     PRIMARY KEY CHECK (sole),
  epoch    bigint      NOT NULL,
  writing  bigint      NOT NULL,
  -- Null when nobody has it.
  holder   text,
  -- Whether the holder's session has the advisory lock, which goes when the session does.
  has_lock boolean     NOT NULL,
  until    timestamptz NOT NULL,
  CONSTRAINT fenced CHECK (writing = epoch)
) WITH (fillfactor = 10);

INSERT INTO owner VALUES (true, 0, 0, NULL, false, now());
