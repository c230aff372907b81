-- The catalog: what exists, how it is called, who may do what.  The engine is the truth for points.
-- Times are nanoseconds since 1970; ids are uuids in text form.  Changes of the schema raise user_version.
CREATE TABLE server(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  uuid TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  freed_sequence INTEGER NOT NULL DEFAULT 0,
  clock_ns INTEGER NOT NULL DEFAULT 0,       -- the clock that retention and expiry run on; never goes back
  recovery_bytes INTEGER NOT NULL DEFAULT 1073741824, -- kept free per disk of a set for Windows
  trash_s INTEGER NOT NULL DEFAULT 86400,   -- how long deleted things can be had back
  remove_stale_s INTEGER NOT NULL DEFAULT 0, -- volatile sets whose hosts are away so long are removed; 0: never
  clock_slack_ns INTEGER NOT NULL DEFAULT 0) -- how far the wall clock may still pull it forward
  STRICT;
CREATE TABLE pool(
  uuid TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),
  path TEXT NOT NULL UNIQUE,
  warn_percent INTEGER NOT NULL DEFAULT 90 CHECK (warn_percent BETWEEN 1 AND 99), -- used: then it is nearly full
  state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),
  created_ns INTEGER NOT NULL) STRICT;
-- Every identity ever given to a logical unit; rows are never deleted.
CREATE TABLE identity_issued(
  naa TEXT PRIMARY KEY,
  serial TEXT NOT NULL UNIQUE,
  object TEXT NOT NULL,
  issued_ns INTEGER NOT NULL) STRICT;
CREATE TABLE disk(
  uuid TEXT PRIMARY KEY,
  pool TEXT NOT NULL REFERENCES pool(uuid),
  name TEXT NOT NULL CHECK (length(name) > 0),
  state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting', 'trashed')),
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  naa TEXT NOT NULL UNIQUE REFERENCES identity_issued(naa),
  parent_point TEXT,
  created_ns INTEGER NOT NULL,
  trashed_ns INTEGER NOT NULL DEFAULT 0, -- in the trash since; what went with it has the same time
  expires_ns INTEGER NOT NULL DEFAULT 0) -- and until, on the server's own clock
  STRICT;
CREATE UNIQUE INDEX disk_name ON disk(name) WHERE state NOT IN ('trashed', 'deleting');
CREATE TABLE host(
  uuid TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),
  auth TEXT NOT NULL CHECK (auth IN ('none', 'chap', 'mutual')),
  chap_user TEXT,
  chap_secret BLOB,   -- sealed under the key file
  mutual_user TEXT,
  mutual_secret BLOB, -- sealed under the key file
  os TEXT NOT NULL CHECK (os IN ('windows', 'linux', 'vmware', 'other')),
  created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE initiator(
  name TEXT PRIMARY KEY,
  host TEXT NOT NULL REFERENCES host(uuid) ON DELETE CASCADE) STRICT;
CREATE TABLE host_group(
  uuid TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),
  created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE group_member(
  host TEXT PRIMARY KEY REFERENCES host(uuid) ON DELETE CASCADE,
  host_group TEXT NOT NULL REFERENCES host_group(uuid)) STRICT;
-- The hosts of grantee may import the sets of owner.
CREATE TABLE import_grant(
  grantee TEXT NOT NULL REFERENCES host_group(uuid) ON DELETE CASCADE,
  owner TEXT NOT NULL REFERENCES host_group(uuid) ON DELETE CASCADE,
  created_ns INTEGER NOT NULL,
  PRIMARY KEY (grantee, owner)) STRICT;
CREATE TABLE credential(
  uuid TEXT PRIMARY KEY,
  host TEXT NOT NULL REFERENCES host(uuid) ON DELETE CASCADE,
  sealed_key BLOB NOT NULL, -- under the key file
  created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE enrolment(
  uuid TEXT PRIMARY KEY,
  host TEXT NOT NULL REFERENCES host(uuid) ON DELETE CASCADE,
  sealed_secret BLOB NOT NULL, -- under the key file
  replaces INTEGER NOT NULL,
  expires_ns INTEGER NOT NULL,
  created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE map(
  host TEXT NOT NULL REFERENCES host(uuid) ON DELETE CASCADE,
  lun INTEGER NOT NULL CHECK (lun BETWEEN 0 AND 254),
  kind TEXT NOT NULL CHECK (kind IN ('disk', 'snapshot')),
  object TEXT NOT NULL,
  read_only INTEGER NOT NULL,
  keep_vss_flags INTEGER NOT NULL, -- shows the point of a VSS snapshot as it was cut
  created_ns INTEGER NOT NULL,
  PRIMARY KEY (host, lun),
  UNIQUE (host, object)) STRICT;
-- Persistent reservations that outlive a restart (APTPL), of a disk or of the private branch of a snapshot.
CREATE TABLE registration(
  object TEXT NOT NULL,
  position INTEGER NOT NULL,
  initiator TEXT NOT NULL,
  isid BLOB NOT NULL,
  port INTEGER NOT NULL,  -- relative target port
  key TEXT NOT NULL,      -- 16 hex digits
  holds INTEGER NOT NULL, -- type of the reservation that it holds; 0: none
  PRIMARY KEY (object, position)) STRICT;
-- LUN numbers that were used: who had them last and in what order they were given back.
CREATE TABLE lun_slot(
  host TEXT NOT NULL REFERENCES host(uuid) ON DELETE CASCADE,
  lun INTEGER NOT NULL CHECK (lun BETWEEN 0 AND 254),
  object TEXT NOT NULL,
  freed_sequence INTEGER NOT NULL,
  freed_ns INTEGER NOT NULL,
  PRIMARY KEY (host, lun)) STRICT;
CREATE TABLE point_set(
  uuid TEXT PRIMARY KEY,
  pool TEXT NOT NULL REFERENCES pool(uuid),
  name TEXT NOT NULL CHECK (length(name) > 0),
  state TEXT NOT NULL CHECK (state IN
    ('prepared', 'armed', 'committed', 'confirmed', 'created', 'aborted', 'deleting', 'trashed',
     'breaking', 'broken')),
  host TEXT,
  lease_s INTEGER NOT NULL CHECK (lease_s > 0),
  generation INTEGER NOT NULL,
  cut_ns INTEGER NOT NULL,
  commit_ns INTEGER NOT NULL,
  application_consistent INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  volatile INTEGER NOT NULL,      -- goes with the requester's session, if nobody keeps it
  transportable INTEGER NOT NULL, -- made for another host
  vss INTEGER NOT NULL,           -- cut through VSS: its volumes are hidden and read-only
  wants_full INTEGER NOT NULL) STRICT; -- each member gets a copy of its own once it is created
CREATE UNIQUE INDEX point_set_name ON point_set(name)
  WHERE state NOT IN ('aborted', 'trashed', 'deleting', 'broken');
-- Group or host that a set belongs to; without a row it is an administrator's.
CREATE TABLE set_owner(
  point_set TEXT PRIMARY KEY REFERENCES point_set(uuid) ON DELETE CASCADE,
  owner TEXT NOT NULL) STRICT;
CREATE TABLE set_history(
  point_set TEXT NOT NULL REFERENCES point_set(uuid) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  state TEXT NOT NULL,
  at_ns INTEGER NOT NULL,
  PRIMARY KEY (point_set, sequence)) STRICT;
-- Which host has a set, or had it and gave it back; kept with the set.
CREATE TABLE set_import(
  point_set TEXT NOT NULL REFERENCES point_set(uuid) ON DELETE CASCADE,
  host TEXT NOT NULL REFERENCES host(uuid) ON DELETE CASCADE,
  state TEXT NOT NULL CHECK (state IN ('imported', 'masked')),
  at_ns INTEGER NOT NULL,
  PRIMARY KEY (point_set, host)) STRICT;
CREATE TABLE snapshot(
  uuid TEXT PRIMARY KEY,
  point_set TEXT NOT NULL REFERENCES point_set(uuid),
  disk TEXT NOT NULL REFERENCES disk(uuid),
  name TEXT NOT NULL CHECK (length(name) > 0),
  state TEXT NOT NULL CHECK (state IN ('pending', 'ready', 'deleting', 'trashed')),
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  naa TEXT NOT NULL UNIQUE REFERENCES identity_issued(naa),
  lun INTEGER NOT NULL CHECK (lun BETWEEN -1 AND 254),
  position INTEGER NOT NULL,
  point TEXT NOT NULL UNIQUE,               -- of the engine; another one after an update
  other_point TEXT UNIQUE,                  -- while it is updated: the next or the last one
  view TEXT UNIQUE,                         -- branch that hosts but Windows see: the marks of VSS are off
  trashed_ns INTEGER NOT NULL DEFAULT 0,    -- in the trash since
  expires_ns INTEGER NOT NULL DEFAULT 0,    -- and until, on the server's own clock
  retain_until_ns INTEGER NOT NULL DEFAULT 0, -- not deleted before, on that clock; only grows
  sha256 BLOB,                              -- of the content, by the first verification
  verified_ns INTEGER NOT NULL DEFAULT 0,
  is_full INTEGER NOT NULL,     -- its private branch holds a copy of everything
  branch_used INTEGER NOT NULL) STRICT; -- its private branch was served to a host
CREATE UNIQUE INDEX snapshot_name ON snapshot(name) WHERE state NOT IN ('trashed', 'deleting');
-- What disks were before a revert or a replace.  The row is there before the engine makes the point.
CREATE TABLE undo(
  uuid TEXT PRIMARY KEY, -- of the point
  disk TEXT NOT NULL REFERENCES disk(uuid),
  name TEXT NOT NULL CHECK (length(name) > 0),
  state TEXT NOT NULL CHECK (state IN ('pending', 'ready', 'deleting')),
  cause TEXT NOT NULL, -- "revert to snapshot ..."
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  made_ns INTEGER NOT NULL,
  expires_ns INTEGER NOT NULL, -- on the server's own clock
  UNIQUE (disk, name)) STRICT;
CREATE TABLE token(
  uuid TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),
  role TEXT NOT NULL CHECK (role IN ('administrator', 'backup-operator', 'viewer')),
  hash BLOB NOT NULL UNIQUE,
  created_ns INTEGER NOT NULL) STRICT;
-- What an operator should know of what the server did or is about to do by itself; the newest 10,000.
CREATE TABLE event(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ns INTEGER NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('info', 'warning', 'alert')),
  kind TEXT NOT NULL,   -- pool, undo, trash, clock, verify
  object TEXT NOT NULL, -- name
  text TEXT NOT NULL) STRICT;
CREATE TABLE job(
  uuid TEXT PRIMARY KEY,
  verb TEXT NOT NULL,
  object TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'done', 'failed')),
  started_ns INTEGER NOT NULL,
  finished_ns INTEGER NOT NULL,
  answer TEXT NOT NULL,
  work TEXT NOT NULL) STRICT; -- what to begin again after a restart (JSON); '' = nothing
-- Only grows; chained (audit.c).
CREATE TABLE audit(
  sequence INTEGER PRIMARY KEY,
  at_ns INTEGER NOT NULL,
  actor TEXT NOT NULL,
  verb TEXT NOT NULL,
  arguments TEXT NOT NULL,
  result TEXT NOT NULL,
  chain BLOB NOT NULL) STRICT;
CREATE TABLE audit_head(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  sequence INTEGER NOT NULL,
  chain BLOB NOT NULL,
  mac BLOB NOT NULL) STRICT;
CREATE TABLE idempotency(
  key TEXT NOT NULL,
  actor TEXT NOT NULL,
  request TEXT NOT NULL,
  status TEXT NOT NULL,
  answer TEXT NOT NULL,
  at_ns INTEGER NOT NULL,
  PRIMARY KEY (key, actor)) STRICT;
