-- Sessions of users. They have no revision: each is read and changed in one transaction, and what a snapshot has to know
-- of their ends stands in token_ends.
CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    app BLOB NOT NULL REFERENCES apps (id),
    environment TEXT NOT NULL,
    user TEXT NOT NULL,
    device TEXT,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    refreshed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    idle_until INTEGER NOT NULL,
    tokens_until INTEGER NOT NULL,
    family BLOB NOT NULL,
    refresh BLOB NOT NULL,
    ended_at INTEGER,
    end_cause TEXT,
    CHECK ((ended_at IS NULL) = (end_cause IS NULL))
) STRICT, WITHOUT ROWID;
-- A user has few sessions that have not ended, and may have many that have.
CREATE INDEX sessions_of_user ON sessions (app, user, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_end ON sessions (min(idle_until, expires_at, ifnull(ended_at, expires_at)));

-- The number of each App's rows, so that a login does not count them.
CREATE TABLE session_counts (
    app BLOB NOT NULL PRIMARY KEY,
    sessions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER a_session_is_counted AFTER INSERT ON sessions
BEGIN
    INSERT INTO session_counts (app, sessions) VALUES (new.app, 1)
        ON CONFLICT (app) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER a_session_is_counted_no_more AFTER DELETE ON sessions
BEGIN
    UPDATE session_counts SET sessions = sessions - 1 WHERE app = old.app;
END;

-- The access tokens that ended before their expiry: all of a session, or one. They are forgotten after it.
CREATE TABLE token_ends (
    id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    app BLOB NOT NULL,
    until INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX token_ends_by_end ON token_ends (until);
CREATE INDEX token_ends_of_app ON token_ends (app, kind);
CREATE INDEX token_ends_by_revision ON token_ends (revision);
