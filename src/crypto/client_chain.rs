//! The chain of a client certificate: webpki's check, and the rules of RFC 5280 for authorities beyond it.
//!
//! webpki does not check the key usage of an intermediate, nor the path length of the anchor that a chain ends in. And
//! it checks the dates and the use of a certificate before its issuer, so that it refuses a certificate of another
//! authority for its dates or its use.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, Error, RootCertStore};

use super::provider::provider;
use super::x509;

/// The maximum number of signatures that are verified to find out whether an issuer is one of ours, after a chain was
/// refused. A client chooses the chain, so this bounds the cost of a refusal: about a millisecond.
const SIGNATURES_MAX: usize = 12;

/// The anchors of client certificates, and the check of chains to them.
#[derive(Debug)]
pub struct ClientChain {
    anchors: Vec<CertificateDer<'static>>,
    all: Arc<dyn ClientCertVerifier>,
    /// The same anchors, by the number of authorities that may stand between one of them and a leaf.
    by_depth: Vec<(usize, Arc<dyn ClientCertVerifier>)>,
}

impl ClientChain {
    pub fn new(anchors: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let all = verifier(anchors.clone())?;
        let mut depths: Vec<(usize, Vec<CertificateDer<'static>>)> = Vec::new();
        for anchor in &anchors {
            let depth = x509::read_authority(anchor).map_or(0, |authority| authority.depth);
            match depths.iter_mut().find(|(known, _)| *known == depth) {
                Some((_, anchors)) => anchors.push(anchor.clone()),
                None => depths.push((depth, vec![anchor.clone()])),
            }
        }
        let by_depth = depths
            .into_iter()
            .map(|(depth, anchors)| Ok((depth, verifier(anchors)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            anchors,
            all,
            by_depth,
        })
    }

    /// The verifier of signatures and the source of hints, which know all anchors.
    pub fn verifier(&self) -> &dyn ClientCertVerifier {
        &*self.all
    }

    /// Verifies that a certificate leads to an anchor at a given time.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let between = self.authorities(intermediates);
        let verified = if between.is_empty() {
            self.all.verify_client_cert(leaf, &[], at)
        } else {
            self.verify_below(leaf, &between, at)
        };
        verified.map_err(|error| self.precise(error, leaf, &between))
    }

    /// The intermediates that may sign certificates. An anchor needs no issuer.
    fn authorities<'c>(&self, intermediates: &[CertificateDer<'c>]) -> Vec<CertificateDer<'c>> {
        let signs = |certificate: &&CertificateDer<'_>| {
            !self.anchors.iter().any(|anchor| anchor == *certificate)
                && x509::read_authority(certificate).is_ok_and(|authority| authority.signs)
        };
        intermediates.iter().filter(signs).cloned().collect()
    }

    /// Verifies by the anchors of each depth, with as many intermediates as these allow. TLS sends each certificate
    /// before the one that signed it, so the intermediates to use come first.
    fn verify_below(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut refused = Error::from(CertificateError::UnknownIssuer);
        for (depth, verifier) in &self.by_depth {
            let allowed = between.get(..*depth).unwrap_or(between);
            match verifier.verify_client_cert(leaf, allowed, at) {
                Ok(verified) => return Ok(verified),
                Err(error) if is_unknown_issuer(&refused) => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// webpki's error about the chain, made precise.
    fn precise(
        &self,
        error: Error,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
    ) -> Error {
        let Error::InvalidCertificate(why) = &error else {
            return error;
        };
        match why {
            // With an unsupported algorithm the certificate names one of our issuers, and its signature cannot be
            // verified.
            CertificateError::BadEncoding
            | CertificateError::UnknownIssuer
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => error,
            // An issuer of the same name and another key is another issuer. What is left of this
            // error then means one thing: the client does not hold the key of its certificate.
            CertificateError::BadSignature => CertificateError::UnknownIssuer.into(),
            // A fault of the certificate itself matters only if one of our authorities signed it.
            _ if !self.leads_to_us(leaf, between) => CertificateError::UnknownIssuer.into(),
            CertificateError::Other(_)
                if x509::read_usage(leaf).is_ok_and(|usage| usage.authority) =>
            {
                CertificateError::InvalidPurpose.into()
            }
            _ => error,
        }
    }

    /// True if the issuers of a certificate end in an anchor. Dates and uses are not checked.
    fn leads_to_us(&self, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> bool {
        let mut left = SIGNATURES_MAX;
        let mut signed = |by: &CertificateDer<'_>, certificate: &CertificateDer<'_>| {
            let named = x509::is_named_issuer(certificate, by).unwrap_or(false);
            if !named || left == 0 {
                return false;
            }
            left -= 1;
            x509::is_signed_by(certificate, by).unwrap_or(false)
        };
        let mut current = leaf;
        for _ in 0..=between.len() {
            if self.anchors.iter().any(|anchor| signed(anchor, current)) {
                return true;
            }
            match between.iter().find(|above| signed(above, current)) {
                Some(above) if above != current => current = above,
                _ => return false,
            }
        }
        false
    }
}

fn is_unknown_issuer(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}

/// webpki's verifier of chains to these anchors.
pub(super) fn verifier(
    anchors: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(store(anchors)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

/// A store of these anchors; refuses an anchor that cannot be read.
pub(super) fn store(anchors: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    anchors
        .into_iter()
        .try_for_each(|anchor| store.add(anchor))?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose,
    };

    use super::*;
    use crate::crypto::issue;
    use crate::crypto::testing::{client_params, hours, now};
    use crate::domain::time::{Timestamp, Validity};

    /// A test's own authority, which may break the rules.
    struct Made {
        certificate: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = issue::root(name, hours(-2, 2)).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params
    }

    fn root(change: impl FnOnce(&mut CertificateParams)) -> Made {
        let (params, key) = (authority("Root", change), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Made {
            certificate,
            issuer,
        }
    }

    impl Made {
        fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
            let (params, key) = (authority(name, change), KeyPair::generate().unwrap());
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            Self {
                certificate: certificate.der().clone(),
                issuer: Issuer::new(params, key),
            }
        }

        fn leaf(&self, params: &CertificateParams) -> CertificateDer<'static> {
            let key = KeyPair::generate().unwrap();
            let leaf = params.signed_by(&key, &self.issuer).unwrap();
            leaf.der().clone()
        }
    }

    fn good() -> CertificateParams {
        client_params(hours(-1, 1))
    }

    fn at(now: Timestamp) -> UnixTime {
        UnixTime::since_unix_epoch(now.since(Timestamp::from_unix_seconds(0)))
    }

    fn verify(
        anchors: &[&Made],
        leaf: &CertificateDer<'_>,
        between: &[&Made],
    ) -> Result<(), CertificateError> {
        let anchors = anchors.iter().map(|made| made.certificate.clone());
        let between: Vec<_> = between
            .iter()
            .map(|made| made.certificate.clone())
            .collect();
        let chain = ClientChain::new(anchors.collect()).unwrap();
        match chain.verify(leaf, &between, at(now())) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    fn constrained(depth: u8) -> impl FnOnce(&mut CertificateParams) {
        move |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth))
    }

    #[test]
    fn only_an_authority_that_may_sign_certificates_stands_in_a_chain() {
        use KeyUsagePurpose as K;
        let usages = |usages: &[K]| {
            let usages = usages.to_vec();
            move |params: &mut CertificateParams| params.key_usages = usages
        };
        let root = root(|_| {});
        for (what, between, accepted) in [
            ("keyCertSign", root.below("Sub", |_| {}), true),
            ("no key usage at all", root.below("Sub", usages(&[])), true),
            (
                "keyCertSign and more",
                root.below("Sub", usages(&[K::KeyCertSign, K::DigitalSignature])),
                true,
            ),
            (
                "digitalSignature alone",
                root.below("Sub", usages(&[K::DigitalSignature])),
                false,
            ),
            (
                "cRLSign alone",
                root.below("Sub", usages(&[K::CrlSign])),
                false,
            ),
            (
                "a leaf",
                root.below("Sub", |params| params.is_ca = IsCa::ExplicitNoCa),
                false,
            ),
            (
                "no basic constraints",
                root.below("Sub", |params| params.is_ca = IsCa::NoCa),
                false,
            ),
        ] {
            let found = verify(&[&root], &between.leaf(&good()), &[&between]);
            let refused = Err(CertificateError::UnknownIssuer);
            assert_eq!(found, if accepted { Ok(()) } else { refused }, "{what}");
        }
    }

    #[test]
    fn no_chain_is_longer_than_an_authority_in_it_or_its_anchor_allows() {
        for (depth, allowed) in [(0, 0), (1, 1), (2, 2)] {
            let root = root(constrained(depth));
            let one = root.below("One", |_| {});
            let two = one.below("Two", |_| {});
            for (length, leaf, between) in [
                (0, root.leaf(&good()), &[][..]),
                (1, one.leaf(&good()), &[&one][..]),
                (2, two.leaf(&good()), &[&two, &one][..]),
            ] {
                let found = verify(&[&root], &leaf, between);
                assert_eq!(found.is_ok(), length <= allowed, "{length} below {depth}");
            }
        }
        let root = root(|_| {});
        let one = root.below("One", constrained(0));
        let two = one.below("Two", |_| {});
        assert!(verify(&[&root], &one.leaf(&good()), &[&one]).is_ok());
        assert!(verify(&[&root], &two.leaf(&good()), &[&two, &one]).is_err());
    }

    #[test]
    fn an_anchor_that_is_sent_along_takes_nobodys_place() {
        let root = root(constrained(1));
        let issuing = root.below("Issuing", constrained(0));
        let anchors = [&issuing, &root];
        let leaf = issuing.leaf(&good());
        for sent in [&[][..], &[&issuing], &[&issuing, &root], &[&root, &issuing]] {
            assert_eq!(verify(&anchors, &leaf, sent), Ok(()));
        }
        let sub = issuing.below("Sub", |_| {});
        let beyond = sub.leaf(&good());
        for sent in [&[&sub][..], &[&sub, &issuing], &[&sub, &issuing, &root]] {
            assert!(verify(&anchors, &beyond, sent).is_err());
        }
    }

    #[test]
    fn a_strangers_certificate_is_refused_for_its_issuer_whatever_it_says_of_itself() {
        let (ours, theirs) = (root(|_| {}), root(|_| {}));
        let stranger = theirs.below("Sub", |_| {});
        let with = |change: fn(&mut CertificateParams)| {
            let mut params = good();
            change(&mut params);
            params
        };
        let authority = |params: &mut CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        };
        let server = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        };
        let expired = client_params(hours(-2, -1));
        let early = client_params(hours(1, 2));
        let backwards = client_params(Validity {
            not_before: hours(1, 2).not_before,
            not_after: hours(-2, -1).not_after,
        });
        for (what, params) in [
            ("expired", expired),
            ("not valid yet", early),
            ("dates the wrong way round", backwards),
            ("an authority", with(authority)),
            ("for servers", with(server)),
        ] {
            let key = KeyPair::generate().unwrap();
            let own = params.self_signed(&key).unwrap().der().clone();
            for (whose, leaf, sent) in [
                ("self-signed", own, &[][..]),
                ("a stranger's", theirs.leaf(&params), &[]),
                ("below a stranger", stranger.leaf(&params), &[&stranger]),
            ] {
                let found = verify(&[&ours], &leaf, sent);
                assert_eq!(
                    found,
                    Err(CertificateError::UnknownIssuer),
                    "{whose}, {what}"
                );
            }
            // A certificate of ours gets its own fault as the error.
            let found = verify(&[&ours], &ours.leaf(&params), &[]).unwrap_err();
            assert_ne!(found, CertificateError::UnknownIssuer, "ours, {what}");
        }
    }

    #[test]
    fn a_chain_of_look_alikes_costs_a_bounded_number_of_signatures() {
        let ours = root(|_| {});
        let expired = client_params(hours(-2, -1));
        let twins: Vec<Made> = (0..60).map(|_| root(|_| {})).collect();
        let sent: Vec<&Made> = twins.iter().collect();
        let found = verify(&[&ours], &twins[59].leaf(&expired), &sent);
        assert_eq!(found, Err(CertificateError::UnknownIssuer));
    }
}
