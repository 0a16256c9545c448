-- Ids are 128 bits, most significant first, so that their order is the order of making.
-- Times are milliseconds since 1970. Enumerations are the words of the domain.

-- One row: how many times the store was changed.
CREATE TABLE revision (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO revision (one, value) VALUES (1, 0);

CREATE TABLE apps (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    contact TEXT,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE certificates (
    id BLOB NOT NULL PRIMARY KEY,
    app BLOB NOT NULL REFERENCES apps (id),
    name TEXT NOT NULL,
    authority BLOB NOT NULL,
    fingerprint BLOB NOT NULL UNIQUE,
    key_digest BLOB NOT NULL,
    serial BLOB NOT NULL,
    key TEXT NOT NULL,
    subject TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revocation_reason TEXT,
    UNIQUE (authority, serial),
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL))
) STRICT;
CREATE INDEX certificates_of_app ON certificates (app, id);
CREATE INDEX certificates_of_key ON certificates (key_digest);

-- The certificates themselves are four fifths of the bytes and are read one at a time;
-- apart from the rest they do not slow down reading all of the rest at start.
CREATE TABLE certificate_documents (
    id BLOB NOT NULL PRIMARY KEY REFERENCES certificates (id),
    pem TEXT NOT NULL
) STRICT;

CREATE TABLE keys (
    id BLOB NOT NULL PRIMARY KEY,
    app BLOB NOT NULL REFERENCES apps (id),
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    digest BLOB NOT NULL,
    scopes TEXT NOT NULL,
    networks TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revocation_reason TEXT,
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL))
) STRICT;
CREATE INDEX keys_of_app ON keys (app, id);

CREATE TABLE admin_tokens (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- One event for each revision, in the order in which they were committed: ids of one millisecond have no order.
CREATE TABLE audit (
    revision INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    app BLOB,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_app ON audit (app, revision);
CREATE INDEX audit_of_subject ON audit (subject, revision);

CREATE TRIGGER audit_is_never_rewritten BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
