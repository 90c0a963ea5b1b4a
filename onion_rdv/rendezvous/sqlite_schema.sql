-- The store of a rendezvous server in one SQLite file.
-- PRAGMA application_id says that it is one; PRAGMA user_version is the version of this schema.

-- One row: whose store this is.
CREATE TABLE owner (
    onion_key BLOB NOT NULL CHECK (length(onion_key) = 32),  -- ed25519 public key of the onion service

    -- No bucket id may come back, not even after its bucket was erased and the clock was set back:
    -- every erased bucket was opened no later than this second and had no higher number.
    erased_until INTEGER NOT NULL DEFAULT -1,
    erased_number INTEGER NOT NULL DEFAULT -1
);

-- What is known of each bucket.
CREATE TABLE bucket (
    key INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,  -- Unix seconds in which it was opened
    number INTEGER NOT NULL,      -- which one of that second, from 0
    link BLOB UNIQUE,             -- 16 bytes that invites carry; NULL until it has been computed
    UNIQUE (created_at, number)
);

-- The 64 entries of each bucket, 16384 bytes; what is not an entry is random.
-- Apart from the table above, so that looking for a bucket does not wade through contents.
CREATE TABLE content (
    key INTEGER PRIMARY KEY,  -- bucket.key
    entries BLOB NOT NULL CHECK (length(entries) = 16384)
);

-- At most one row: the bucket that is open, and which of its places are taken (8 bytes, a bit each).
-- Apart from everything else, because a row in a table of one row is overwritten where it stands: no copy of it
-- is left behind in the slack of some page. It is deleted as soon as the bucket closes.
CREATE TABLE filling (
    key INTEGER NOT NULL,  -- bucket.key
    taken BLOB NOT NULL CHECK (length(taken) = 8)
);

-- One row: totals since ever, entries and fetches in steps of 64 (see usage.py). Nothing works with them.
CREATE TABLE usage (
    opened INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0,
    fetched INTEGER NOT NULL DEFAULT 0
);
INSERT INTO usage DEFAULT VALUES;
