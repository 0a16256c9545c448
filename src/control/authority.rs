//! The files that trust depends on: generated once, on first start, and never silently generated again.
//!
//! A directory `authority/` holds `root.pem`, `root.key`, `issuing.pem` and `issuing.key`. The root's key is used only
//! to make the issuing certificate, so an operator may carry `root.key` away; if any other file is missing, empty,
//! unreadable or readable by others, the gateway does not start. `retired.pem` may hold earlier issuing certificates.
//! Everything here blocks: it runs before serving, and at a reload.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use tracing::info;
use zeroize::Zeroizing;

use super::retired_key::RetiredKey;
use crate::crypto::access_token::{AccessTokens, InvalidAccessKey};
use crate::crypto::authority::{Authority, AuthorityError};
use crate::crypto::jwt::{SignerError, TokenSigner};
use crate::crypto::random;
use crate::domain::secret::Secret;
use crate::domain::text;
use crate::domain::time::Clock;

/// The name of the authority in its certificates.
const AUTHORITY_NAME: &str = "Countersign";

/// The maximum number of bytes of one file: a chain of a few certificates, with room for comments.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The bits of a mode that give permissions to group and others.
const OTHERS: u32 = 0o077;

const ROOT_KEY: &str = "root.key";
const ROOT_CERT: &str = "root.pem";
const ISSUING_KEY: &str = "issuing.key";
const ISSUING_CERT: &str = "issuing.pem";
/// The optional file of earlier issuing certificates below this root, which clients' certificates may still depend on.
const RETIRED_CERTS: &str = "retired.pem";

/// The content of files, or its replacement, generated because there were none.
#[derive(Debug)]
pub struct Opened<T> {
    pub value: T,
    /// True if it was generated just now, which is worth an audit event.
    pub created: bool,
}

/// Trust that could not be loaded or generated. The gateway does not serve then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the authority in {directory} is not complete: {missing} is missing; restore it, \
         or remove the rest if nothing was ever signed by it"
    )]
    Incomplete { directory: PathBuf, missing: String },
    #[error("{path} may be used by users other than its owner; set its mode to 0600")]
    Exposed { path: PathBuf },
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is empty or far too large")]
    Size { path: PathBuf },
    #[error("{path} cannot be written")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the authority in {directory} is not usable")]
    Authority {
        directory: PathBuf,
        #[source]
        source: AuthorityError,
    },
    #[error(
        "the list of earlier signing keys in {path} cannot be read; it is made by rotations of the key"
    )]
    Retired {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the signing key in {path} is not usable")]
    Signer {
        path: PathBuf,
        #[source]
        source: SignerError,
    },
    #[error("the key of opaque tokens in {path} is not usable")]
    AccessKey {
        path: PathBuf,
        #[source]
        source: InvalidAccessKey,
    },
}

/// True if `directory` holds any file of an authority, complete or not.
pub fn is_there(directory: &Path) -> bool {
    [ROOT_CERT, ROOT_KEY, ISSUING_CERT, ISSUING_KEY]
        .into_iter()
        .any(|name| exists(&directory.join(name)))
}

/// Loads the authority from `directory`, or generates one there when it holds none at all.
pub fn open_or_create(directory: &Path, clock: &dyn Clock) -> Result<Opened<Authority>, Error> {
    let created = !is_there(directory);
    if created {
        create(directory, clock)?;
    }
    let value = load(directory, clock)?;
    if created {
        info!(authority = %value.id(), directory = %directory.display(), "authority created");
    }
    Ok(Opened { value, created })
}

/// Checks that the authority which [`open_or_create`] finds in `directory` can be used. Generates nothing.
pub fn examine(directory: &Path, clock: &dyn Clock) -> Result<(), Error> {
    if is_there(directory) {
        load(directory, clock)?;
    }
    Ok(())
}

/// Checks that the key in `path` can sign access tokens, if there is one. Generates nothing.
pub fn examine_token_signer(path: &Path) -> Result<(), Error> {
    if exists(path) {
        load_token_signer(path)?;
    }
    Ok(())
}

/// Loads the key that signs access tokens from `path`, or generates one when there is no such file.
pub fn open_or_create_token_signer(path: &Path) -> Result<Opened<TokenSigner>, Error> {
    let created = !exists(path);
    if created {
        if let Some(directory) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            make_directory(directory)?;
        }
        let key = TokenSigner::generate();
        write_new(&[(path.to_owned(), key.expose())])?;
        info!(path = %path.display(), "signing key for access tokens created");
    }
    let value = load_token_signer(path)?;
    Ok(Opened { value, created })
}

fn load_token_signer(path: &Path) -> Result<TokenSigner, Error> {
    let key = read_secret(path)?;
    TokenSigner::load(&key).map_err(|source| Error::Signer {
        path: path.to_owned(),
        source,
    })
}

/// Loads the key of opaque tokens from `path`, or generates one when there is no such file: a lost one ends those tokens,
/// which live for an hour or so.
pub(super) fn open_or_create_access_key(path: &Path) -> Result<AccessTokens, Error> {
    if !exists(path) {
        write_new(&[(path.to_owned(), AccessTokens::generate().expose())])?;
        info!(path = %path.display(), "key of opaque tokens created");
    }
    AccessTokens::load(&read_secret(path)?).map_err(|source| Error::AccessKey {
        path: path.to_owned(),
        source,
    })
}

/// The public halves of earlier token keys; none when there is no such file.
pub(super) fn retired_token_keys(path: &Path) -> Result<Vec<RetiredKey>, Error> {
    if !exists(path) {
        return Ok(Vec::new());
    }
    serde_json::from_str(&read(path)?).map_err(|source| Error::Retired {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn keep_retired_token_keys(path: &Path, keys: &[RetiredKey]) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(keys).map_err(|source| Error::Retired {
        path: path.to_owned(),
        source,
    })?;
    replace(path, &text)
}

/// Replaces the token key in `path`.
pub(super) fn replace_token_key(path: &Path, key: &Secret) -> Result<(), Error> {
    replace(path, key.expose())
}

/// Loads the authority from the current files of `directory`, to take the place of `running`; `None` when they are the
/// same. Refuses an authority that no longer trusts a certificate which `running` trusts.
pub fn successor(
    directory: &Path,
    running: &Authority,
    clock: &dyn Clock,
) -> Result<Option<Authority>, Error> {
    let found = load(directory, clock)?;
    if found.is_same(running) {
        return Ok(None);
    }
    found
        .may_succeed(running, clock.now())
        .map_err(|source| unusable(directory, source))?;
    Ok(Some(found))
}

fn load(directory: &Path, clock: &dyn Clock) -> Result<Authority, Error> {
    let missing: Vec<&str> = [ROOT_CERT, ISSUING_CERT, ISSUING_KEY]
        .into_iter()
        .filter(|name| !exists(&directory.join(name)))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Incomplete {
            directory: directory.to_owned(),
            missing: missing.join(", "),
        });
    }
    let root_key = directory.join(ROOT_KEY);
    if exists(&root_key) {
        refuse_exposed(&root_key)?;
    }
    let issuing_cert = read(&directory.join(ISSUING_CERT))?;
    let issuing_key = read_secret(&directory.join(ISSUING_KEY))?;
    let roots = read(&directory.join(ROOT_CERT))?;
    let retired = directory.join(RETIRED_CERTS);
    let retired = exists(&retired).then(|| read(&retired)).transpose()?;
    Authority::load(&issuing_cert, &issuing_key, &roots, clock.now())
        .and_then(|authority| match retired {
            Some(retired) => authority.with_retired(&retired, clock.now()),
            None => Ok(authority),
        })
        .map_err(|source| unusable(directory, source))
}

fn create(directory: &Path, clock: &dyn Clock) -> Result<(), Error> {
    make_directory(directory)?;
    let made = Authority::generate(AUTHORITY_NAME, clock.now())
        .map_err(|source| unusable(directory, source))?;
    // The issuing certificate comes last: once it is there, all files are.
    write_new(&[
        (directory.join(ROOT_KEY), made.root_key_pem.expose()),
        (directory.join(ROOT_CERT), &made.root_cert_pem),
        (directory.join(ISSUING_KEY), made.issuing_key_pem.expose()),
        (directory.join(ISSUING_CERT), &made.issuing_cert_pem),
    ])
}

fn unusable(directory: &Path, source: AuthorityError) -> Error {
    Error::Authority {
        directory: directory.to_owned(),
        source,
    }
}

/// True if there is a file at `path`. A dangling link or a path without permission is true as well: that is a mistake,
/// and no reason to create a new file.
pub fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn make_directory(directory: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| write_error(directory, source))
}

/// Writes new files so that each is whole or not there, and replaces none.
///
/// All are safe on disk under other names before the first gets its own; a link to a taken name fails, so of two
/// processes that start at once the second stops at its first file.
fn write_new(files: &[(PathBuf, &str)]) -> Result<(), Error> {
    let mark = HEXLOWER.encode(&random::bytes::<8>());
    let written = files.iter().try_for_each(|(path, text)| {
        let place = staged_name(path, &mark);
        write_synced(&place, text).map_err(|source| write_error(path, source))
    });
    let named = written.and_then(|()| {
        files.iter().try_for_each(|(path, _)| {
            fs::hard_link(staged_name(path, &mark), path)
                .map_err(|source| write_error(path, source))
        })
    });
    for (path, _) in files {
        // Best effort: a leftover harms nothing, and its content is not readable by others.
        let _ = fs::remove_file(staged_name(path, &mark));
    }
    named?;
    files
        .iter()
        .try_for_each(|(path, _)| sync_directory_of(path))
}

/// Replaces a file atomically: a crash leaves either the old file or the whole new one.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let staged = staged_name(path, &HEXLOWER.encode(&random::bytes::<8>()));
    let replaced = write_synced(&staged, text).and_then(|()| fs::rename(&staged, path));
    if let Err(source) = replaced {
        // Best effort, as above.
        let _ = fs::remove_file(&staged);
        return Err(write_error(path, source));
    }
    sync_directory_of(path)
}

fn sync_directory_of(path: &Path) -> Result<(), Error> {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| write_error(directory, source))
}

fn staged_name(path: &Path, mark: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{mark}.new"));
    path.with_file_name(name)
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read_secret(path: &Path) -> Result<Secret, Error> {
    refuse_exposed(path)?;
    read(path).map(Secret::new)
}

fn refuse_exposed(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|source| read_error(path, source))?;
    let others = metadata.mode() & OTHERS;
    if others == 0 {
        Ok(())
    } else {
        Err(Error::Exposed {
            path: path.to_owned(),
        })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let size = fs::metadata(path).map_err(|source| read_error(path, source))?;
    if size.len() == 0 || size.len() > FILE_BYTES_MAX {
        return Err(Error::Size {
            path: path.to_owned(),
        });
    }
    let bytes = fs::read(path).map_err(|source| read_error(path, source))?;
    // The bytes may be a private key, so no copy of them is left behind.
    let bytes = Zeroizing::new(bytes);
    Ok(text::decode(&bytes).into_owned())
}

fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::HandClock;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn an_authority_is_made_once_for_its_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("trust/authority");
        let clock = HandClock::at(1_800_000_000);
        let first = open_or_create(&directory, &*clock).unwrap();
        assert!(first.created);
        assert_eq!(mode(&directory), 0o700);
        let names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.iter().all(|path| mode(path) == 0o600));
        let second = open_or_create(&directory, &*clock).unwrap();
        assert!(!second.created);
        assert_eq!(second.value.id(), first.value.id());
    }

    #[test]
    fn what_is_missing_is_never_made_again_but_the_roots_key_may_be_elsewhere() {
        for missing in [ROOT_CERT, ISSUING_CERT, ISSUING_KEY] {
            let place = tempfile::tempdir().unwrap();
            let clock = HandClock::at(1_800_000_000);
            open_or_create(place.path(), &*clock).unwrap();
            fs::remove_file(place.path().join(missing)).unwrap();
            let refused = open_or_create(place.path(), &*clock).unwrap_err();
            assert!(matches!(refused, Error::Incomplete { .. }), "{refused}");
            assert!(refused.to_string().contains(missing));
            assert!(!place.path().join(missing).exists());
        }
        let place = tempfile::tempdir().unwrap();
        let clock = HandClock::at(1_800_000_000);
        open_or_create(place.path(), &*clock).unwrap();
        fs::remove_file(place.path().join(ROOT_KEY)).unwrap();
        assert!(!open_or_create(place.path(), &*clock).unwrap().created);
    }

    #[test]
    fn a_root_key_alone_is_no_empty_directory() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(ROOT_KEY), "precious").unwrap();
        let clock = HandClock::at(1_800_000_000);
        let refused = open_or_create(place.path(), &*clock).unwrap_err();
        assert!(matches!(refused, Error::Incomplete { .. }), "{refused}");
    }

    #[test]
    fn trust_that_is_exposed_empty_or_corrupt_is_not_used() {
        type Spoil = (&'static str, fn(&Path));
        let spoil: [Spoil; 4] = [
            (ISSUING_KEY, |path| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
            }),
            (ROOT_KEY, |path| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o604)).unwrap();
            }),
            (ISSUING_CERT, |path| fs::write(path, "").unwrap()),
            (ROOT_CERT, |path| fs::write(path, "nonsense").unwrap()),
        ];
        for (name, spoil) in spoil {
            let place = tempfile::tempdir().unwrap();
            let clock = HandClock::at(1_800_000_000);
            open_or_create(place.path(), &*clock).unwrap();
            spoil(&place.path().join(name));
            assert!(open_or_create(place.path(), &*clock).is_err(), "{name}");
        }
    }

    /// Replaces the issuing authority in `directory` by a new one below the same root.
    fn replace_issuing(directory: &Path, clock: &HandClock) {
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        let root_key = Secret::new(read(ROOT_KEY));
        let made = Authority::generate_issuing(&read(ROOT_CERT), &root_key, "Next", clock.now());
        let (cert, key) = made.unwrap();
        fs::write(directory.join(ISSUING_CERT), cert).unwrap();
        fs::write(directory.join(ISSUING_KEY), key.expose()).unwrap();
    }

    #[test]
    fn an_issuing_authority_is_replaced_while_nothing_that_counts_is_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        let clock = HandClock::at(1_800_000_000);
        let running = open_or_create(directory, &*clock).unwrap().value;
        assert!(successor(directory, &running, &*clock).unwrap().is_none());

        let replaced = fs::read_to_string(directory.join(ISSUING_CERT)).unwrap();
        replace_issuing(directory, &clock);
        let refused = successor(directory, &running, &*clock).unwrap_err();
        let told = std::error::Error::source(&refused).unwrap().to_string();
        assert!(told.contains("retired.pem"), "{told}");

        fs::write(directory.join(RETIRED_CERTS), replaced).unwrap();
        let next = successor(directory, &running, &*clock).unwrap().unwrap();
        assert_ne!(next.id(), running.id());
        let (kept, trusted) = (running.anchors(), next.anchors());
        assert!(kept.iter().all(|anchor| trusted.contains(anchor)));
        // A restart finds the same.
        let opened = open_or_create(directory, &*clock).unwrap();
        assert!(!opened.created && opened.value.is_same(&next));
    }

    #[test]
    fn what_is_no_successor_is_refused() {
        type Change<'c> = (&'c str, Vec<(&'c str, Vec<u8>)>);
        let other = tempfile::tempdir().unwrap();
        let clock = HandClock::at(1_800_000_000);
        open_or_create(other.path(), &*clock).unwrap();
        let foreign = |name: &str| fs::read(other.path().join(name)).unwrap();
        let changes: [Change<'_>; 5] = [
            (
                "another root and all below it",
                [ROOT_CERT, ISSUING_CERT, ISSUING_KEY]
                    .map(|name| (name, foreign(name)))
                    .into(),
            ),
            ("another root alone", vec![(ROOT_CERT, foreign(ROOT_CERT))]),
            ("another key", vec![(ISSUING_KEY, foreign(ISSUING_KEY))]),
            (
                "a retired one of others",
                vec![(RETIRED_CERTS, foreign(ISSUING_CERT))],
            ),
            (
                "no certificate",
                vec![(RETIRED_CERTS, b"nonsense".to_vec())],
            ),
        ];
        for (what, files) in changes {
            let place = tempfile::tempdir().unwrap();
            let running = open_or_create(place.path(), &*clock).unwrap().value;
            for (name, content) in files {
                fs::write(place.path().join(name), content).unwrap();
            }
            let result = successor(place.path(), &running, &*clock);
            assert!(result.is_err(), "{what}");
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("taken");
        fs::write(&path, "first").unwrap();
        assert!(write_new(&[(path.clone(), "second")]).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_signing_key_is_made_once_and_kept() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys/token.key");
        let first = open_or_create_token_signer(&path).unwrap();
        assert!(first.created);
        assert_eq!(mode(&path), 0o600);
        let second = open_or_create_token_signer(&path).unwrap();
        assert!(!second.created);
        let (first, second) = (first.value, second.value);
        assert_eq!(first.verification_key(), second.verification_key());
        fs::write(&path, "nonsense").unwrap();
        assert!(open_or_create_token_signer(&path).is_err());
    }
}
