-- The thumbprint of the key whose DPoP proof must come with each refresh of a session; none for other sessions.
ALTER TABLE sessions ADD COLUMN proof_key BLOB CHECK (proof_key IS NULL OR length(proof_key) = 32);
