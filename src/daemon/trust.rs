//! The trust of a start: the store, the authority and the key that signs tokens; all loaded, or all created on the
//! first start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use prometheus::Registry;

use crate::config::root::Config;
use crate::control::authority;
use crate::control::key_ring::TokenKeys;
use crate::crypto::authority::Authority;
use crate::domain::time::Clock;
use crate::store::measured::Measured;
use crate::store::repository::Store;
use crate::store::sessions::Sessions;
use crate::store::sqlite::backend::SqliteStore;
use crate::store::tickets::Tickets;

/// The suffix for the store's name in the name of the file that exists until a first start has finished.
const UNFINISHED: &str = ".unfinished";

/// The parts that have to be loaded and correct before the gateway serves.
pub struct Trust {
    pub store: Arc<dyn Store>,
    /// The store's place for tickets.
    pub tickets: Arc<dyn Tickets>,
    /// The store's place for sessions.
    pub sessions: Arc<dyn Sessions>,
    pub authority: Arc<Authority>,
    pub token_keys: TokenKeys,
    /// The parts that this start created: the action and the subject of their audit events.
    pub created: Vec<(&'static str, String)>,
}

impl Trust {
    /// Loads all parts. With `new_store`, an empty store may be created beside an existing authority.
    pub fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        registry: &Registry,
        new_store: bool,
    ) -> anyhow::Result<Self> {
        let places = Places::of(config);
        places.refuse_remains(new_store)?;
        places.begin()?;
        let directory = &places.authority;
        let authority = authority::open_or_create(directory, &**clock)
            .with_context(|| format!("loading the authority from {}", directory.display()))?;
        // The store comes last: once it is there, all other parts are.
        let key = &places.token_key;
        let lifetime = config.tokens.ttl.get().max(config.tokens.ttl_bound.get());
        let token_keys = TokenKeys::open(key, lifetime, clock.now())
            .with_context(|| format!("loading the signing key {}", key.display()))?;
        let store = SqliteStore::open(&places.store)
            .with_context(|| format!("opening the store {}", places.store.display()))?;
        let store = Arc::new(store);
        mark_store(&places.store)?;
        places.finish()?;
        let mut created = Vec::new();
        if authority.created {
            created.push(("authority.create", authority.value.id().to_string()));
        }
        if token_keys.created {
            let kid = token_keys.value.signer().load().verification_key().kid;
            created.push(("token_key.create", kid));
        }
        Ok(Self {
            created,
            tickets: Arc::clone(&store) as _,
            sessions: Arc::clone(&store) as _,
            store: Arc::new(Measured::register(store, registry)?),
            authority: Arc::new(authority.value),
            token_keys: token_keys.value,
        })
    }
}

/// The paths of the parts.
struct Places {
    authority: PathBuf,
    token_key: PathBuf,
    store: PathBuf,
    /// The mark that exists from the beginning of a first start to its end: other files that exist then were created by
    /// it.
    unfinished: PathBuf,
}

impl Places {
    fn of(config: &Config) -> Self {
        Self {
            authority: config.authority_directory(),
            token_key: config.token_signing_key(),
            store: config.store_path(),
            unfinished: beside(&config.store_path(), UNFINISHED),
        }
    }

    /// Marks the beginning of a first start, so that the next start may continue a failed one.
    fn begin(&self) -> anyhow::Result<()> {
        let is_there = authority::is_there(&self.authority)
            || authority::exists(&self.token_key)
            || authority::exists(&self.store);
        if is_there {
            return Ok(());
        }
        let text = "A first start was not finished. The next one removes this file.\n";
        std::fs::write(&self.unfinished, text)
            .with_context(|| format!("writing {}", self.unfinished.display()))
    }

    fn finish(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(&self.unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.unfinished.display()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to create missing parts beside the remains of an earlier installation, unless it is asked for.
    fn refuse_remains(&self, new_store: bool) -> anyhow::Result<()> {
        match self.missing() {
            Some(missing) if missing.may_be_asked_for && new_store => {
                tracing::warn!(
                    store = %self.store.display(),
                    "the store begins empty: no certificate or key from before is known"
                );
                Ok(())
            }
            Some(missing) => bail!(missing.message),
            None => Ok(()),
        }
    }

    /// The part that is missing beside the remains of an earlier installation. If it were created, partners would all be
    /// refused, because each part is trusted by another, and the loss of the files would go unnoticed.
    fn missing(&self) -> Option<Missing> {
        let store_is_there = authority::exists(&self.store);
        let store_was_there = authority::exists(&mark_of(&self.store));
        let authority_is_there = authority::is_there(&self.authority);
        let key_is_there = authority::exists(&self.token_key);
        if store_is_there || store_was_there {
            if !authority_is_there {
                let message = lost("the authority", &self.authority, &self.store);
                return Some(Missing::never(Part::Authority, message));
            }
            if !key_is_there {
                let message = lost("the signing key", &self.token_key, &self.store);
                return Some(Missing::never(Part::TokenKey, message));
            }
        }
        if store_is_there || !(authority_is_there || key_is_there) {
            return None;
        }
        let (what, path) = if authority_is_there {
            ("the authority", &self.authority)
        } else {
            ("the signing key", &self.token_key)
        };
        if store_was_there {
            let message = format!(
                "{what} {} was in use with the store {}, which is missing; restore the store from a backup. \
                 To begin with an empty one, in which no partner is known, delete {} and start once with \
                 `countersign serve --new-store`",
                path.display(),
                self.store.display(),
                mark_of(&self.store).display()
            );
            return Some(Missing::never(Part::Store, message));
        }
        if authority::exists(&self.unfinished) {
            return None;
        }
        let message = format!(
            "{what} {} is there, and the store {} is missing; restore the store from a backup. \
             To begin with an empty one, in which no partner is known, for example with an authority of your own, \
             start once with `countersign serve --new-store`",
            path.display(),
            self.store.display()
        );
        Some(Missing {
            part: Part::Store,
            message,
            may_be_asked_for: true,
        })
    }
}

/// Something that a start does not make by itself, because what it belongs to is there already.
#[derive(Debug)]
pub struct Missing {
    pub part: Part,
    pub message: String,
    /// True if `--new-store` makes it all the same.
    pub may_be_asked_for: bool,
}

impl Missing {
    const fn never(part: Part, message: String) -> Self {
        Self {
            part,
            message,
            may_be_asked_for: false,
        }
    }
}

/// One of the three that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Authority,
    TokenKey,
    Store,
}

/// The part that a start with this configuration would find missing beside the rest. Makes nothing.
pub fn missing(config: &Config) -> Option<Missing> {
    Places::of(config).missing()
}

fn lost(what: &str, path: &Path, store: &Path) -> String {
    format!(
        "{what} {} is missing, and the store {} was in use with it; restore it from a backup, \
         or move the store and {} away to start with an empty store",
        path.display(),
        store.display(),
        mark_of(store).display()
    )
}

/// The path of the mark beside the store, which records that there was one, so that a lost store is not taken for a
/// first start.
fn mark_of(store: &Path) -> PathBuf {
    beside(store, ".exists")
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn mark_store(store: &Path) -> anyhow::Result<()> {
    let mark = mark_of(store);
    let text =
        "The store next to this file is in use. Delete both files to start with an empty store.\n";
    std::fs::write(&mark, text).with_context(|| format!("writing {}", mark.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The existing files, the option for an empty store, and the expected part of the refusal.
    #[test]
    fn nothing_is_made_beside_what_is_left_unless_it_is_asked_for() {
        for (there, new_store, refusal) in [
            ("", false, None),
            ("authority key store mark", false, None),
            ("authority key store", false, None),
            ("authority key", false, Some("--new-store")),
            ("authority", false, Some("--new-store")),
            ("key", false, Some("--new-store")),
            ("authority key", true, None),
            ("authority", true, None),
            ("key", true, None),
            ("authority unfinished", false, None),
            ("authority key unfinished", false, None),
            (
                "authority key unfinished mark",
                false,
                Some("store.db.exists"),
            ),
            ("authority key mark", false, Some("store.db.exists")),
            ("authority key mark", true, Some("store.db.exists")),
            ("mark", true, Some("the authority")),
            ("authority store", true, Some("the signing key")),
            ("key store", true, Some("the authority")),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let places = Places {
                authority: dir.path().join("authority"),
                token_key: dir.path().join("token.key"),
                store: dir.path().join("store.db"),
                unfinished: dir.path().join("store.db.unfinished"),
            };
            for part in there.split_whitespace() {
                let path = match part {
                    "authority" => {
                        fs::create_dir(&places.authority).unwrap();
                        places.authority.join("issuing.pem")
                    }
                    "key" => places.token_key.clone(),
                    "store" => places.store.clone(),
                    "unfinished" => places.unfinished.clone(),
                    _ => mark_of(&places.store),
                };
                fs::write(path, "x").unwrap();
            }
            let said = places.refuse_remains(new_store).err();
            let said = said.map(|error| error.to_string());
            match (&said, refusal) {
                (None, None) => {}
                (Some(said), Some(part)) => assert!(said.contains(part), "{there}: {said}"),
                other => panic!("{there} {new_store}: {other:?}"),
            }
        }
    }
}
