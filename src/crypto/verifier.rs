//! rustls's client verifier: the chain first, then the usage of the certificate, then the registry.

use std::cell::Cell;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::alert::Refused;
use super::client_chain::{self, ClientChain};
use super::hash;
use super::provider::provider;
use super::tls_error::TlsError;
use super::x509::{self, Leaf};
use crate::domain::certificate::Fingerprint;
use crate::domain::reason::Reason;
use crate::domain::time::{Timestamp, Validity};
use crate::domain::tls_policy::{ClientAuthMode, Reject};

/// The registry as the verifier sees it. The implementation knows the time.
pub trait RegistryView: Send + Sync + std::fmt::Debug {
    /// Refuses a certificate that chains to us and is not valid now.
    fn judge(&self, fingerprint: &Fingerprint, validity: &Validity) -> Result<(), Reason>;
}

/// The verifier for connections whose client certificates have to lead to one of `anchors`.
pub fn client_verifier(
    anchors: Vec<CertificateDer<'static>>,
    mode: ClientAuthMode,
    reject: Reject,
    registry: Arc<dyn RegistryView>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mandatory = match mode {
        ClientAuthMode::Off => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuthMode::Optional => false,
        ClientAuthMode::Required => true,
    };
    Ok(Arc::new(Verifier {
        chain: ClientChain::new(anchors).map_err(TlsError::Anchors)?,
        known: Cache::new(KNOWN_MAX),
        mandatory,
        reject,
        registry,
    }))
}

/// Verifies one of our own certificates as a peer would.
pub(super) fn verify_chain(
    leaf: &[u8],
    intermediates: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'static>],
    purpose: Purpose,
    now: Timestamp,
) -> Result<(), Error> {
    let leaf = CertificateDer::from(leaf);
    let now = unix_time(now);
    match purpose {
        Purpose::ClientAuth => {
            client_chain::verifier(anchors.to_vec())?.verify_client_cert(
                &leaf,
                intermediates,
                now,
            )?;
            judge_usage(&leaf, &read(&leaf)?)
        }
        Purpose::ServerAuth => {
            let parsed = rustls::server::ParsedCertificate::try_from(&leaf)?;
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &client_chain::store(anchors.to_vec())?,
                intermediates,
                now,
                provider().signature_verification_algorithms.all,
            )
        }
    }
}

/// The purpose of a certificate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    ClientAuth,
    ServerAuth,
}

/// The verifier: the chain, the usage, and the registry.
#[derive(Debug)]
struct Verifier {
    chain: ClientChain,
    /// Certificates whose chain and usage this verifier has verified and accepted.
    known: Cache<Fingerprint, Known>,
    mandatory: bool,
    reject: Reject,
    registry: Arc<dyn RegistryView>,
}

/// The result of a verification, kept so that it need not be repeated: a signature stays valid.
///
/// A verifier is made for one set of anchors and dropped with it, so its cache never outlives an authority. Only
/// accepted certificates are cached, by the digest of every byte of the certificate. Each handshake proves that the
/// client holds the key and asks the registry whether the certificate is valid.
#[derive(Clone, Copy, Debug)]
struct Known {
    validity: Validity,
    /// The time of the verification, and the time until which the whole chain is valid. Outside of them the chain is
    /// verified again.
    since: Timestamp,
    until: Timestamp,
}

impl Verifier {
    /// The cached result for a certificate, if it holds at `now`.
    fn known(&self, fingerprint: &Fingerprint, now: Timestamp) -> Option<Known> {
        let known = self.known.get(fingerprint)?;
        (known.since <= now && now <= known.until).then_some(known)
    }

    fn remember(&self, leaf: &Leaf, intermediates: &[CertificateDer<'_>], now: Timestamp) {
        let mut until = leaf.validity.not_after;
        for intermediate in intermediates {
            // A certificate that cannot be read is no part of the chain as far as we know, but it may be, so nothing is
            // cached.
            let Ok(read) = x509::read_leaf(intermediate) else {
                return;
            };
            until = until.min(read.validity.not_after);
        }
        let known = Known {
            validity: leaf.validity,
            since: now,
            until,
        };
        if leaf.validity.contains(now) {
            self.known.insert(leaf.fingerprint, known);
        }
    }
}

/// The maximum number of cached certificates, about 150 bytes each. One that was evicted is verified again.
const KNOWN_MAX: usize = 1 << 16;

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// The names of the authorities, by which clients with several certificates choose; without them some offer any
    /// certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.verifier().root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now)
            .inspect_err(|_| REFUSED.set(Some(end_entity.to_vec())))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verifier()
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verifier()
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.verifier().supported_verify_schemes()
    }
}

thread_local! {
    static REFUSED: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// Takes the certificate, in DER, that a verifier refused last on this thread.
///
/// rustls reports the fault of a certificate without the certificate. The poller of a handshake takes it after each
/// poll: nothing else is verified on the thread meanwhile.
pub fn take_refused() -> Option<Vec<u8>> {
    REFUSED.take()
}

impl Verifier {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let fingerprint = hash::fingerprint(end_entity);
        let moment = timestamp(now);
        if let Some(known) = self.known(&fingerprint, moment) {
            if self.reject == Reject::Alert {
                self.registry
                    .judge(&fingerprint, &known.validity)
                    .map_err(of_the_registry)?;
            }
            return Ok(ClientCertVerified::assertion());
        }
        let leaf = read(end_entity)?;
        // An expired or not yet valid certificate passes when it is to be explained: the chain is verified at the
        // moment of its validity that is nearest to now.
        let at = match self.reject {
            Reject::Alert => now,
            Reject::Explain => nearest(now, &leaf.validity),
        };
        let verified = self.chain.verify(end_entity, intermediates, at)?;
        judge_usage(end_entity, &leaf)?;
        self.remember(&leaf, intermediates, moment);
        if self.reject == Reject::Alert {
            self.registry
                .judge(&leaf.fingerprint, &leaf.validity)
                .map_err(of_the_registry)?;
        }
        Ok(verified)
    }
}

fn read(certificate: &CertificateDer<'_>) -> Result<Leaf, Error> {
    let leaf = x509::read_leaf(certificate).ok();
    leaf.ok_or_else(|| CertificateError::BadEncoding.into())
}

/// Checks the usage. webpki does not check the key usage, and accepts a leaf without an extended key usage for any use.
/// Such leaves chain to us only if an operator's own authority made them for another use.
fn judge_usage(certificate: &CertificateDer<'_>, leaf: &Leaf) -> Result<(), Error> {
    let usage = x509::read_usage(certificate)
        .ok()
        .ok_or(CertificateError::BadEncoding)?;
    let authority = usage.authority || usage.signs_certificates || usage.signs_lists;
    let client = usage.client_auth && usage.digital_signature.unwrap_or(true);
    if authority || !client || leaf.key.is_none() {
        return Err(CertificateError::InvalidPurpose.into());
    }
    Ok(())
}

/// The TLS alert that is nearest to a reason.
fn of_the_registry(reason: Reason) -> Error {
    let error = match reason {
        Reason::CertExpired => CertificateError::Expired,
        Reason::CertNotYetValid => CertificateError::NotValidYet,
        Reason::CertRevoked => CertificateError::Revoked,
        Reason::CertUnregistered => CertificateError::ApplicationVerificationFailure,
        other => CertificateError::Other(OtherError(Arc::new(Refused(other)))),
    };
    error.into()
}

fn nearest(now: UnixTime, validity: &Validity) -> UnixTime {
    let seconds = |at: Timestamp| u64::try_from(at.unix_seconds()).unwrap_or(0);
    let at = now.as_secs();
    // Not `clamp`: it panics when a certificate ends before it begins.
    let at = at
        .min(seconds(validity.not_after))
        .max(seconds(validity.not_before));
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(at))
}

fn timestamp(at: UnixTime) -> Timestamp {
    Timestamp::from_unix_seconds(i64::try_from(at.as_secs()).unwrap_or(i64::MAX))
}

fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(at.since(Timestamp::from_unix_seconds(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::alert::refusal;
    use crate::crypto::testing::{Identity, Pki, client_params, handshake, hours, now};
    use crate::domain::tls_policy::TlsVersion;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose,
    };

    /// A registry with one answer for every certificate.
    #[derive(Debug)]
    struct Word(Result<(), Reason>);

    impl RegistryView for Word {
        fn judge(&self, _: &Fingerprint, _: &Validity) -> Result<(), Reason> {
            self.0
        }
    }

    fn attempt(
        pki: &Pki,
        identity: Option<&Identity>,
        mode: ClientAuthMode,
        reject: Reject,
        word: Result<(), Reason>,
    ) -> Result<bool, Reason> {
        let registry = Arc::new(Word(word));
        let verifier = client_verifier(pki.authority.anchors(), mode, reject, registry).unwrap();
        let server = pki.server(Some(verifier), TlsVersion::V1_2);
        let client = Arc::new(pki.connector(identity));
        let (server, _) = handshake(&server, &client, "localhost");
        match server {
            Ok(server) => Ok(server.peer_certificates().is_some()),
            Err(error) => Err(refusal(&error)),
        }
    }

    fn explain(pki: &Pki, identity: &Identity) -> Result<bool, Reason> {
        let word = Err(Reason::CertUnregistered);
        let mode = ClientAuthMode::Required;
        attempt(pki, Some(identity), mode, Reject::Explain, word)
    }

    fn alert(pki: &Pki, identity: &Identity, word: Result<(), Reason>) -> Result<bool, Reason> {
        let mode = ClientAuthMode::Required;
        attempt(pki, Some(identity), mode, Reject::Alert, word)
    }

    #[test]
    fn the_mode_decides_who_is_asked_and_who_must_answer() {
        use ClientAuthMode as M;
        let pki = Pki::new();
        let partner = pki.client(&client_params(hours(-1, 1)));
        for (mode, identity, expected) in [
            (M::Off, None, Ok(false)),
            (M::Off, Some(&partner), Ok(false)),
            (M::Optional, None, Ok(false)),
            (M::Optional, Some(&partner), Ok(true)),
            (M::Required, None, Err(Reason::CertMissing)),
            (M::Required, Some(&partner), Ok(true)),
        ] {
            let seen = attempt(&pki, identity, mode, Reject::Alert, Ok(()));
            assert_eq!(seen, expected, "{mode:?}");
        }
    }

    #[test]
    fn what_does_not_count_passes_only_to_be_explained() {
        let pki = Pki::new();
        let valid = pki.client(&client_params(hours(-1, 1)));
        let expired = pki.client(&client_params(hours(-2, -1)));
        let early = pki.client(&client_params(hours(1, 2)));
        for identity in [&valid, &expired, &early] {
            assert_eq!(explain(&pki, identity), Ok(true));
        }
        assert_eq!(alert(&pki, &valid, Ok(())), Ok(true));
        assert_eq!(alert(&pki, &expired, Ok(())), Err(Reason::CertExpired));
        assert_eq!(alert(&pki, &early, Ok(())), Err(Reason::CertNotYetValid));
        for reason in [
            Reason::CertExpired,
            Reason::CertNotYetValid,
            Reason::CertRevoked,
            Reason::CertUnregistered,
            Reason::AppSuspended,
            Reason::AppRevoked,
        ] {
            assert_eq!(alert(&pki, &valid, Err(reason)), Err(reason));
        }
    }

    #[test]
    fn other_authorities_get_the_alert_whatever_they_signed() {
        let pki = Pki::new();
        // Its authority has the same names; only the keys differ.
        let other = Pki::new();
        for identity in [
            other.client(&client_params(hours(-1, 1))),
            other.client(&client_params(hours(-2, -1))),
            self_signed(&client_params(hours(-1, 1))),
        ] {
            assert_eq!(explain(&pki, &identity), Err(Reason::CertUntrusted));
            let told = alert(&pki, &identity, Ok(()));
            assert_eq!(told, Err(Reason::CertUntrusted));
        }
        let mut with_chain = other.client(&client_params(hours(-1, 1)));
        with_chain.chain.extend(other.authority.anchors());
        assert_eq!(explain(&pki, &with_chain), Err(Reason::CertUntrusted));
    }

    fn self_signed(params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.self_signed(&key).unwrap().der().clone()];
        Identity { chain, key }
    }

    #[test]
    fn certificates_for_other_uses_are_refused() {
        use ExtendedKeyUsagePurpose as E;
        use KeyUsagePurpose as K;
        let pki = Pki::new();
        let with = |key_usages: &[K], extended: &[E]| {
            let mut params = client_params(hours(-1, 1));
            params.key_usages = key_usages.to_vec();
            params.extended_key_usages = extended.to_vec();
            params
        };
        let mut authority = client_params(hours(-1, 1));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        for (params, accepted) in [
            (with(&[K::DigitalSignature], &[E::ClientAuth]), true),
            (with(&[], &[E::ClientAuth]), true),
            (
                with(&[K::DigitalSignature], &[E::ServerAuth, E::ClientAuth]),
                true,
            ),
            (with(&[K::KeyEncipherment], &[E::ClientAuth]), false),
            (with(&[K::KeyCertSign], &[E::ClientAuth]), false),
            (
                with(&[K::DigitalSignature, K::KeyCertSign], &[E::ClientAuth]),
                false,
            ),
            (
                with(&[K::DigitalSignature, K::CrlSign], &[E::ClientAuth]),
                false,
            ),
            (with(&[K::DigitalSignature], &[E::ServerAuth]), false),
            (with(&[K::DigitalSignature], &[E::Any]), false),
            (with(&[K::DigitalSignature], &[]), false),
            (authority, false),
        ] {
            let identity = pki.client(&params);
            let expected = if accepted {
                Ok(true)
            } else {
                Err(Reason::CertUsage)
            };
            assert_eq!(explain(&pki, &identity), expected, "{params:?}");
            assert_eq!(alert(&pki, &identity, Ok(())), expected, "{params:?}");
        }
        let mut critical = client_params(hours(-1, 1));
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        critical.custom_extensions = vec![unknown];
        assert!(explain(&pki, &pki.client(&critical)).is_err());
    }

    #[test]
    fn server_certificates_of_ours_are_no_client_certificates() {
        let pki = Pki::new();
        let hosts = ["localhost".to_owned()];
        let (chain, key) = pki.authority.issue_server(&hosts, now()).unwrap();
        let identity = Identity {
            chain: crate::crypto::pem::certificates(&chain).unwrap(),
            key: crate::crypto::keypair::from_secret(&key).unwrap(),
        };
        assert_eq!(explain(&pki, &identity), Err(Reason::CertUsage));
    }

    #[test]
    fn keys_that_no_profile_accepts_are_refused() {
        let pki = Pki::new();
        let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let identity = pki.client_with(&client_params(hours(-1, 1)), p521);
        assert_eq!(explain(&pki, &identity), Err(Reason::CertUsage));
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let identity = pki.client_with(&client_params(hours(-1, 1)), p384);
        assert_eq!(explain(&pki, &identity), Ok(true));
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let identity = pki.client_with(&client_params(hours(-1, 1)), ed25519);
        assert_eq!(explain(&pki, &identity), Ok(true));
    }

    /// A certificate is public: anyone who copies it lacks its key, and is refused.
    #[test]
    fn a_stolen_certificate_is_nothing_without_its_key() {
        let pki = Pki::new();
        let stolen = Identity {
            chain: pki.client(&client_params(hours(-1, 1))).chain,
            key: KeyPair::generate().unwrap(),
        };
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = Arc::new(pki.connector_for(Some(&stolen), &[version]));
            let verifier = client_verifier(
                pki.authority.anchors(),
                ClientAuthMode::Required,
                Reject::Explain,
                Arc::new(Word(Ok(()))),
            );
            let server = pki.server(Some(verifier.unwrap()), TlsVersion::V1_2);
            let (server, _) = handshake(&server, &client, "localhost");
            assert_eq!(refusal(&server.unwrap_err()), Reason::CertBadSignature);
        }
    }

    /// A registry whose answer can be changed.
    #[derive(Debug)]
    struct Changing(std::sync::Mutex<Result<(), Reason>>);

    impl RegistryView for Changing {
        fn judge(&self, _: &Fingerprint, _: &Validity) -> Result<(), Reason> {
            *self.0.lock().unwrap()
        }
    }

    fn knowing(pki: &Pki, reject: Reject) -> (Verifier, Arc<Changing>) {
        let registry = Arc::new(Changing(std::sync::Mutex::new(Ok(()))));
        let verifier = Verifier {
            chain: ClientChain::new(pki.authority.anchors()).unwrap(),
            known: Cache::new(16),
            mandatory: true,
            reject,
            registry: Arc::<Changing>::clone(&registry),
        };
        (verifier, registry)
    }

    fn verify(verifier: &Verifier, identity: &Identity, at: Timestamp) -> Result<(), Reason> {
        let (leaf, rest) = identity.chain.split_first().unwrap();
        let found = verifier.verify_client_cert(leaf, rest, unix_time(at));
        found.map(|_| ()).map_err(|error| refusal(&error))
    }

    #[test]
    fn a_certificate_that_is_known_is_still_asked_about() {
        let pki = Pki::new();
        let partner = pki.client(&client_params(hours(-1, 2)));
        let (verifier, registry) = knowing(&pki, Reject::Alert);
        let later = |hours: u64| now().plus(std::time::Duration::from_hours(hours));
        assert_eq!(verify(&verifier, &partner, now()), Ok(()));
        assert_eq!(verifier.known.len(), 1);
        assert_eq!(verify(&verifier, &partner, later(1)), Ok(()));
        for reason in [
            Reason::CertRevoked,
            Reason::AppSuspended,
            Reason::AppRevoked,
        ] {
            *registry.0.lock().unwrap() = Err(reason);
            assert_eq!(verify(&verifier, &partner, now()), Err(reason));
        }
        *registry.0.lock().unwrap() = Ok(());
        assert_eq!(
            verify(&verifier, &partner, later(3)),
            Err(Reason::CertExpired)
        );
        let before = now().minus(std::time::Duration::from_hours(2));
        assert_eq!(
            verify(&verifier, &partner, before),
            Err(Reason::CertNotYetValid)
        );
    }

    #[test]
    fn only_what_was_found_good_is_known() {
        let pki = Pki::new();
        let other = Pki::new();
        let mut authority = client_params(hours(-1, 1));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        for reject in [Reject::Alert, Reject::Explain] {
            let (verifier, _) = knowing(&pki, reject);
            for identity in [
                pki.client(&client_params(hours(-2, -1))),
                pki.client(&client_params(hours(1, 2))),
                pki.client(&client_params(hours(1, -1))),
                pki.client(&authority),
                other.client(&client_params(hours(-1, 1))),
                self_signed(&client_params(hours(-1, 1))),
            ] {
                // Explained or refused: neither is cached.
                let _told = verify(&verifier, &identity, now());
                assert_eq!(verifier.known.len(), 0);
            }
        }
    }

    /// Another authority of the same names may sign the same serial number, subject and key.
    #[test]
    fn a_twin_of_a_known_certificate_is_not_known() {
        let (pki, twin) = (Pki::new(), Pki::new());
        let mut params = client_params(hours(-1, 1));
        params.serial_number = Some(vec![7; 16].into());
        let genuine = pki.client(&params);
        let key = KeyPair::try_from(genuine.key.serialize_der()).unwrap();
        let forged = twin.client_with(&params, key);
        let (verifier, _) = knowing(&pki, Reject::Explain);
        assert_eq!(verify(&verifier, &genuine, now()), Ok(()));
        assert_eq!(
            verify(&verifier, &forged, now()),
            Err(Reason::CertUntrusted)
        );
        // An authority that has been removed: the verifier for the current trust knows nothing of the earlier one.
        let (verifier, _) = knowing(&twin, Reject::Explain);
        assert_eq!(
            verify(&verifier, &genuine, now()),
            Err(Reason::CertUntrusted)
        );
    }

    #[test]
    fn a_chain_is_known_for_as_long_as_all_of_it_is_valid() {
        let pki = Pki::new();
        let mut partner = pki.client(&client_params(hours(-1, 8)));
        let short = pki.client(&client_params(hours(-1, 1)));
        partner.chain.push(short.chain[0].clone());
        let (verifier, _) = knowing(&pki, Reject::Explain);
        assert_eq!(verify(&verifier, &partner, now()), Ok(()));
        let fingerprint = hash::fingerprint(&partner.chain[0]);
        let later = |minutes: u64| now().plus(std::time::Duration::from_mins(minutes));
        assert!(verifier.known(&fingerprint, later(59)).is_some());
        assert!(verifier.known(&fingerprint, later(61)).is_none());
        partner.chain[1] = CertificateDer::from(&b"garbage"[..]);
        let (verifier, _) = knowing(&pki, Reject::Explain);
        let _told = verify(&verifier, &partner, now());
        assert_eq!(verifier.known.len(), 0);
    }

    #[test]
    fn a_stolen_certificate_is_nothing_even_where_it_is_known() {
        let pki = Pki::new();
        let genuine = pki.client(&client_params(hours(-1, 1)));
        let stolen = Identity {
            chain: genuine.chain.clone(),
            key: KeyPair::generate().unwrap(),
        };
        let (verifier, _) = knowing(&pki, Reject::Explain);
        let server = pki.server(Some(Arc::new(verifier)), TlsVersion::V1_2);
        let known = Arc::new(pki.connector(Some(&genuine)));
        assert!(handshake(&server, &known, "localhost").0.is_ok());
        let thief = Arc::new(pki.connector(Some(&stolen)));
        let (told, _) = handshake(&server, &thief, "localhost");
        assert_eq!(refusal(&told.unwrap_err()), Reason::CertBadSignature);
    }

    #[test]
    fn dates_the_wrong_way_round_are_no_accident() {
        let pki = Pki::new();
        let identity = pki.client(&client_params(hours(1, -1)));
        assert!(explain(&pki, &identity).is_err());
        assert!(alert(&pki, &identity, Ok(())).is_err());
    }

    #[test]
    fn garbage_is_malformed() {
        let pki = Pki::new();
        let verifier = client_verifier(
            pki.authority.anchors(),
            ClientAuthMode::Required,
            Reject::Explain,
            Arc::new(Word(Ok(()))),
        )
        .unwrap();
        for bytes in [&b""[..], b"garbage", &[0x30, 0x80]] {
            let error = verifier
                .verify_client_cert(&CertificateDer::from(bytes), &[], unix_time(now()))
                .unwrap_err();
            assert_eq!(refusal(&error), Reason::CertMalformed);
        }
    }

    #[test]
    fn nothing_to_trust_is_an_error() {
        for anchors in [Vec::new(), vec![CertificateDer::from(&b"garbage"[..])]] {
            let registry = Arc::new(Word(Ok(())));
            let made = client_verifier(anchors, ClientAuthMode::Optional, Reject::Alert, registry);
            assert!(matches!(made, Err(TlsError::Anchors(_))));
        }
    }
}
