-- What is used once or many times a minute, without a revision and an audit event.
-- A kind is a constant of the program; a digest is SHA-256 of what the holder shows. Payloads are not read here.
CREATE TABLE tickets (
    kind TEXT NOT NULL,
    digest BLOB NOT NULL,
    payload BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX tickets_by_end ON tickets (expires_at);
