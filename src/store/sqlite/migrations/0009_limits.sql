-- The requests of each caller in the current window of each quota, so that a restart begins no window again. A use is no
-- change: it has neither a revision nor an audit event.
CREATE TABLE quota_uses (
    quota TEXT NOT NULL,
    window TEXT NOT NULL,
    subject TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (quota, window, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX quota_uses_by_end ON quota_uses (ends_at);

-- The boosts of each App, in one text as lists are.
ALTER TABLE apps ADD COLUMN boosts TEXT NOT NULL DEFAULT '';
