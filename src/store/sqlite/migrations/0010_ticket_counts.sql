-- The App that a ticket was made for, where the number of its tickets has a bound. A ticket keeps its App.
ALTER TABLE tickets ADD COLUMN app BLOB;

-- The number of each App's tickets of a kind, so that a new one does not count them.
CREATE TABLE ticket_counts (
    kind TEXT NOT NULL,
    app BLOB NOT NULL,
    tickets INTEGER NOT NULL,
    PRIMARY KEY (kind, app)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER a_ticket_is_counted AFTER INSERT ON tickets WHEN new.app IS NOT NULL
BEGIN
    INSERT INTO ticket_counts (kind, app, tickets) VALUES (new.kind, new.app, 1)
        ON CONFLICT (kind, app) DO UPDATE SET tickets = tickets + 1;
END;
CREATE TRIGGER a_ticket_is_counted_no_more AFTER DELETE ON tickets WHEN old.app IS NOT NULL
BEGIN
    UPDATE ticket_counts SET tickets = tickets - 1 WHERE kind = old.kind AND app = old.app;
END;
