//! Secrets by reference: a configuration names the place of a secret, never the secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::file::{ReadError, Surroundings};
use crate::domain::secret::Secret;

/// The type name of a secret's reference, so that the reader never shows its value.
pub(super) const SECRET_MARK: &str = "SecretReference";

/// The reference to a secret, and the secret after [`super::load`] has fetched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretReference {
    place: Place,
    fetched: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// `${file:path}`, relative to the configuration file's directory.
    File(PathBuf),
    /// `${env:NAME}`
    Environment(String),
    /// `${credential:name}`: a file in `$CREDENTIALS_DIRECTORY`, as systemd passes secrets.
    Credential(String),
}

/// The error for a text that is not a reference. The text may be the secret itself, so the message does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is given by reference only: ${{file:path}}, ${{env:NAME}} or ${{credential:name}}"
)]
pub struct NotAReference;

impl SecretReference {
    /// The secret itself.
    pub fn secret(&self) -> &Secret {
        self.fetched
            .as_ref()
            .expect("load fetches every secret before it hands the configuration out")
    }

    /// The secret, if it could be fetched.
    pub fn fetched(&self) -> Option<&Secret> {
        self.fetched.as_ref()
    }

    /// The file that holds it, where it is one that the configuration names; relative paths begin at `directory`.
    pub fn file(&self, directory: &Path) -> Option<PathBuf> {
        match &self.place {
            Place::File(path) => Some(directory.join(path)),
            Place::Environment(_) | Place::Credential(_) => None,
        }
    }

    /// Fetches the secret; one line break at its end is not part of it.
    pub(super) fn fetch(&mut self, surroundings: &Surroundings<'_>) -> Result<(), ReadError> {
        self.fetch_by(surroundings, Surroundings::read)
    }

    /// Fetches a private key in PEM, in whichever encoding its file was saved.
    pub(super) fn fetch_pem(&mut self, surroundings: &Surroundings<'_>) -> Result<(), ReadError> {
        self.fetch_by(surroundings, Surroundings::read_pem)
    }

    fn fetch_by<'s>(
        &mut self,
        surroundings: &Surroundings<'s>,
        read: fn(&Surroundings<'s>, &Path) -> Result<String, ReadError>,
    ) -> Result<(), ReadError> {
        let text = match &self.place {
            Place::File(path) => read(surroundings, path)?,
            Place::Environment(name) => surroundings
                .variable(name)
                .ok_or_else(|| ReadError::Variable(name.clone()))?,
            Place::Credential(name) => {
                let directory = surroundings
                    .variable("CREDENTIALS_DIRECTORY")
                    .ok_or(ReadError::NoCredentials)?;
                read(surroundings, &Path::new(&directory).join(name))?
            }
        };
        let secret = Secret::new(text);
        let whole = secret.expose();
        let line = whole.strip_suffix('\n').unwrap_or(whole);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            return Err(ReadError::Empty);
        }
        self.fetched = Some(Secret::new(line.to_owned()));
        Ok(())
    }
}

impl std::str::FromStr for SecretReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        let (kind, name) = inner
            .and_then(|inner| inner.split_once(':'))
            .ok_or(NotAReference)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !name.starts_with('.') && name.bytes().all(plain);
        let place = match kind {
            _ if name.is_empty() => return Err(NotAReference),
            "file" if !name.contains(['\0', '\n']) => Place::File(name.into()),
            "env" if is_name => Place::Environment(name.to_owned()),
            "credential" if is_name => Place::Credential(name.to_owned()),
            _ => return Err(NotAReference),
        };
        Ok(Self {
            place,
            fetched: None,
        })
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "${{file:{}}}", path.display()),
            Place::Environment(name) => write!(f, "${{env:{name}}}"),
            Place::Credential(name) => write!(f, "${{credential:{name}}}"),
        }
    }
}

impl<'de> Deserialize<'de> for SecretReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Marked;

        impl<'de> serde::de::Visitor<'de> for Marked {
            type Value = SecretReference;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reference to a secret")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Self::Value, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        deserializer.deserialize_newtype_struct(SECRET_MARK, Marked)
    }
}

impl Serialize for SecretReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for SecretReference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        SECRET_MARK.into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^\$\{(file|env|credential):.+\}$",
            "description": "A reference to a secret: ${file:path}, ${env:NAME} or ${credential:name}.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_as_they_are_written() {
        for text in [
            "${file:certs/api.key}",
            "${env:API_KEY}",
            "${credential:api.key}",
        ] {
            assert_eq!(text.parse::<SecretReference>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "hunter2",
            "$API_KEY",
            "${API_KEY}",
            "${env:}",
            "${env:A B}",
            "${vault:x}",
            "${credential:../x}",
            "${credential:a/b}",
            "${file:x",
            "x${file:y}",
        ] {
            let refusal = bad.parse::<SecretReference>().unwrap_err();
            assert!(!refusal.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn secrets_come_from_files_variables_and_credentials() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key"), "from a file\r\n").unwrap();
        std::fs::write(directory.path().join("empty"), "\n").unwrap();
        let environment = vec![
            ("WORD".to_owned(), "from a variable".to_owned()),
            (
                "CREDENTIALS_DIRECTORY".to_owned(),
                directory.path().display().to_string(),
            ),
        ];
        let surroundings = Surroundings {
            directory: directory.path(),
            environment: &environment,
        };
        for (text, expected) in [
            ("${file:key}", Some("from a file")),
            ("${credential:key}", Some("from a file")),
            ("${env:WORD}", Some("from a variable")),
            ("${env:NOTHING}", None),
            ("${file:missing}", None),
            ("${file:empty}", None),
        ] {
            let mut reference: SecretReference = text.parse().unwrap();
            let fetched = reference.fetch(&surroundings).ok();
            let secret = fetched.map(|()| reference.secret().expose());
            assert_eq!(secret, expected, "{text}");
        }
    }
}
