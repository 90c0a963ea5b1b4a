-- The store of a rendezvous service in PostgreSQL, shared by any number of front ends. Everything is in the schema
-- onion_rdv, so that the database may have other uses.

-- One row: the version of these tables.
CREATE TABLE version (
    number integer NOT NULL
);

-- One row: whose store this is.
CREATE TABLE owner (
    onion_key bytea NOT NULL CHECK (octet_length(onion_key) = 32),  -- ed25519 public key of the onion service

    -- No bucket id may come back, not even after its bucket was erased and the clock was set back:
    -- every erased bucket was opened no later than this second and had no higher number.
    erased_until bigint NOT NULL DEFAULT -1,
    erased_number bigint NOT NULL DEFAULT -1
);

-- What is known of each bucket.
CREATE TABLE bucket (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at bigint NOT NULL,  -- Unix seconds in which it was opened
    number bigint NOT NULL,      -- which one of that second, from 0
    link bytea UNIQUE CHECK (octet_length(link) = 16),  -- that invites carry; NULL until it has been computed
    UNIQUE (created_at, number)
);

-- The 64 entries of each bucket, 16384 bytes; what is not an entry is random. Of the open bucket this is how it began:
-- what was placed since is in the table below, so that a store writes its 256 bytes and not the whole bucket.
-- Vacuuming soon lets new buckets overwrite erased ones.
CREATE TABLE content (
    key bigint PRIMARY KEY,  -- bucket.key
    entries bytea NOT NULL CHECK (octet_length(entries) = 16384)
) WITH (
    autovacuum_vacuum_threshold = 256, autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 2304, toast.autovacuum_vacuum_scale_factor = 0  -- 9 rows a bucket
);
ALTER TABLE content ALTER COLUMN entries SET STORAGE EXTERNAL;  -- nothing in it can be compressed

-- Entries of the open bucket. They move into its content when it closes.
CREATE TABLE placed (
    key bigint NOT NULL,      -- bucket.key
    place smallint NOT NULL CHECK (place BETWEEN 0 AND 63),
    entry bytea NOT NULL CHECK (octet_length(entry) = 256),
    PRIMARY KEY (key, place)  -- whatever races, no place is taken twice
) WITH (autovacuum_vacuum_threshold = 64, autovacuum_vacuum_scale_factor = 0);

-- One row: the bucket that is open, or NULL, and which of its places are taken (8 bytes, a bit each; zero when it has
-- closed). Whoever stores, opens or closes locks this row first, and so they do it one after the other. The mark is
-- random and another one after each change: a server that remembers it knows the bucket as it is.
CREATE TABLE filling (
    key bigint,  -- bucket.key
    created_at bigint,
    number bigint,
    taken bytea NOT NULL CHECK (octet_length(taken) = 8),
    mark bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 64, autovacuum_vacuum_scale_factor = 0);
INSERT INTO filling (taken) VALUES ('\x0000000000000000');

-- Each bucket as it is now: what was placed in it stands beside its content while it is open.
CREATE VIEW found AS
SELECT bucket.key, created_at, number, link, entries,
       ARRAY(SELECT place FROM placed WHERE placed.key = bucket.key ORDER BY place) AS places,
       ARRAY(SELECT entry FROM placed WHERE placed.key = bucket.key ORDER BY place) AS placed,
       EXISTS (SELECT FROM filling WHERE filling.key = bucket.key) AS is_open
FROM bucket JOIN content USING (key);

-- One row: totals since ever, entries and fetches in steps of 64 (see usage.py). Nothing works with them.
CREATE TABLE usage (
    opened bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,
    fetched bigint NOT NULL DEFAULT 0
);
INSERT INTO usage DEFAULT VALUES;
