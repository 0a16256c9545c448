//! Verifying keys and tokens, and remembering what need not be verified twice.
//!
//! What is remembered is only that a token's signature is good and what it claims. Whether its App, Key and
//! certificate still count is asked of the snapshot for each request.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::unsync::Cache;

use crate::crypto::api_key::{SecretHasher, parse_key};
use crate::crypto::{hash, jwt};
use crate::domain::certificate::Fingerprint;
use crate::domain::identity::Bearer;
use crate::domain::limit::Allowance;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, VerificationKey};

use super::counters::local::{BucketKey, Counters, Subject};
use super::peer::{counted, within};

/// A worker's verifier of keys and tokens.
#[derive(Debug)]
pub struct Verifier {
    hasher: Arc<SecretHasher>,
    tokens: RefCell<Verified>,
    failures: Failures,
}

/// Tokens whose signature is good, by their digest: whoever reads this memory finds no token in it.
#[derive(Debug)]
struct Verified {
    /// The keys they were verified with. Other keys, and all are forgotten.
    keys: Option<Arc<[VerificationKey]>>,
    claims: Cache<[u8; 32], Arc<Claims>>,
}

/// Failed attempts, counted for each address, so that guessing is slow and costs us little.
#[derive(Debug)]
pub struct Failures {
    counters: Rc<Counters>,
    allowance: Allowance,
}

impl Failures {
    pub fn new(counters: Rc<Counters>, allowance: Allowance) -> Self {
        Self {
            counters,
            allowance,
        }
    }

    /// Refuses an address that has failed too often of late; says for how long.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let now = self.counters.now();
        let standing = self.counters.look(&key(address), &self.allowance, now);
        if standing.retry_after.is_zero() {
            Ok(())
        } else {
            Err(standing.retry_after)
        }
    }

    /// Counts one failure.
    pub fn count(&self, address: IpAddr) {
        let now = self.counters.now();
        // An address that is used up already is refused until its time comes, whatever it tries meanwhile.
        let _standing = self.counters.take(&key(address), &self.allowance, now);
    }
}

fn key(address: IpAddr) -> BucketKey {
    BucketKey {
        limit: None,
        subject: Subject::Address(counted(address)),
    }
}

/// Who shows a credential, and when.
#[derive(Clone, Copy, Debug)]
pub struct Presenter<'a> {
    pub address: IpAddr,
    /// The certificate that counts on this connection.
    pub certificate: Option<&'a Fingerprint>,
    pub now: Timestamp,
}

impl Verifier {
    pub fn new(hasher: Arc<SecretHasher>, failures: Failures, tokens_max: usize) -> Self {
        Self {
            hasher,
            failures,
            tokens: RefCell::new(Verified {
                keys: None,
                claims: Cache::new(tokens_max.max(1)),
            }),
        }
    }

    pub fn failures(&self) -> &Failures {
        &self.failures
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

    /// Verifies a token. One that was verified before is not held up by its address's failures: it costs nothing.
    pub fn token(
        &self,
        text: &str,
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        let result = self
            .claims(text, by, snapshot)
            .and_then(|claims| judge_claims(claims, by, snapshot));
        self.count_failure(by.address, &result);
        result
    }

    fn check(&self, address: IpAddr) -> Result<(), Reason> {
        self.failures
            .check(address)
            .ok()
            .ok_or(Reason::AuthRateLimited)
    }

    fn count_failure(&self, address: IpAddr, result: &Result<Bearer, Reason>) {
        let failed = result
            .as_ref()
            .is_err_and(|reason| reason.status() == 401 && *reason != Reason::TokenExpired);
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
        let id = parse_key(text)?;
        let Some(entry) = snapshot.keys.get(&id) else {
            // The same work as for a known key, so that the time taken does not tell which ids exist.
            self.hasher.matches(text, &self.hasher.digest(""));
            return Err(Reason::KeyUnknown);
        };
        if !self.hasher.matches(text, &entry.digest) {
            return Err(Reason::KeyWrong);
        }
        let (entry, app) = snapshot.live_key(id, by.now)?;
        if !entry.networks.is_empty() && !within(&entry.networks, by.address) {
            return Err(Reason::KeyNetwork);
        }
        Ok(Bearer::Key {
            id,
            app: Arc::clone(app),
            scopes: entry.scopes.clone(),
        })
    }

    fn claims(
        &self,
        text: &str,
        by: Presenter<'_>,
        snapshot: &Snapshot,
    ) -> Result<Arc<Claims>, Reason> {
        let digest = hash::sha256(text.as_bytes());
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
        if let Some(claims) = verified.claims.get(&digest) {
            return Ok(Arc::clone(claims));
        }
        self.check(by.address)?;
        let claims = Arc::new(jwt::verify(text, keys, &snapshot.catalog.issuer, by.now)?);
        verified.claims.insert(digest, Arc::clone(&claims));
        Ok(claims)
    }
}

/// What has to be asked for each request, however often the token was seen.
fn judge_claims(
    claims: Arc<Claims>,
    by: Presenter<'_>,
    snapshot: &Snapshot,
) -> Result<Bearer, Reason> {
    if by.now >= claims.expires_at {
        return Err(Reason::TokenExpired);
    }
    if *claims.issuer != *snapshot.catalog.issuer {
        return Err(Reason::TokenAudience);
    }
    let (entry, app) = snapshot
        .live_key(claims.key, by.now)
        .map_err(|reason| match reason {
            Reason::AppRevoked | Reason::AppSuspended => reason,
            _ => Reason::TokenEnded,
        })?;
    if entry.app != claims.app {
        return Err(Reason::TokenEnded);
    }
    match claims.certificate {
        Some(bound) if by.certificate != Some(&bound) => Err(Reason::TokenBinding),
        _ => Ok(Bearer::Token {
            app: Arc::clone(app),
            claims,
        }),
    }
}
