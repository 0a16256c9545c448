-- The settings of an App. Where nothing is set (NULL), the configuration decides.
-- Lists are words with a blank between them; no method and no URI has one in it.
ALTER TABLE apps ADD COLUMN environment TEXT NOT NULL DEFAULT 'live';
ALTER TABLE apps ADD COLUMN auth_methods TEXT;
ALTER TABLE apps ADD COLUMN mtls TEXT NOT NULL DEFAULT 'optional';
ALTER TABLE apps ADD COLUMN secure_mode TEXT NOT NULL DEFAULT 'required';
ALTER TABLE apps ADD COLUMN binding TEXT NOT NULL DEFAULT 'thumbprint';
ALTER TABLE apps ADD COLUMN jwks TEXT;
ALTER TABLE apps ADD COLUMN jwks_url TEXT;
ALTER TABLE apps ADD COLUMN callbacks TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN certificates_max INTEGER;
ALTER TABLE apps ADD COLUMN keys_max INTEGER;
ALTER TABLE apps ADD COLUMN access_token_format TEXT NOT NULL DEFAULT 'jwt';
