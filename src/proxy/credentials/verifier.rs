//! Verification of keys and tokens, with a cache of verified tokens.
//!
//! The cache holds only that a token's signature is valid, and its claims. Whether its App, Key and certificate are
//! still valid is looked up in the snapshot for each request.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::unsync::Cache;

use crate::crypto::access_token::AccessTokens;
use crate::crypto::api_key::SecretHasher;
use crate::crypto::dpop::call::Call;
use crate::crypto::dpop::proofs::Proofs;
use crate::crypto::foreign_jwt;
use crate::domain::certificate::Fingerprint;
use crate::domain::identity::Bearer;
use crate::domain::issuer::ForeignToken;
use crate::domain::policy::Policy;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, VerificationKey};

use super::failed_attempts::FailedAttempts;
use super::issuer_tokens::IssuerTokens;
use crate::proxy::connections::last_token::LastToken;

/// A worker's verifier of keys and tokens.
#[derive(Debug)]
pub struct Verifier {
    hasher: Arc<SecretHasher>,
    proofs: Arc<Proofs>,
    access_tokens: Arc<AccessTokens>,
    tokens: RefCell<Verified>,
    issuers: IssuerTokens,
    failures: FailedAttempts,
}

/// Tokens with a valid signature, by their digest: no text is held here.
#[derive(Debug)]
struct Verified {
    /// The keys they were verified with. Other keys empty the cache.
    keys: Option<Arc<[VerificationKey]>>,
    claims: Cache<[u8; 32], Arc<Claims>>,
}

/// The presenter of a credential, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Presenter<'a> {
    pub address: IpAddr,
    /// The token that was last valid on this connection.
    pub last: &'a LastToken,
    /// The valid certificate of this connection.
    pub certificate: Option<&'a Fingerprint>,
    /// The origin of the page that a browser calls for.
    pub origin: Option<&'a str>,
    /// The proof of a caller that shows its token by the scheme `DPoP`.
    pub dpop: Option<BesideToken<'a>>,
    pub now: Timestamp,
}

/// The DPoP proof beside a token, or the reason why there is none that can be read, and the request that it is for.
#[derive(Clone, Copy, Debug)]
pub struct BesideToken<'a> {
    pub proof: Result<&'a str, Reason>,
    pub call: Call<'a>,
}

impl Verifier {
    pub fn new(
        hasher: Arc<SecretHasher>,
        proofs: Arc<Proofs>,
        access_tokens: Arc<AccessTokens>,
        failures: FailedAttempts,
        tokens_max: usize,
        issuers: IssuerTokens,
    ) -> Self {
        Self {
            hasher,
            proofs,
            access_tokens,
            issuers,
            failures,
            tokens: RefCell::new(Verified {
                keys: None,
                claims: Cache::new(tokens_max.max(1)),
            }),
        }
    }

    pub fn failures(&self) -> &FailedAttempts {
        &self.failures
    }

    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Verifies a key.
    pub fn key(
        &self,
        text: &str,
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        self.check(by.address)?;
        let result = self.judge_key(text, by, snapshot);
        self.count_failure(by.address, &result);
        result
    }

    /// Verifies a token: one of ours, or of an issuer that the policy takes. One that was verified before ignores its
    /// address's failures: it costs nothing.
    pub fn token(
        &self,
        text: &str,
        by: Presenter<'_>,
        policy: &Policy,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        let digest = by.last.digest(text);
        let result = if policy.issuers.is_empty() {
            self.our_token(text, &digest, by, snapshot)
                .map_err(|reason| foreign(reason, text, snapshot))
        } else {
            self.any_token(text, &digest, by, policy, snapshot)
        };
        match &result {
            Ok(_) => by.last.counted(text, &digest),
            Err(_) => by.last.refused(),
        }
        self.count_failure(by.address, &result);
        result
    }

    /// True for a key that another system made: it may look like a token, or like nothing at all.
    pub fn is_imported(&self, text: &str, snapshot: &Snapshot) -> bool {
        self.hasher.imported(text, snapshot).is_some()
    }

    fn our_token(
        &self,
        text: &str,
        digest: &[u8; 32],
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        let claims = self.claims(text, digest, by, snapshot)?;
        self.judge_claims(claims, digest, by, snapshot)
    }

    /// Verifies a token on a route that takes those of other issuers. What it says of its issuer before it is verified
    /// selects the keys, and nothing else.
    fn any_token(
        &self,
        text: &str,
        digest: &[u8; 32],
        by: Presenter<'_>,
        policy: &Policy,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        if let Some(token) = self.issuers.known(digest, snapshot) {
            // Judged as one that this worker has not seen: another credential of the request may be enough.
            if !policy.issuers.contains(&token.issuer.name) {
                return Err(Reason::KindNotAccepted);
            }
            return self.foreign_token(token, by, snapshot);
        }
        let is_ours = self.tokens.borrow_mut().claims.get(digest).is_some();
        let claimed = if is_ours {
            None
        } else {
            self.check(by.address)?;
            foreign_jwt::claimed_issuer(text)
        };
        let Some(issuer) = claimed.and_then(|claimed| snapshot.catalog.issuers.of(&claimed)) else {
            return self.our_token(text, digest, by, snapshot);
        };
        if !policy.issuers.contains(&issuer.name) {
            return Err(Reason::KindNotAccepted);
        }
        let token = self
            .issuers
            .verify(text, digest, issuer, snapshot, by.now)?;
        self.foreign_token(token, by, snapshot)
    }

    /// Judges a verified token of another issuer. A proof beside it proves nothing, since the token is bound to no key.
    fn foreign_token(
        &self,
        token: Arc<ForeignToken>,
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        match by.dpop {
            Some(_) => Err(Reason::TokenBinding),
            None => self.issuers.judge(token, snapshot, by.now),
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), Reason> {
        self.failures
            .check(address)
            .ok()
            .ok_or(Reason::AuthRateLimited)
    }

    fn count_failure(&self, address: IpAddr, result: &Result<Bearer, Reason>) {
        // Honest clients come to these two without a mistake of theirs.
        let usual = [Reason::TokenExpired, Reason::DpopNonceWanted];
        let failed = result
            .as_ref()
            .is_err_and(|reason| reason.status() == 401 && !usual.contains(reason));
        if failed {
            self.failures.count(address);
        }
    }

    fn judge_key(
        &self,
        text: &str,
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        let id = self.hasher.prove(text, snapshot)?;
        let (entry, app) = snapshot.live_key(id, by.now)?;
        if !entry.may_be_used_from(by.address) {
            return Err(Reason::KeyNetwork);
        }
        if !entry.may_be_used_by(by.origin) {
            return Err(Reason::OriginRefused);
        }
        Ok(Bearer::Key {
            id,
            app: Arc::clone(app),
            scopes: entry.scopes.clone(),
            facts: entry.facts(),
        })
    }

    fn claims(
        &self,
        text: &str,
        digest: &[u8; 32],
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Arc<Claims>, Reason> {
        let mut verified = self.tokens.borrow_mut();
        let keys = &snapshot.verification_keys;
        if !verified
            .keys
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(kept, keys))
        {
            verified.keys = Some(Arc::clone(keys));
            verified.claims.clear();
        }
        if let Some(claims) = verified.claims.get(digest) {
            return Ok(Arc::clone(claims));
        }
        self.check(by.address)?;
        let issuer = &snapshot.catalog.issuer;
        let claims = self.access_tokens.verify(text, keys, issuer, by.now)?;
        let claims = Arc::new(claims);
        verified.claims.insert(*digest, Arc::clone(&claims));
        Ok(claims)
    }

    /// Checks the claims that are checked for each request, for known tokens too. A proof is judged last: it is used up.
    fn judge_claims(
        &self,
        claims: Arc<Claims>,
        digest: &[u8; 32],
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        let live = snapshot.live_token(&claims, by.now)?;
        live.shown_by(&claims, by.address, by.certificate)?;
        match (&claims.proof_key, by.dpop) {
            (None, None) => {}
            (Some(_), None) => return Err(Reason::DpopProofMissing),
            // Nothing says that its caller holds a key: a client that relied on this would be as weak as any bearer.
            (None, Some(_)) => return Err(Reason::TokenBinding),
            (Some(key), Some(shown)) => {
                self.check(by.address)?;
                let bound = (claims.app, key, digest);
                self.proofs
                    .accept(shown.proof?, &shown.call, bound, by.now)?;
            }
        }
        Ok(Bearer::Token {
            app: Arc::clone(live.app),
            claims,
            facts: live.key.facts(),
        })
    }
}

/// The reason to refuse a token that is none of ours: one of another issuer is of a kind that the route does not take.
fn foreign(reason: Reason, text: &str, snapshot: &Snapshot) -> Reason {
    let issuers = &snapshot.catalog.issuers;
    let is_known = || {
        let claimed = foreign_jwt::claimed_issuer(text);
        claimed.is_some_and(|claimed| issuers.of(&claimed).is_some())
    };
    if reason == Reason::TokenMalformed && is_known() {
        Reason::KindNotAccepted
    } else {
        reason
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
