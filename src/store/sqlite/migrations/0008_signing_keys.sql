-- The text of a signing key, sealed under keys.sealing_key. Other keys have none: their digest is enough.
ALTER TABLE keys ADD COLUMN sealed BLOB;
