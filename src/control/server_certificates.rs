//! The certificates that the listeners show: an operator's, or the gateway's own, which are renewed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::error::Error;
use super::metrics::ControlMetrics;
use super::service::Control;
use crate::crypto::authority::Authority;
use crate::crypto::tls::{ServerCertificate, ServerCertificates};
use crate::crypto::tls_error::TlsError;
use crate::domain::time::Timestamp;

/// The remaining life of a certificate at its renewal: a third, so that after a failed renewal an operator has a month
/// to notice.
const RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);

/// The certificates of all listeners. The partners' are replaced by a reload.
#[derive(Debug)]
pub struct ListenerCertificates {
    partners: ArcSwap<Shown>,
    admin: Shown,
    metrics: ControlMetrics,
}

/// The certificates of one listener.
#[derive(Debug)]
pub struct Shown {
    certificates: Arc<ServerCertificates>,
    /// The names for which our own authority issued the certificate, so that we have to renew it; `None` when the
    /// certificates are the operator's.
    issued_for: Option<Vec<String>>,
}

impl ListenerCertificates {
    pub fn new(partners: Shown, admin: Shown, control: &Control) -> Self {
        let all = Self {
            partners: ArcSwap::from_pointee(partners),
            admin,
            metrics: control.metrics().clone(),
        };
        all.measure();
        all
    }

    /// The certificates of the admin listener.
    pub fn admin(&self) -> &Arc<ServerCertificates> {
        self.admin.certificates()
    }

    /// The end of each certificate that partners see, by its first name.
    pub fn ends(&self) -> Vec<(String, Timestamp)> {
        self.partners.load().certificates.not_after()
    }

    /// Puts the partners' certificates of another configuration into the place of the last ones.
    pub fn replace(&self, partners: Shown) {
        self.partners.store(Arc::new(partners));
        self.measure();
    }

    /// Renews the certificates of our own that end soon. The failure of one keeps no other from its renewal.
    pub fn renew(&self, authority: &Authority, now: Timestamp) -> Result<(), Error> {
        let renewed = [
            self.partners.load().renew(authority, now),
            self.admin.renew(authority, now),
        ];
        self.measure();
        renewed.into_iter().collect()
    }

    /// Issues the admin listener's certificate by another authority, whose chain operators need from now on.
    pub fn follow(&self, authority: &Authority, now: Timestamp) -> Result<(), Error> {
        self.admin.issue_again(authority, now)
    }

    fn measure(&self) {
        self.metrics.state.server_certificates_end(&self.ends());
    }
}

impl Shown {
    /// An operator's certificates, which only the operator renews.
    pub fn brought(certificates: Vec<ServerCertificate>) -> Result<Self, TlsError> {
        Ok(Self {
            certificates: Arc::new(ServerCertificates::new(certificates)?),
            issued_for: None,
        })
    }

    /// A certificate for these names from our own authority.
    pub fn issued(
        authority: &Authority,
        names: Vec<String>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let certificates = ServerCertificates::new(vec![issue(authority, &names, now)?]);
        Ok(Self {
            certificates: Arc::new(certificates.map_err(unusable)?),
            issued_for: Some(names),
        })
    }

    pub fn certificates(&self) -> &Arc<ServerCertificates> {
        &self.certificates
    }

    /// Issues a new certificate if ours ends soon; open connections keep the old one.
    ///
    /// A certificate that ends with its authority is not renewed: the next one would end no later.
    fn renew(&self, authority: &Authority, now: Timestamp) -> Result<(), Error> {
        let ends = self.certificates.not_after();
        let due = |(_, end): &(String, Timestamp)| is_due(*end, authority.not_after(), now);
        if ends.iter().any(due) {
            self.issue_again(authority, now)?;
        }
        Ok(())
    }

    /// Issues a new certificate, if ours is issued at all.
    fn issue_again(&self, authority: &Authority, now: Timestamp) -> Result<(), Error> {
        let Some(names) = &self.issued_for else {
            return Ok(());
        };
        let issued = vec![issue(authority, names, now)?];
        self.certificates.replace(issued).map_err(unusable)?;
        tracing::info!(?names, "server certificate renewed");
        Ok(())
    }
}

fn is_due(end: Timestamp, authority_end: Timestamp, now: Timestamp) -> bool {
    end < now.plus(RENEWED_BEFORE).min(authority_end)
}

fn issue(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Result<ServerCertificate, Error> {
    let (cert_pem, key_pem) = authority
        .issue_server(names, now)
        .map_err(|error| Error::internal("a server certificate could not be issued", error))?;
    Ok(ServerCertificate { cert_pem, key_pem })
}

fn unusable(error: TlsError) -> Error {
    Error::internal("an issued server certificate could not be used", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Fixture;

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }

    fn days(days: u64) -> Duration {
        Duration::from_hours(24 * days)
    }

    fn authority() -> Authority {
        let made = Authority::generate("Test", now()).unwrap();
        let roots = &made.root_cert_pem;
        Authority::load(&made.issuing_cert_pem, &made.issuing_key_pem, roots, now()).unwrap()
    }

    fn issued(authority: &Authority, at: Timestamp) -> Shown {
        Shown::issued(authority, vec!["a.test".to_owned()], at).unwrap()
    }

    fn brought(authority: &Authority) -> Shown {
        let pair = issue(authority, &["b.test".to_owned()], now()).unwrap();
        Shown::brought(vec![pair]).unwrap()
    }

    fn end(shown: &Shown) -> Timestamp {
        shown.certificates.not_after()[0].1
    }

    #[test]
    fn a_certificate_of_our_own_lives_ninety_days_and_is_renewed_a_month_before_its_end() {
        let authority = authority();
        let shown = issued(&authority, now());
        let first = end(&shown);
        assert!(first <= now().plus(days(90)) && first > now().plus(days(89)));
        for day in [0, 30, 59] {
            shown.renew(&authority, now().plus(days(day))).unwrap();
            assert_eq!(end(&shown), first, "day {day}");
        }
        // A gateway that runs for years, checked once a day, never shows a certificate that ends soon.
        let mut renewals = 0;
        for day in 60..1000 {
            let (before, today) = (end(&shown), now().plus(days(day)));
            shown.renew(&authority, today).unwrap();
            renewals += u32::from(end(&shown) != before);
            assert!(end(&shown) > today.plus(days(29)), "day {day}");
        }
        assert_eq!(renewals, 16, "one every 60 days");
    }

    #[test]
    fn a_certificate_that_ends_with_its_authority_is_not_renewed_again_and_again() {
        let authority = authority();
        let late = authority.not_after().minus(days(10));
        assert_eq!(end(&issued(&authority, late)), authority.not_after());
        for (left, authority_left, due) in [
            (10, 10, false),
            (31, 400, false),
            (29, 400, true),
            (5, 29, true),
        ] {
            let at = |left| now().plus(days(left));
            assert_eq!(is_due(at(left), at(authority_left), now()), due, "{left}");
        }
    }

    #[tokio::test]
    async fn all_certificates_of_our_own_are_renewed_and_the_ends_are_exported() {
        let fixture = Fixture::new().await;
        let authority = fixture.control.authority();
        let shown = || issued(&authority, now());
        let all = ListenerCertificates::new(shown(), shown(), &fixture.control);
        let exported = || {
            let families = fixture.registry.gather();
            let text = prometheus::TextEncoder::new().encode_to_string(&families);
            text.unwrap()
        };
        let ends = |at: Timestamp| {
            format!(
                "countersign_server_cert_not_after_timestamp_seconds{{host=\"a.test\"}} {}\n",
                at.unix_seconds()
            )
        };
        let (first, admin) = (all.ends()[0].1, all.admin().not_after());
        assert!(exported().contains(&ends(first)), "{}", exported());
        let later = now().plus(days(70));
        all.renew(&authority, later).unwrap();
        let second = all.ends()[0].1;
        assert!(second > first && all.admin().not_after() > admin);
        assert!(exported().contains(&ends(second)), "{}", exported());

        all.replace(brought(&authority));
        let brought = all.ends();
        assert_eq!(brought[0].0, "b.test");
        assert!(!exported().contains("a.test"), "{}", exported());
        all.renew(&authority, later.plus(days(20))).unwrap();
        assert_eq!(all.ends(), brought, "it is the operator's");
    }
}
