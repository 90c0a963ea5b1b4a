-- The store of a messaging server in one SQLite file.
-- PRAGMA application_id says that it is one; PRAGMA user_version is the version of this schema.

-- What is known of each queue. No times, and nothing of who uses it but their keys.
CREATE TABLE queue (
    key INTEGER PRIMARY KEY,
    recipient_id BLOB NOT NULL UNIQUE CHECK (length(recipient_id) = 24),
    sender_id BLOB NOT NULL UNIQUE CHECK (length(sender_id) = 24),
    link_id BLOB UNIQUE CHECK (length(link_id) = 24),
    recipient_keys BLOB NOT NULL,  -- DER of each, 44 bytes, one after the other
    sender_key BLOB,               -- DER; NULL until the queue is secured
    box_key BLOB NOT NULL CHECK (length(box_key) = 32),  -- of the boxes in which messages are delivered
    mode TEXT CHECK (mode IN ('M', 'C')),
    is_off INTEGER NOT NULL DEFAULT 0,
    is_full INTEGER NOT NULL DEFAULT 0  -- no message is taken until those that wait are gone
);

-- What links lead to: two boxes that the server cannot open.
CREATE TABLE link (
    key INTEGER PRIMARY KEY,  -- queue.key
    fixed BLOB NOT NULL,
    user BLOB NOT NULL
);

-- Messages that wait, in the order of their numbers.
CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,   -- queue.key
    id BLOB NOT NULL CHECK (length(id) = 24),
    time INTEGER NOT NULL,    -- Unix seconds in which it came
    notify INTEGER NOT NULL,
    body BLOB                 -- NULL in the mark of a queue that was full
);
CREATE INDEX message_of_queue ON message (queue, number);
