//! Verification of other issuers' tokens, with a cache of verified ones.
//!
//! As with tokens of ours, the cache holds only what a token says, and that its signature is valid. Its time and its App
//! are judged for each request. Other keys, and another configuration, empty the cache.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use quick_cache::unsync::Cache;
use tokio::sync::mpsc;

use crate::crypto::foreign_jwt::Fault;
use crate::crypto::issuer_token::{IssuerClaims, IssuerVerifier};
use crate::domain::app::{App, AppState};
use crate::domain::id::AppId;
use crate::domain::identity::{Bearer, KeyFacts};
use crate::domain::issuer::{FetchedSets, ForeignIssuer, ForeignToken, Source};
use crate::domain::name::Name;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::proxy::identity_headers::claims;

/// The time between two requests of one worker for newer keys of one issuer. The control plane fetches at most once a
/// minute.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// A worker's verifier of other issuers' tokens.
#[derive(Debug)]
pub struct IssuerTokens {
    state: RefCell<State>,
    /// The way of requests for newer keys. One that finds it full is lost: the next token asks again.
    missing: mpsc::Sender<Source>,
}

#[derive(Debug)]
struct State {
    /// The configuration and the sets that the rest was made with.
    generation: u64,
    published: Arc<FetchedSets>,
    /// As many as issuers are configured; none for one whose keys were not fetched yet.
    verifiers: HashMap<Name, Option<IssuerVerifier>>,
    /// By their digest: no text is held here.
    tokens: Cache<[u8; 32], Arc<ForeignToken>>,
    /// The Apps by the names in the configuration, and the snapshot in which they were looked for.
    apps: HashMap<Name, (u64, Option<AppId>)>,
    asked: HashMap<Name, Timestamp>,
}

impl IssuerTokens {
    pub fn new(tokens_max: usize, missing: mpsc::Sender<Source>) -> Self {
        Self {
            state: RefCell::new(State {
                generation: 0,
                published: Arc::default(),
                verifiers: HashMap::default(),
                tokens: Cache::new(tokens_max.max(1)),
                apps: HashMap::default(),
                asked: HashMap::default(),
            }),
            missing,
        }
    }

    /// The token with this digest, if it was verified before.
    pub fn known(&self, digest: &[u8; 32], snapshot: &Snapshot) -> Option<Arc<ForeignToken>> {
        let mut state = self.state.borrow_mut();
        state.follow(snapshot);
        state.tokens.get(digest).map(Arc::clone)
    }

    /// Verifies a token of `issuer`.
    pub fn verify(
        &self,
        text: &str,
        digest: &[u8; 32],
        issuer: &Arc<ForeignIssuer>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Arc<ForeignToken>, Reason> {
        let mut state = self.state.borrow_mut();
        state.follow(snapshot);
        let verified = state.verify(text, issuer, now);
        let read = match verified {
            Ok(read) => read,
            Err(fault) => {
                if fault == Some(Fault::KeyUnknown) && state.may_ask(&issuer.name, now) {
                    self.ask(issuer);
                }
                return Err(reason(fault));
            }
        };
        let told = claims::fields(&issuer.told, &read.claims);
        let token = Arc::new(ForeignToken {
            issuer: Arc::clone(issuer),
            digest: *digest,
            app: read.app,
            subject: read.subject,
            counts_until: read.counts_until,
            told: told.or(Err(Reason::IssuerToken))?,
        });
        state.tokens.insert(*digest, Arc::clone(&token));
        Ok(token)
    }

    /// Judges what is judged for each request, for known tokens too.
    pub fn judge(
        &self,
        token: Arc<ForeignToken>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Bearer, Reason> {
        // Such a token is bound to nothing that the gateway could verify.
        if snapshot.catalog.profile.is_fapi2() {
            return Err(Reason::TokenBinding);
        }
        if now >= token.counts_until {
            return Err(Reason::TokenExpired);
        }
        let app = self.state.borrow_mut().app(&token.app, snapshot);
        let app = snapshot.active_app(app.ok_or(Reason::IssuerUnknown)?)?;
        let facts = KeyFacts {
            environment: app.settings.environment,
            ..KeyFacts::default()
        };
        let app = Arc::clone(app);
        Ok(Bearer::Foreign { app, token, facts })
    }

    fn ask(&self, issuer: &ForeignIssuer) {
        if let Some(source) = issuer.source() {
            let _full = self.missing.try_send(source);
        }
    }
}

impl State {
    /// Forgets everything that another configuration, or other keys, may judge otherwise.
    fn follow(&mut self, snapshot: &Snapshot) {
        let same = Arc::ptr_eq(&self.published, &snapshot.published);
        if same && self.generation == snapshot.catalog.generation {
            return;
        }
        self.generation = snapshot.catalog.generation;
        self.published = Arc::clone(&snapshot.published);
        self.verifiers.clear();
        self.tokens.clear();
        self.apps.clear();
        self.asked.clear();
    }

    fn verify(
        &mut self,
        text: &str,
        issuer: &ForeignIssuer,
        now: Timestamp,
    ) -> Result<IssuerClaims, Option<Fault>> {
        let published = &self.published;
        let verifier = self
            .verifiers
            .entry(issuer.name.clone())
            .or_insert_with(|| verifier(issuer, published));
        let verifier = verifier.as_ref().ok_or(None)?;
        verifier.verify(issuer, text, now).map_err(Some)
    }

    fn may_ask(&mut self, issuer: &Name, now: Timestamp) -> bool {
        let asked = self.asked.get(issuer);
        let may = asked.is_none_or(|asked| now >= asked.plus(ASKED_AGAIN));
        if may {
            self.asked.insert(issuer.clone(), now);
        }
        may
    }

    /// The App of this name. It is looked for once for each snapshot, and only if it is not the one of the last.
    fn app(&mut self, name: &Name, snapshot: &Snapshot) -> Option<AppId> {
        let known = self.apps.get(name).copied();
        if let Some((version, app)) = known
            && version == snapshot.version
        {
            return app;
        }
        let last = known.and_then(|(_, app)| app);
        let still = last.filter(|id| snapshot.apps.get(id).is_some_and(|app| has(app, name)));
        let app = still.or_else(|| find(name, snapshot));
        self.apps.insert(name.clone(), (snapshot.version, app));
        app
    }
}

/// The verifier of an issuer, if there are keys. A set was read before it was published, and a file at the start.
fn verifier(issuer: &ForeignIssuer, published: &FetchedSets) -> Option<IssuerVerifier> {
    let source = issuer.source();
    let set = source.and_then(|source| published.find(&source));
    IssuerVerifier::new(issuer, set.map(|set| &**set))
        .ok()
        .flatten()
}

/// A revoked App may have left its name to another.
fn has(app: &App, name: &Name) -> bool {
    app.name == *name && app.state != AppState::Revoked
}

fn find(name: &Name, snapshot: &Snapshot) -> Option<AppId> {
    let live = snapshot.apps.iter().find(|(_, app)| has(app, name));
    let revoked = || snapshot.apps.iter().find(|(_, app)| app.name == *name);
    live.or_else(revoked).map(|(id, _)| *id)
}

const fn reason(fault: Option<Fault>) -> Reason {
    match fault {
        None => Reason::IssuerKeys,
        Some(Fault::Expired) => Reason::TokenExpired,
        Some(_) => Reason::IssuerToken,
    }
}
