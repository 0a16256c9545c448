-- Kinds of keys, and what is kept of each besides: the last characters of its text, origins, limits, the successor of a
-- rotation, and the system whose digest it is. Lists are in one text each, as networks are.
ALTER TABLE keys ADD COLUMN kind TEXT NOT NULL DEFAULT 'secret';
ALTER TABLE keys ADD COLUMN digest_kind TEXT NOT NULL DEFAULT 'own';
ALTER TABLE keys ADD COLUMN tail TEXT;
ALTER TABLE keys ADD COLUMN origins TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN limits TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN successor BLOB;
ALTER TABLE keys ADD COLUMN tokens_outlive INTEGER NOT NULL DEFAULT 0;
-- A text of another system is found by its digest, so that it belongs to one key.
CREATE UNIQUE INDEX keys_imported ON keys (digest) WHERE digest_kind <> 'own';

-- The last use of each key. A use is no change: it has neither a revision nor an audit event.
CREATE TABLE key_uses (
    id BLOB NOT NULL PRIMARY KEY REFERENCES keys (id),
    at INTEGER NOT NULL,
    address TEXT NOT NULL,
    route TEXT NOT NULL
) STRICT, WITHOUT ROWID;
