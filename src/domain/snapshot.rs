//! Everything that the data plane decides by: immutable, in memory, versioned.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use ipnet::IpNet;

use super::api_key::{ApiKey, DigestKind, Environment, KeyKind, KeyRules, KeyTail, SecretDigest};
use super::app::{App, AppState};
use super::certificate::{Certificate, Fingerprint, SerialNumber};
use super::credential::CredentialState;
use super::id::{AppId, CertificateId, KeyId};
use super::identity::{Caller, CertificateProof, KeyFacts};
use super::issuer::{FetchedSets, ForeignIssuers};
use super::key_index::{Indexed, KeyIndex};
use super::name::Name;
use super::origin::OriginPattern;
use super::reason::Reason;
use super::route::RouteTable;
use super::scope::ScopeSet;
use super::shelf::Shelf;
use super::time::{Timestamp, Validity};
use super::tls_policy::TlsPolicy;
use super::token::{ClientAuthMethods, VerificationKey};
use super::token_end::TokensOf;
use super::token_profile::TokenProfile;
use super::upstream::Upstream;

/// The data for the data plane's decisions. A change makes a new snapshot, which shares all unchanged parts.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows by one with each publication in this process.
    pub version: u64,
    /// The store's revision that the registry's part was read at.
    pub revision: u64,
    pub catalog: Arc<Catalog>,
    pub apps: Shelf<AppId, Arc<App>>,
    pub certificates: Shelf<Fingerprint, CertificateEntry>,
    pub keys: Shelf<KeyId, KeyEntry>,
    /// Derived from `keys`.
    pub key_index: KeyIndex,
    pub verification_keys: Arc<[VerificationKey]>,
    /// The public keys of Apps and other issuers that were fetched.
    pub published: Arc<FetchedSets>,
    /// The access tokens that ended before their expiry, each with the expiry of the last of them.
    pub token_ends: Shelf<TokensOf, Timestamp>,
}

/// The part of the snapshot that comes from the configuration file.
#[derive(Debug)]
pub struct Catalog {
    /// Grows by one with each reload; what a worker keeps per route or upstream is kept per generation.
    pub generation: u64,
    pub routes: RouteTable,
    pub upstreams: HashMap<Name, Arc<Upstream>>,
    pub tls_policies: HostPolicies,
    /// `iss` and `aud` of access tokens.
    pub issuer: Arc<str>,
    /// The methods of client authentication at the token endpoint.
    pub client_auth: ClientAuthMethods,
    /// True if answers of limited routes have the `X-RateLimit` fields too.
    pub legacy_limit_fields: bool,
    pub profile: TokenProfile,
    /// The other issuers.
    pub issuers: ForeignIssuers,
}

impl Catalog {
    /// True if an upstream gets certificate headers that connections do not keep by default.
    pub fn tells_of_certificates(&self) -> bool {
        let routes = self.routes.routes().iter();
        routes
            .map(|route| &route.identity_headers)
            .any(|headers| headers.need_certificate())
    }
}

#[cfg(test)]
impl Snapshot {
    /// A snapshot of these Apps and Keys, without anything else.
    pub fn sample(
        apps: impl IntoIterator<Item = App>,
        keys: impl IntoIterator<Item = (KeyId, KeyEntry)>,
    ) -> Self {
        let apps = apps.into_iter().map(|app| (app.id, Arc::new(app)));
        Self {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes: RouteTable::default(),
                upstreams: HashMap::default(),
                tls_policies: HostPolicies::default(),
                issuer: "".into(),
                client_auth: ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: TokenProfile::default(),
                issuers: ForeignIssuers::default(),
            }),
            apps: Shelf::build(apps),
            certificates: Shelf::default(),
            keys: Shelf::build(keys),
            key_index: KeyIndex::default(),
            verification_keys: Arc::default(),
            published: Arc::default(),
            token_ends: Shelf::default(),
        }
    }
}

/// The TLS policy of each host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicies {
    /// For every host that has none of its own.
    pub general: TlsPolicy,
    pub by_host: HashMap<String, TlsPolicy>,
}

impl HostPolicies {
    pub fn of(&self, host: &str) -> TlsPolicy {
        self.by_host.get(host).copied().unwrap_or(self.general)
    }
}

/// A registered certificate, as requests need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateEntry {
    pub id: CertificateId,
    pub app: AppId,
    pub serial: SerialNumber,
    pub validity: Validity,
    pub state: CredentialState,
}

/// A key, as requests need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    pub app: AppId,
    pub digest: SecretDigest,
    pub digest_kind: DigestKind,
    pub scopes: ScopeSet,
    pub networks: Box<[IpNet]>,
    pub state: CredentialState,
    pub expires_at: Option<Timestamp>,
    pub kind: KeyKind,
    pub environment: Environment,
    pub tail: Option<KeyTail>,
    /// True if tokens that were minted before the key's revocation count until their own end.
    pub tokens_outlive: bool,
    /// Absent for most keys: a million of them have room for a pointer only.
    pub rules: Option<Arc<KeyRules>>,
}

impl KeyEntry {
    /// The facts that a route and its limits ask about.
    pub fn facts(&self) -> KeyFacts {
        KeyFacts {
            kind: self.kind,
            environment: self.environment,
            tail: self.tail,
            rules: self.rules.clone(),
            signed: None,
        }
    }

    /// A key of a test, which is active and has no condition and no end.
    #[cfg(test)]
    pub fn sample(app: AppId) -> Self {
        Self {
            app,
            digest: SecretDigest([0; 32]),
            digest_kind: DigestKind::Own,
            scopes: ScopeSet::default(),
            networks: Box::default(),
            state: CredentialState::Active,
            expires_at: None,
            kind: KeyKind::Secret,
            environment: Environment::Live,
            tail: None,
            tokens_outlive: false,
            rules: None,
        }
    }
}

impl KeyEntry {
    /// True if pages of this origin may use the Key. Without an origin there is none that could be in its list.
    pub fn may_be_used_by(&self, origin: Option<&str>) -> bool {
        let origins = self.rules.as_ref().map_or(&[][..], |rules| &rules.origins);
        let taken = |origin| origins.iter().any(|listed| listed.takes(origin));
        origins.is_empty() || origin.is_some_and(taken)
    }

    /// True if the Key may be used from this address. An IPv4 caller may arrive on a socket for both families.
    pub fn may_be_used_from(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut networks = self.networks.iter();
        self.networks.is_empty() || networks.any(|network| network.contains(&address))
    }
}

impl Indexed for KeyEntry {
    fn origins(&self) -> &[OriginPattern] {
        match &self.rules {
            Some(rules) if self.state.counts() => &rules.origins,
            _ => &[],
        }
    }

    fn imported(&self) -> Option<SecretDigest> {
        (self.digest_kind != DigestKind::Own).then_some(self.digest)
    }
}

/// The index of all keys.
pub fn index(keys: &Shelf<KeyId, KeyEntry>) -> KeyIndex {
    let all = keys.iter().map(|(id, key)| (*id, None, key));
    KeyIndex::default().with(all)
}

impl From<&Certificate> for CertificateEntry {
    fn from(certificate: &Certificate) -> Self {
        Self {
            id: certificate.id,
            app: certificate.app,
            serial: certificate.serial,
            validity: certificate.validity,
            state: certificate.state,
        }
    }
}

impl From<&ApiKey> for KeyEntry {
    fn from(key: &ApiKey) -> Self {
        Self {
            app: key.app,
            digest: key.digest,
            digest_kind: key.digest_kind,
            scopes: key.scopes.clone(),
            networks: key.networks.clone().into_boxed_slice(),
            state: key.state,
            expires_at: key.expires_at,
            kind: key.kind,
            environment: key.environment,
            tail: key.tail,
            tokens_outlive: key.tokens_outlive,
            rules: key.rules(),
        }
    }
}

impl Snapshot {
    /// The App, if its credentials count.
    pub fn active_app(&self, id: AppId) -> Result<&Arc<App>, Reason> {
        let app = self.apps.get(&id).ok_or(Reason::AppRevoked)?;
        match app.state {
            AppState::Active => Ok(app),
            AppState::Revoked => Err(Reason::AppRevoked),
            AppState::Suspended => Err(Reason::AppSuspended),
        }
    }

    /// The registry's half of verifying a certificate; the chain's half was done in the handshake.
    ///
    /// `validity` is what the certificate itself says, so that one which is not registered can be judged too.
    pub fn judge(
        &self,
        fingerprint: &Fingerprint,
        validity: &Validity,
        now: Timestamp,
    ) -> Result<CertificateProof, Reason> {
        let entry = self.certificates.get(fingerprint);
        if entry.is_some_and(|entry| entry.state == CredentialState::Revoked) {
            return Err(Reason::CertRevoked);
        }
        if validity.has_ended(now) {
            return Err(Reason::CertExpired);
        }
        if !validity.has_begun(now) {
            return Err(Reason::CertNotYetValid);
        }
        let entry = entry
            .filter(|entry| entry.state.counts())
            .ok_or(Reason::CertUnregistered)?;
        let app = self.active_app(entry.app)?;
        Ok(CertificateProof {
            id: entry.id,
            app: Arc::clone(app),
            fingerprint: *fingerprint,
            serial: entry.serial,
            validity: entry.validity,
        })
    }

    /// The expiry of the caller's proof that expires first, with the reason then; a token expires with its key.
    pub fn proved_until(&self, caller: &Caller) -> Option<(Timestamp, Reason)> {
        let certificate = caller.certificate.proved();
        let mut first = certificate.map(|proof| (proof.validity.not_after, Reason::CertExpired));
        let mut sooner = |end: Timestamp, reason| {
            if first.is_none_or(|(known, _)| end < known) {
                first = Some((end, reason));
            }
        };
        if let Some(bearer) = caller.bearer.proved() {
            let key = bearer.key().and_then(|key| self.keys.get(&key));
            if let Some(end) = key.and_then(|key| key.expires_at) {
                sooner(end, Reason::KeyExpired);
            }
            if let Some(end) = bearer.token_ends() {
                sooner(end, Reason::TokenExpired);
            }
        }
        first
    }

    /// The key that a token was minted from, and its App, if the token may be valid: a key that was revoked without its
    /// tokens leaves them until their own end.
    pub fn key_of_token(
        &self,
        id: KeyId,
        now: Timestamp,
    ) -> Result<(&KeyEntry, &Arc<App>), Reason> {
        match self.keys.get(&id) {
            Some(key) if key.tokens_outlive && key.state == CredentialState::Revoked => {
                Ok((key, self.active_app(key.app)?))
            }
            _ => self.live_key(id, now),
        }
    }

    /// A key that is valid at `now`, and its App; the function's caller compares the secret.
    pub fn live_key(&self, id: KeyId, now: Timestamp) -> Result<(&KeyEntry, &Arc<App>), Reason> {
        let key = self.keys.get(&id).ok_or(Reason::KeyUnknown)?;
        match key.state.at(now, key.expires_at) {
            CredentialState::Active | CredentialState::Retiring => {
                Ok((key, self.active_app(key.app)?))
            }
            CredentialState::Expired => Err(Reason::KeyExpired),
            CredentialState::Pending | CredentialState::Revoked => Err(Reason::KeyRevoked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::Bearer;
    use crate::domain::identity::Evidence;

    fn snapshot(app_state: AppState, state: CredentialState) -> Snapshot {
        let app = App {
            state: app_state,
            ..App::sample(1, "acme")
        };
        let entry = CertificateEntry {
            id: CertificateId::from_bits(1),
            app: app.id,
            serial: SerialNumber::from_bytes(&[1]).unwrap(),
            validity: validity(),
            state,
        };
        Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes: RouteTable::default(),
                upstreams: HashMap::default(),
                tls_policies: HostPolicies::default(),
                issuer: "https://a.test".into(),
                client_auth: ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: TokenProfile::default(),
                issuers: ForeignIssuers::default(),
            }),
            apps: Shelf::build([(app.id, Arc::new(app))]),
            certificates: Shelf::build([(print(1), entry)]),
            keys: Shelf::default(),
            key_index: KeyIndex::default(),
            verification_keys: Arc::new([]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        }
    }

    fn print(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }

    fn validity() -> Validity {
        Validity {
            not_before: Timestamp::from_unix_seconds(10),
            not_after: Timestamp::from_unix_seconds(20),
        }
    }

    #[test]
    fn a_certificate_counts_only_when_everything_holds() {
        use AppState as A;
        use CredentialState as C;
        for (app, state, byte, second, expected) in [
            (A::Active, C::Active, 1, 15, None),
            (A::Active, C::Retiring, 1, 15, None),
            (A::Active, C::Pending, 1, 15, Some(Reason::CertUnregistered)),
            (A::Active, C::Revoked, 1, 15, Some(Reason::CertRevoked)),
            (A::Active, C::Revoked, 1, 25, Some(Reason::CertRevoked)),
            (A::Active, C::Active, 1, 9, Some(Reason::CertNotYetValid)),
            (A::Active, C::Active, 1, 21, Some(Reason::CertExpired)),
            (A::Active, C::Active, 2, 15, Some(Reason::CertUnregistered)),
            (A::Active, C::Active, 2, 21, Some(Reason::CertExpired)),
            (A::Suspended, C::Active, 1, 15, Some(Reason::AppSuspended)),
            (A::Revoked, C::Active, 1, 15, Some(Reason::AppRevoked)),
        ] {
            let judged = snapshot(app, state).judge(
                &print(byte),
                &validity(),
                Timestamp::from_unix_seconds(second),
            );
            assert_eq!(judged.err(), expected, "{app:?} {state:?} {byte} {second}");
        }
    }

    /// A caller with a certificate that ends at 20, a key that ends then, and perhaps a token of that key.
    fn ends(certificate: bool, key: Option<i64>, token: Option<i64>) -> Option<(i64, Reason)> {
        let mut snapshot = snapshot(AppState::Active, CredentialState::Active);
        let app = Arc::clone(snapshot.apps.get(&AppId::from_bits(1)).unwrap());
        let (id, at) = (KeyId::from_bits(1), Timestamp::from_unix_seconds);
        let entry = KeyEntry {
            expires_at: key.map(at),
            ..KeyEntry::sample(app.id)
        };
        snapshot.keys = Shelf::build([(id, entry)]);
        let proof = CertificateProof {
            id: CertificateId::from_bits(1),
            app: Arc::clone(&app),
            fingerprint: print(1),
            serial: SerialNumber::from_bytes(&[1]).unwrap(),
            validity: validity(),
        };
        let scopes = ScopeSet::default();
        let bearer = match token {
            None => Bearer::Key {
                id,
                app,
                scopes,
                facts: KeyFacts::default(),
            },
            Some(end) => Bearer::Token {
                claims: Arc::new(crate::domain::token::Claims {
                    issuer: String::new(),
                    audience: String::new(),
                    id: crate::domain::id::TokenId::from_bits(1),
                    app: app.id,
                    key: id,
                    subject: None,
                    scopes,
                    issued_at: at(0),
                    expires_at: at(end),
                    certificate: None,
                    proof_key: None,
                    session: None,
                }),
                app,
                facts: KeyFacts::default(),
            },
        };
        let caller = Caller {
            certificate: if certificate {
                Evidence::Proved(proof)
            } else {
                Evidence::Absent
            },
            bearer: Evidence::Proved(bearer),
        };
        let end = snapshot.proved_until(&caller);
        end.map(|(end, reason)| (end.unix_millis() / 1000, reason))
    }

    #[test]
    fn what_was_proved_holds_until_the_first_proof_ends() {
        for (certificate, key, token, expected) in [
            (false, None, None, None),
            (true, None, None, Some((20, Reason::CertExpired))),
            (true, Some(15), None, Some((15, Reason::KeyExpired))),
            (true, Some(25), None, Some((20, Reason::CertExpired))),
            (false, Some(25), Some(12), Some((12, Reason::TokenExpired))),
            (false, Some(11), Some(12), Some((11, Reason::KeyExpired))),
            (true, None, Some(30), Some((20, Reason::CertExpired))),
        ] {
            let found = ends(certificate, key, token);
            assert_eq!(found, expected, "{certificate} {key:?} {token:?}");
        }
    }
}
