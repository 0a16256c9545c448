//! Files that a configuration names: read once, when the configuration is loaded.

use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::text;

/// The maximum size of a file that the configuration names; a bundle of all public authorities has a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The surroundings in which a configuration's references are resolved.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The directory of the configuration file; relative paths begin here.
    pub directory: &'a Path,
    pub environment: &'a [(String, String)],
}

/// The error of a file or a secret that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it is empty")]
    Empty,
    #[error("cannot read {path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("$CREDENTIALS_DIRECTORY is not set; systemd sets it for units with LoadCredential=")]
    NoCredentials,
    #[error("cannot read {path}: it is not text in UTF-8")]
    NotText { path: PathBuf },
    #[error("cannot read {path}: it is larger than 1 MiB")]
    TooLarge { path: PathBuf },
    #[error("the environment variable {0} is not set")]
    Variable(String),
}

impl Surroundings<'_> {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let found = self.environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    }

    /// Reads a text file, at most a mebibyte of it.
    pub(super) fn read(&self, path: &Path) -> Result<String, ReadError> {
        let path = self.directory.join(path);
        match read_text(&path, FILE_BYTES_MAX) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(ReadError::TooLarge { path }),
            Err(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                Err(ReadError::NotText { path })
            }
            Err(source) => Err(ReadError::File { path, source }),
        }
    }

    /// Reads a file of PEM, in whichever encoding it was saved, at most a mebibyte of it.
    pub(super) fn read_pem(&self, path: &Path) -> Result<String, ReadError> {
        let path = self.directory.join(path);
        match read_bytes(&path, FILE_BYTES_MAX) {
            Ok(Some(bytes)) => Ok(text::decode(&bytes).into_owned()),
            Ok(None) => Err(ReadError::TooLarge { path }),
            Err(source) => Err(ReadError::File { path, source }),
        }
    }
}

/// Reads a text; `None` when it has more bytes than `bytes_max`.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(bytes_max + 1).read_to_string(&mut text)?;
    Ok((u64::try_from(read).unwrap_or(u64::MAX) <= bytes_max).then_some(text))
}

/// Reads bytes that may be a private key, so no copy of them is left behind.
fn read_bytes(path: &Path, bytes_max: u64) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len().min(bytes_max);
    let capacity = usize::try_from(length).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok((u64::try_from(read).unwrap_or(u64::MAX) <= bytes_max).then_some(bytes))
}

/// Reads the beginning of a file of any kind.
pub(super) fn read_prefix(path: &Path, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let file = std::fs::File::open(path)?;
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A PEM file that is no secret, and its text once [`super::load`] has read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "PathBuf", into = "PathBuf")]
#[schemars(with = "PathBuf")]
pub struct PemFile {
    path: PathBuf,
    text: Option<String>,
}

impl PemFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        self.text
            .as_deref()
            .expect("load reads every file before it hands the configuration out")
    }

    /// The file's text, if it could be read.
    pub fn fetched(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub(super) fn fetch(&mut self, surroundings: &Surroundings<'_>) -> Result<(), ReadError> {
        let text = surroundings.read_pem(&self.path)?;
        if text.trim().is_empty() {
            return Err(ReadError::Empty);
        }
        self.text = Some(text);
        Ok(())
    }
}

impl From<PathBuf> for PemFile {
    fn from(path: PathBuf) -> Self {
        Self { path, text: None }
    }
}

impl From<PemFile> for PathBuf {
    fn from(file: PemFile) -> Self {
        file.path
    }
}
