-- The revision that last changed each row, for a process that has to catch up with the changes of another.
-- Rows from before this step have 0: every process that runs has read them.
ALTER TABLE apps ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX apps_by_revision ON apps (revision);

ALTER TABLE certificates ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX certificates_by_revision ON certificates (revision);

ALTER TABLE keys ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX keys_by_revision ON keys (revision);
