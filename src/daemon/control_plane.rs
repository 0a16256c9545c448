//! The control plane of a start: the publisher, the operations over it, and the service for partners.

use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use prometheus::Registry;
use serde_json::json;
use tokio::sync::mpsc;

use super::foundation::Foundation;
use super::pump;
use super::registry_view::LiveRegistry;
use super::reload::ca_pem;
use super::sources::Sources;
use super::trust::Trust;
use crate::api::partner::metrics::TokenMetrics;
use crate::api::partner::service::PartnerService;
use crate::config::root::Config;
use crate::control::key_uses::{ASKED_MAX, KeyUses, UsesAsked};
use crate::control::metrics::ControlMetrics;
use crate::control::publish::{Publication, Publisher};
use crate::control::published_keys::PublishedKeys;
use crate::control::service::{Control, Parts};
use crate::control::tokens::service::{TokenParts, TokenService, TokenSettings};
use crate::crypto::access_token::AccessTokens;
use crate::crypto::api_key::SecretHasher;
use crate::crypto::dpop::proofs::Proofs;
use crate::crypto::jwt::TokenSigner;
use crate::crypto::signing_key::SigningTexts;
use crate::domain::admin::Actor;
use crate::domain::certificate::Profile;
use crate::domain::registry::sessions::SessionsMax;
use crate::domain::snapshot::{Catalog, Snapshot};
use crate::domain::time::Clock;
use crate::store::sessions::Sessions;
use crate::store::tickets::Tickets;

/// The maximum number of sessions of an App, live or not swept yet: about 4 GiB in the store's file.
const SESSIONS_PER_APP_MAX: u64 = 10_000_000;

/// The maximum number of auth tokens of an App, and of its used assertions: about 30 MiB each in the store's file. A
/// client that signs an assertion for an hour, 50 times a second, stays below it.
const TICKETS_PER_APP_MAX: u32 = 200_000;

/// The publisher with its first snapshot.
#[derive(Debug)]
pub struct Publishing {
    publisher: Publisher,
    /// The snapshots on their way to the data plane.
    pub publications: mpsc::Receiver<Publication>,
    /// The snapshot by which the data plane decides.
    pub live: Arc<ArcSwap<Snapshot>>,
    metrics: ControlMetrics,
}

impl Publishing {
    /// Loads the first snapshot, with the catalogue of the start.
    pub async fn start(
        trust: &Trust,
        catalog: Arc<Catalog>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let metrics = ControlMetrics::register(registry)?;
        let (outlet, publications) = mpsc::channel(pump::WAITING_MAX);
        let (publisher, first) = Publisher::start(
            Arc::clone(&trust.store),
            catalog,
            trust.token_keys.verification_keys().await,
            outlet,
            metrics.clone(),
        )
        .await?;
        Ok(Self {
            publisher,
            publications,
            live: Arc::new(ArcSwap::new(first)),
            metrics,
        })
    }

    /// The registry for handshakes.
    pub fn view(&self, clock: &Arc<dyn Clock>) -> Arc<LiveRegistry> {
        Arc::new(LiveRegistry {
            live: Arc::clone(&self.live),
            clock: Arc::clone(clock),
        })
    }
}

/// The operations, and the parts that they share with the data plane.
#[derive(Debug)]
pub struct ControlPlane {
    pub control: Control,
    pub hasher: Arc<SecretHasher>,
    /// The judge of DPoP proofs, one for the token endpoint and the workers.
    pub proofs: Arc<Proofs>,
    /// Absent if the configuration has no sealing key.
    pub signing_texts: Option<Arc<SigningTexts>>,
    /// The reader of access tokens, one for both.
    pub access_tokens: Arc<AccessTokens>,
    /// The current signer of tokens, replaced by each rotation.
    pub signer: Arc<ArcSwap<TokenSigner>>,
    /// The certificates that partners download to trust the authority.
    pub ca_pem: Arc<ArcSwap<Bytes>>,
    tickets: Arc<dyn Tickets>,
    sessions: Arc<dyn Sessions>,
}

impl ControlPlane {
    /// Builds the control plane. Returns also its questions for the uses of keys.
    pub fn connect(
        config: &Config,
        foundation: &Foundation,
        trust: Trust,
        publishing: &Publishing,
        (profile, signing_texts): (Profile, Option<Arc<SigningTexts>>),
    ) -> (Self, mpsc::Receiver<UsesAsked>) {
        let pepper = config.keys.pepper.as_ref();
        let hasher = Arc::new(SecretHasher::new(
            pepper.map(|pepper| pepper.secret().clone()),
        ));
        let signer = trust.token_keys.signer();
        let access_tokens = trust.token_keys.access_tokens();
        let ca_pem = Arc::new(ArcSwap::from_pointee(ca_pem(&trust.authority)));
        let (asked, uses_asked) = mpsc::channel(ASKED_MAX);
        let control = Control::new(Parts {
            store: trust.store,
            sessions: Arc::clone(&trust.sessions),
            tickets: Arc::clone(&trust.tickets),
            published: Arc::new(PublishedKeys::new(Arc::new(Sources::new(&config.tokens)))),
            publisher: publishing.publisher.clone(),
            authority: trust.authority,
            hasher: Arc::clone(&hasher),
            signing_texts: signing_texts.clone(),
            profile,
            clock: Arc::clone(&foundation.clock),
            metrics: publishing.metrics.clone(),
            token_keys: trust.token_keys,
            key_uses: KeyUses::new(asked),
        });
        control.offer_scopes(config.replaceable().known_scopes());
        let plane = Self {
            control,
            hasher,
            signing_texts,
            proofs: Arc::new(Proofs::new(config.tokens.dpop_nonces)),
            access_tokens,
            signer,
            ca_pem,
            tickets: trust.tickets,
            sessions: trust.sessions,
        };
        (plane, uses_asked)
    }

    /// The service that answers partners.
    pub fn partner_service(
        &self,
        config: &Config,
        foundation: &Foundation,
    ) -> anyhow::Result<PartnerService> {
        let tokens = TokenService::new(TokenParts {
            settings: token_settings(config),
            signer: Arc::clone(&self.signer),
            hasher: Arc::clone(&self.hasher),
            clock: Arc::clone(&foundation.clock),
            tickets: Arc::clone(&self.tickets),
            published: Arc::clone(self.control.published()),
            sessions: Arc::clone(&self.sessions),
            publisher: self.control.publisher().clone(),
            proofs: Arc::clone(&self.proofs),
            access_tokens: Arc::clone(&self.access_tokens),
        });
        Ok(PartnerService {
            metrics: TokenMetrics::register(&foundation.registry)?,
            control: self.control.clone(),
            tokens: Arc::new(tokens),
            ca_pem: Arc::clone(&self.ca_pem),
        })
    }

    /// Records the parts that this start created, each by its action and its subject.
    pub async fn note_created(&self, created: &[(&'static str, String)]) -> anyhow::Result<()> {
        for (action, subject) in created {
            let noted = self
                .control
                .note(&Actor::Gateway, action, subject, json!({}));
            noted.await.with_context(|| format!("noting {action}"))?;
        }
        Ok(())
    }
}

fn token_settings(config: &Config) -> TokenSettings {
    let tokens = &config.tokens;
    TokenSettings {
        ttl: tokens.ttl.get(),
        ttl_bound: tokens.ttl_bound.get(),
        auth_token_ttl: tokens.auth_token_ttl.get(),
        session_ttl: tokens.session_ttl.get(),
        refresh_ttl: tokens.refresh_ttl.get(),
        sessions_max: SessionsMax {
            per_user: usize::try_from(tokens.sessions_per_user).unwrap_or(usize::MAX),
            per_app: SESSIONS_PER_APP_MAX,
        },
        tickets_max: TICKETS_PER_APP_MAX,
    }
}
