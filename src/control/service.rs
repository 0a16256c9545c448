//! Control: the operators' operations, behind one handle. One file per noun adds its operations to it.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::draft::Draft;
use super::error::Error;
use super::key_ring::TokenKeys;
use super::key_texts::KeyTexts;
use super::key_uses::KeyUses;
use super::metrics::ControlMetrics;
use super::publish::{Changed, Publisher, blocking};
use super::published_keys::PublishedKeys;
use super::writer::Plan;
use crate::crypto::api_key::SecretHasher;
use crate::crypto::authority::Authority;
use crate::crypto::signing_key::SigningTexts;
use crate::domain::certificate::Profile;
use crate::domain::scope::ScopeSet;
use crate::domain::time::{Clock, Timestamp};
use crate::store::repository::Store;
use crate::store::sessions::Sessions;
use crate::store::tickets::Tickets;

/// The dependencies of [`Control`].
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub sessions: Arc<dyn Sessions>,
    pub tickets: Arc<dyn Tickets>,
    pub published: Arc<PublishedKeys>,
    pub publisher: Publisher,
    pub authority: Arc<Authority>,
    pub hasher: Arc<SecretHasher>,
    /// Absent if the configuration has no sealing key.
    pub signing_texts: Option<Arc<SigningTexts>>,
    pub profile: Profile,
    pub clock: Arc<dyn Clock>,
    pub metrics: ControlMetrics,
    pub token_keys: TokenKeys,
    pub key_uses: KeyUses,
}

/// The operations of the control plane. Cloning it is cheap.
///
/// The edge authorizes; this room records every change with the [`Actor`] who made it.
///
/// [`Actor`]: crate::domain::admin::Actor
#[derive(Clone, Debug)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    sessions: Arc<dyn Sessions>,
    tickets: Arc<dyn Tickets>,
    published: Arc<PublishedKeys>,
    publisher: Publisher,
    signing: ArcSwap<Signing>,
    clock: Arc<dyn Clock>,
    metrics: ControlMetrics,
    token_keys: TokenKeys,
    keys: KeyParts,
}

/// The parts for operations on keys and other secrets.
#[derive(Debug)]
struct KeyParts {
    texts: KeyTexts,
    uses: KeyUses,
    /// The scopes that there are; every name is one if there is no catalogue.
    scopes: ArcSwapOption<ScopeSet>,
}

/// The parts that sign certificates. A reload replaces both at once, so an operation takes both from one value.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) authority: Arc<Authority>,
    pub(super) profile: Profile,
}

impl Control {
    pub fn new(parts: Parts) -> Self {
        let state = &parts.metrics.state;
        state.authority_ends(parts.authority.not_after());
        let inner = Inner {
            store: parts.store,
            sessions: parts.sessions,
            tickets: parts.tickets,
            published: parts.published,
            publisher: parts.publisher,
            signing: ArcSwap::from_pointee(Signing {
                authority: parts.authority,
                profile: parts.profile,
            }),
            clock: parts.clock,
            metrics: parts.metrics,
            token_keys: parts.token_keys,
            keys: KeyParts {
                texts: KeyTexts {
                    hasher: parts.hasher,
                    signing: parts.signing_texts,
                },
                uses: parts.key_uses,
                scopes: ArcSwapOption::empty(),
            },
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Replaces the authority and the profile for signatures, for a reload.
    pub fn sign_by(&self, authority: Arc<Authority>, profile: Profile) {
        let state = &self.metrics().state;
        state.authority_ends(authority.not_after());
        let signing = Signing { authority, profile };
        self.inner.signing.store(Arc::new(signing));
    }

    /// Replaces the catalogue of scopes, for a reload. Keys that have others keep them.
    pub fn offer_scopes(&self, scopes: Option<ScopeSet>) {
        self.inner.keys.scopes.store(scopes.map(Arc::new));
    }

    pub(super) fn scopes(&self) -> Option<Arc<ScopeSet>> {
        self.inner.keys.scopes.load_full()
    }

    pub fn publisher(&self) -> &Publisher {
        &self.inner.publisher
    }

    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.inner.signing.load().authority)
    }

    pub(super) fn sessions_kept(&self) -> &Arc<dyn Sessions> {
        &self.inner.sessions
    }

    pub(super) fn tickets(&self) -> &Arc<dyn Tickets> {
        &self.inner.tickets
    }

    /// The public keys that Apps publish at a URL.
    pub fn published(&self) -> &Arc<PublishedKeys> {
        &self.inner.published
    }

    pub(super) fn hasher(&self) -> &Arc<SecretHasher> {
        &self.inner.keys.texts.hasher
    }

    pub(super) fn key_texts(&self) -> &KeyTexts {
        &self.inner.keys.texts
    }

    pub(super) fn signing(&self) -> Arc<Signing> {
        self.inner.signing.load_full()
    }

    pub(super) fn metrics(&self) -> &ControlMetrics {
        &self.inner.metrics
    }

    pub(super) fn key_uses_held(&self) -> &KeyUses {
        &self.inner.keys.uses
    }

    pub(super) fn token_keys_held(&self) -> &TokenKeys {
        &self.inner.token_keys
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        blocking(&self.inner.store, query).await
    }

    pub(super) async fn commit<T: Send + 'static>(
        &self,
        decide: impl Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send + 'static,
    ) -> Result<Changed<T>, Error> {
        self.inner.publisher.commit(decide).await
    }

    pub(super) async fn record<T: Send + 'static>(
        &self,
        decide: impl Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.publisher.record(decide).await
    }
}
