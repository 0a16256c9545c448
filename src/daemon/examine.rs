//! The check of a configuration: it opens each named file as the gateway does, and reports each fault with its entry,
//! its file and its exact cause.
//!
//! `serve`, `reload` and `config check` load a configuration here and nowhere else, so that none of them accepts one
//! that another cannot use.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, absolute};

use super::clock::SystemClock;
use super::sealing;
use super::trust::{self, Part};
use super::world::connector;
use crate::api::partner::table;
use crate::config::file::PemFile;
use crate::config::load::{Examined, Layers, Loaded, environment, load_examined};
use crate::config::path::YamlPath;
use crate::config::problem::{Finding, Problem, Problems};
use crate::config::root::Config;
use crate::config::secret::SecretReference;
use crate::config::upstreams::Upstream;
use crate::control::authority;
use crate::crypto::chain::{Chain, ChainError};
use crate::crypto::tls_error::TlsError;
use crate::domain::time::{Clock, Timestamp};
use crate::store::sqlite::backend::SqliteStore;

/// Loads the configuration in a file and everything that it names, with overrides from the environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_examined(path, &layers(), |config| examine(config, &SystemClock))
}

/// Loads a configuration as [`load`] does, for a reload: the next start has to open what the store has sealed.
pub fn load_again(path: &Path) -> Result<Loaded, Problems> {
    load_examined(path, &layers(), |config| {
        let mut found = examine(config, &SystemClock);
        sealed(config, SystemClock.now(), &mut found);
        found
    })
}

/// Loads a configuration as [`load`] does, and adds what a start would refuse to create: an authority, a token key or a
/// store that is lost. A start itself judges that when it holds the lock, so that it names another gateway first.
pub fn check(path: &Path) -> Result<Loaded, Problems> {
    load_examined(path, &layers(), |config| {
        let mut found = examine(config, &SystemClock);
        lost(config, &mut found);
        sealed(config, SystemClock.now(), &mut found);
        found
    })
}

fn layers() -> Layers {
    Layers {
        environment: environment(),
        endpoints: table::endpoints(),
        ..Layers::default()
    }
}

fn lost(config: &Config, found: &mut Examined) {
    let Some(missing) = trust::missing(config) else {
        return;
    };
    let path = match missing.part {
        Part::Authority => at("authority").key("directory"),
        Part::TokenKey => at("tokens").key("signing_key"),
        Part::Store => at("store").key("url"),
    };
    let finding = Finding::new(path, missing.message);
    // `serve --new-store` begins with an empty store, and only a start knows whether it was asked to.
    let list = if missing.may_be_asked_for {
        &mut found.warnings
    } else {
        &mut found.faults
    };
    list.push(finding);
}

/// Checks that the sealing key opens what the store has sealed. A start judges that by what it loads.
fn sealed(config: &Config, now: Timestamp, found: &mut Examined) {
    // A store that cannot be read has been reported already.
    let sealed = SqliteStore::sealed_texts(&config.store_path(), now).unwrap_or_default();
    let sealed = sealed.iter().map(|(id, sealed)| (*id, sealed));
    let texts = match sealing::signing_texts(config) {
        Ok(texts) => texts,
        Err(error) => return note(at("keys").key("sealing_key"), error.as_ref(), found),
    };
    if let Err(unopened) = sealing::check(texts.as_deref(), sealed) {
        let path = at("keys").key("sealing_key");
        found.faults.push(Finding::new(path, unopened.to_string()));
    }
}

/// Writes warnings into the log.
pub fn log_warnings(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!(
            path = %warning.path,
            line = warning.line,
            message = %warning.message,
            "the configuration can be used, with a warning"
        );
    }
}

/// Opens everything that a configuration names, and changes nothing.
pub fn examine(config: &Config, clock: &dyn Clock) -> Examined {
    let mut found = Examined::default();
    let entries = at("tls").key("certificates");
    for (index, written) in config.tls.certificates.iter().enumerate() {
        let pair = Pair {
            path: entries.index(index),
            cert: ("cert", &written.cert),
            key: ("key", &written.key),
        };
        pair.examine(config, clock.now(), &mut found);
    }
    for (name, written) in &config.upstreams {
        upstream(
            &at("upstreams").key(name),
            written,
            (config, clock.now()),
            &mut found,
        );
    }
    trust(config, clock, &mut found);
    places(config, &mut found);
    found
}

fn at(section: &str) -> YamlPath {
    YamlPath::root().key(section)
}

/// A certificate with its chain, and its private key.
struct Pair<'c> {
    path: YamlPath,
    cert: (&'static str, &'c PemFile),
    key: (&'static str, &'c SecretReference),
}

impl Pair<'_> {
    fn examine(&self, config: &Config, now: Timestamp, found: &mut Examined) {
        let ((cert_name, cert), (key_name, key)) = (self.cert, self.key);
        let key_path = self.path.key(key_name);
        if let Some(warning) = exposed(key, &config.directory) {
            found.warnings.push(Finding::new(key_path.clone(), warning));
        }
        let (Some(cert_pem), Some(key_pem)) = (cert.fetched(), key.fetched()) else {
            return;
        };
        let file = cert.path().display();
        let read = Chain::read(cert_pem, key_pem);
        let remarks = read.and_then(|chain| chain.remarks(now).map_err(ChainError::from));
        match remarks {
            Ok(remarks) => {
                let warning =
                    |remark| Finding::new(self.path.key(cert_name), format!("{file}: {remark}"));
                found.warnings.extend(remarks.into_iter().map(warning));
            }
            Err(error) if error.is_of_key() => {
                let message = format!("{key}: {}", causes(&error));
                found.faults.push(Finding::new(key_path, message));
            }
            Err(error) => {
                let message = format!("{file}: {}", causes(&error));
                let path = self.path.key(cert_name);
                found.faults.push(Finding::new(path, message));
            }
        }
    }
}

/// The fault of permissions that let other users read or change a private key. A group may read it: that is how several
/// services share one.
fn exposed(key: &SecretReference, directory: &Path) -> Option<String> {
    const TOO_MUCH: u32 = 0o027;
    let file = key.file(directory)?;
    let mode = std::fs::metadata(&file).ok()?.mode() & 0o777;
    (mode & TOO_MUCH != 0).then(|| {
        let file = file.display();
        format!("{file} has the mode {mode:04o}, so users other than its owner can use the private key; set it to 0600")
    })
}

fn upstream(
    path: &YamlPath,
    written: &Upstream,
    (config, now): (&Config, Timestamp),
    found: &mut Examined,
) {
    let tls = &written.tls;
    if let (Some(cert), Some(key)) = (&tls.client_cert, &tls.client_key) {
        let pair = Pair {
            path: path.key("tls"),
            cert: ("client_cert", cert),
            key: ("client_key", key),
        };
        pair.examine(config, now, found);
    }
    let files = [&tls.ca, &tls.client_cert].into_iter().flatten();
    let keys = tls.client_key.iter();
    let is_fetched = files.into_iter().all(|file| file.fetched().is_some())
        && keys.into_iter().all(|key| key.fetched().is_some());
    let is_tls = written.endpoints.iter().any(|endpoint| endpoint.0.tls);
    if is_fetched && (is_tls || tls.ca.is_some()) {
        match connector(written) {
            // Reported above, with the file.
            Ok(_) | Err(TlsError::Chain(_)) => {}
            Err(error) => {
                let file = tls
                    .ca
                    .as_ref()
                    .map(|ca| format!("{}: ", ca.path().display()));
                let message = format!("{}{}", file.unwrap_or_default(), causes(&error));
                found
                    .faults
                    .push(Finding::new(path.key("tls").key("ca"), message));
            }
        }
    }
}

/// Checks the authority, the key that signs tokens, and the store, as far as they exist; the first start creates the
/// missing ones.
fn trust(config: &Config, clock: &dyn Clock, found: &mut Examined) {
    let directory = config.authority_directory();
    if let Err(error) = authority::examine(&directory, clock) {
        note(at("authority").key("directory"), &error, found);
    }
    if let Err(error) = authority::examine_token_signer(&config.token_signing_key()) {
        note(at("tokens").key("signing_key"), &error, found);
    }
    if let Err(error) = SqliteStore::examine(&config.store_path()) {
        note(at("store").key("url"), &error, found);
    }
}

/// Notes a fault. A file that this user may not read is only a warning: the gateway may run as another user.
fn note(path: YamlPath, error: &(dyn Error + 'static), found: &mut Examined) {
    if is_denied(error) {
        let message = format!("{}; run this as the gateway's user", causes(error));
        found.warnings.push(Finding::new(path, message));
    } else {
        found.faults.push(Finding::new(path, causes(error)));
    }
}

fn is_denied(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The maximum number of bytes of a unix socket's path that the kernel takes (`sun_path`, with the zero at its end).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Checks the directories that have to exist; the data directory may be missing, because a start creates it.
fn places(config: &Config, found: &mut Examined) {
    let socket = config.admin_socket();
    for (section, key, place) in [
        ("admin", "socket", Some(socket.clone())),
        ("store", "url", Some(config.store_path())),
        ("access_log", "path", config.access_log_path()),
    ] {
        let Some(parent) = place.as_deref().and_then(Path::parent) else {
            continue;
        };
        if !is_or_will_be_there(parent, config) {
            let message = format!("the directory {} does not exist", parent.display());
            found
                .faults
                .push(Finding::new(at(section).key(key), message));
        }
    }
    let length = absolute(&socket)
        .unwrap_or(socket)
        .as_os_str()
        .as_bytes()
        .len();
    if length > SOCKET_PATH_BYTES_MAX {
        let message = format!(
            "the socket's path has {length} bytes, and the kernel takes {SOCKET_PATH_BYTES_MAX}; name a shorter one"
        );
        let path = at("admin").key("socket");
        found.faults.push(Finding::new(path, message));
    }
    let data = config.data_directory();
    if data.exists() && !data.is_dir() {
        let message = format!("{} is not a directory", data.display());
        found
            .faults
            .push(Finding::new(at("data_directory"), message));
    }
}

fn is_or_will_be_there(directory: &Path, config: &Config) -> bool {
    let same = |one: &Path, other: &Path| absolute(one).ok() == absolute(other).ok();
    // A directory that this user may not read is accepted: the gateway's user may.
    let absent =
        std::fs::metadata(directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    directory.as_os_str().is_empty() || !absent || same(directory, &config.data_directory())
}

/// An error and its causes, each after a colon.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
