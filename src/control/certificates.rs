//! Certificates: signed from CSRs, listed, revoked.

use std::time::Duration;

use serde_json::json;

use super::apps;
use super::audit::event;
use super::draft::Draft;
use super::error::Error;
use super::publish::Changed;
use super::service::{Control, Signing};
use super::writer::Plan;
use crate::crypto::authority::{Authority, Issued, LeafNames};
use crate::crypto::csr::{self, Csr, CsrReport, Verdict};
use crate::crypto::random;
use crate::domain::admin::Actor;
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Profile};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::CertificateId;
use crate::domain::listing::{CertificateFilter, CertificateMark, Page};
use crate::domain::name::Name;
use crate::domain::reason::Reason;
use crate::domain::record::AuditEvent;
use crate::domain::registry::apps::may_get_credentials;
use crate::domain::registry::certificates::{self, Registrant, is_compromised};
use crate::domain::registry::change::{Allowed, Change};
use crate::domain::registry::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::store::repository::Store;

/// The minimum lifetime of a certificate: a shorter one would expire on its way to the partner.
const LIFETIME_MIN: Duration = Duration::from_mins(1);

/// The input for a signature.
#[derive(Clone, Debug)]
pub struct SignRequest {
    /// The App's id or name.
    pub app: String,
    /// The App's name for the certificate. A valid certificate with the same name is retired: this one succeeds it.
    pub name: Name,
    /// The certificate signing request, in PEM or DER.
    pub csr: Vec<u8>,
    /// The lifetime; absent for the profile's.
    pub lifetime: Option<Duration>,
}

/// A certificate, and the chain that the partner has to present.
#[derive(Clone, Debug)]
pub struct SignedCertificate {
    pub certificate: Certificate,
    /// The certificate and its issuer's, in PEM.
    pub chain_pem: String,
}

impl Control {
    pub async fn sign_certificate(
        &self,
        actor: &Actor,
        request: SignRequest,
    ) -> Result<Changed<SignedCertificate>, Error> {
        let (actor, now, signing) = (actor.clone(), self.now(), self.signing());
        let lifetime = lifetime(request.lifetime, &signing.profile)?;
        let signed = self.commit(move |draft| {
            let Signing { authority, profile } = &*signing;
            let app = apps::find(draft, &request.app)?;
            may_get_credentials(&app)?;
            let csr = judged(&request.csr, profile)?;
            let registrant = registrant(draft, app, &csr, profile, now)?;
            // The rule is asked before anything is signed.
            registrant.may_register()?;
            let app = &registrant.app;
            let issued = issue(authority, &csr, app, lifetime, profile, now)?;
            let certificate = registered(authority, &csr, app, &request.name, &issued, now);
            let changes = certificates::add(certificate.clone(), &registrant)?;
            Ok(Plan {
                event: signed_event(&actor, now, &certificate, &changes),
                changes: changes.into_iter().map(Change::from).collect(),
                value: SignedCertificate {
                    certificate,
                    chain_pem: format!("{}{}", issued.pem, authority.chain_pem()),
                },
            })
        });
        let signed = signed.await;
        match &signed {
            Ok(_) => self.metrics().signed(),
            Err(error) => self.metrics().not_signed(error.reason),
        }
        signed
    }

    /// The profile's judgement of a CSR, without signing it. It does not say if the key belongs to another App: that
    /// depends on the App that sends the CSR.
    pub async fn inspect_csr(&self, csr: Vec<u8>) -> Result<CsrReport, Error> {
        let signing = self.signing();
        self.read(move |store| {
            let report = csr::inspect(&csr, &signing.profile.keys);
            let known = match &report.key_digest {
                Some(digest) if report.verdict == Verdict::Accepted => {
                    store.certificates_by_key(digest)?
                }
                _ => Vec::new(),
            };
            Ok(if known.iter().any(is_compromised) {
                let refusal = Refusal::KeyCompromised.to_string();
                report.refused(Reason::CsrKeyRevoked, &refusal)
            } else {
                report
            })
        })
        .await
    }

    pub async fn certificate(&self, id: CertificateId) -> Result<Certificate, Error> {
        let now = self.now();
        self.read(move |store| Ok(as_of(find(store, id)?, now)))
            .await
    }

    /// The certificate with this id, fingerprint or serial number.
    pub async fn certificate_id(&self, text: &str) -> Result<CertificateId, Error> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let missing = Error::not_found("certificate", text);
        let Ok(mark) = text.parse::<CertificateMark>() else {
            return Err(missing);
        };
        let found = self
            .read(move |store| Ok(store.certificates_by_mark(&mark)?))
            .await?;
        match found.as_slice() {
            [] => Err(missing),
            [one] => Ok(one.id),
            several => {
                let ids: Vec<_> = several.iter().map(|one| one.id.to_string()).collect();
                Err(Error::conflict(format!(
                    "several certificates have this serial number: {}; name one by its id",
                    ids.join(", ")
                )))
            }
        }
    }

    pub async fn certificates(
        &self,
        filter: CertificateFilter,
        page: Page<CertificateId>,
    ) -> Result<Vec<Certificate>, Error> {
        let now = self.now();
        let filter = CertificateFilter {
            at: Some(now),
            ..filter
        };
        self.read(move |store| {
            let found = store.certificates(&filter, &page)?.into_iter();
            Ok(found.map(|certificate| as_of(certificate, now)).collect())
        })
        .await
    }

    /// Revokes a certificate at once, with every connection and token that depends on it.
    pub async fn revoke_certificate(
        &self,
        actor: &Actor,
        id: CertificateId,
        reason: RevocationReason,
    ) -> Result<Changed<Certificate>, Error> {
        let (actor, now) = (actor.clone(), self.now());
        let revoked = self.commit(move |draft| {
            let found = draft.certificate(id)?;
            let certificate = found.ok_or_else(|| Error::not_found("certificate", id))?;
            let certificate = certificates::revoke(certificate, now, reason)?;
            let value = certificate.value().clone();
            let detail = json!({
                "name": value.name,
                "serial": value.serial,
                "fingerprint": value.fingerprint,
                "reason": reason,
            });
            let app = Some(value.app);
            Ok(Plan {
                changes: vec![certificate.into()],
                event: event(&actor, now, "cert.revoke", &id, app, detail),
                value,
            })
        });
        let revoked = revoked.await?;
        self.metrics().revoked(reason);
        revoked.in_force(id)
    }
}

fn find(store: &dyn Store, id: CertificateId) -> Result<Certificate, Error> {
    let found = store.certificate(id)?;
    found.ok_or_else(|| Error::not_found("certificate", id))
}

/// The certificate with its state at `now`.
fn as_of(certificate: Certificate, now: Timestamp) -> Certificate {
    let ended = certificate.validity.has_ended(now);
    let state = match certificate.state {
        CredentialState::Revoked => CredentialState::Revoked,
        _ if ended => CredentialState::Expired,
        state => state,
    };
    Certificate {
        state,
        ..certificate
    }
}

fn lifetime(asked: Option<Duration>, profile: &Profile) -> Result<Duration, Error> {
    let lifetime = asked.unwrap_or(profile.lifetime);
    if lifetime > profile.lifetime_max {
        let days = profile.lifetime_max.as_secs() / 86_400;
        return Err(Error::invalid(format!(
            "the profile allows lifetimes of at most {days} days"
        )));
    }
    if lifetime < LIFETIME_MIN {
        return Err(Error::invalid("a lifetime is at least one minute"));
    }
    Ok(lifetime)
}

fn judged(input: &[u8], profile: &Profile) -> Result<Csr, Error> {
    csr::judge(input, &profile.keys).map_err(|refusal| Error::new(refusal.reason, refusal.detail))
}

/// The facts that decide about a certificate from this CSR.
fn registrant(
    draft: &Draft<'_>,
    app: App,
    csr: &Csr,
    profile: &Profile,
    now: Timestamp,
) -> Result<Registrant, Error> {
    let valid_max = app.settings.certificates_max;
    let valid_max = valid_max.unwrap_or(profile.active_max);
    Ok(Registrant {
        of_key: draft.certificates_by_key(&csr.key_digest())?,
        valid: draft.valid_certificates(app.id, now, valid_max)?,
        valid_max,
        app,
    })
}

fn issue(
    authority: &Authority,
    csr: &Csr,
    app: &App,
    lifetime: Duration,
    profile: &Profile,
    now: Timestamp,
) -> Result<Issued, Error> {
    let names = LeafNames {
        app: app.id,
        name: &app.name,
    };
    authority
        .sign(csr, names, lifetime, profile, now)
        .map_err(|error| Error::internal("the authority could not sign the request", error))
}

fn registered(
    authority: &Authority,
    csr: &Csr,
    app: &App,
    name: &Name,
    issued: &Issued,
    now: Timestamp,
) -> Certificate {
    Certificate {
        id: CertificateId::from_bits(random::id_bits(now)),
        app: app.id,
        name: name.clone(),
        authority: authority.id(),
        fingerprint: issued.leaf.fingerprint,
        key_digest: issued.leaf.key_digest,
        serial: issued.leaf.serial,
        key: csr.key(),
        subject: issued.leaf.subject.clone(),
        validity: issued.leaf.validity,
        state: CredentialState::Active,
        created_at: now,
        revoked_at: None,
        revocation_reason: None,
        pem: issued.pem.clone(),
    }
}

/// The audit event of a signature. The new certificate is the last of the changes; those before it retire.
fn signed_event(
    actor: &Actor,
    now: Timestamp,
    certificate: &Certificate,
    changes: &[Allowed<Certificate>],
) -> AuditEvent {
    let retired = changes.iter().filter(|change| !change.is_new());
    let retired_ids: Vec<_> = retired
        .map(|change| change.value().id.to_string())
        .collect();
    let detail = json!({
        "name": certificate.name,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "key": certificate.key,
        "not_after": certificate.validity.not_after,
        "succeeds": retired_ids.join(" "),
    });
    let app = Some(certificate.app);
    event(actor, now, "cert.sign", &certificate.id, app, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, CSR, Fixture, OTHER_CSR, P521_CSR};
    use crate::domain::credential::{CredentialId, Ended};

    #[tokio::test]
    async fn a_signed_certificate_counts_at_once() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let signed = fixture.sign("acme", "prod", CSR).await.unwrap();
        let certificate = &signed.value.certificate;
        let (fingerprint, validity) = (certificate.fingerprint, certificate.validity);
        let proof = fixture
            .snapshot()
            .judge(&fingerprint, &validity, fixture.control.now());
        assert_eq!(proof.unwrap().app.id, app.id);
        assert_eq!(signed.receipt.version, fixture.snapshot().version);
        assert!(signed.value.chain_pem.starts_with(&certificate.pem));
        let begins = signed.value.chain_pem.matches("BEGIN CERTIFICATE");
        assert_eq!(begins.count(), 2);
        let read = fixture.control.certificate(certificate.id).await.unwrap();
        assert_eq!(read, *certificate);
        assert_eq!(fixture.last_event().await.action, "cert.sign");
    }

    #[tokio::test]
    async fn what_may_not_be_signed_is_refused_with_its_reason() {
        let fixture = Fixture::new().await;
        for app in ["acme", "other", "asleep", "gone"] {
            fixture.app(app).await;
        }
        let control = &fixture.control;
        fixture.sign("acme", "prod", CSR).await.unwrap();
        control.suspend_app(&ACTOR, "asleep").await.unwrap();
        control.revoke_app(&ACTOR, "gone").await.unwrap();
        let before = fixture.snapshot().version;
        for (app, csr, reason) in [
            ("asleep", OTHER_CSR, Reason::Conflict),
            ("gone", OTHER_CSR, Reason::Conflict),
            ("nobody", OTHER_CSR, Reason::NotFound),
            ("other", CSR, Reason::CsrKeyInUse),
            ("other", P521_CSR, Reason::CsrKeyType),
            ("other", "nonsense", Reason::CsrMalformed),
        ] {
            let refused = fixture.sign(app, "prod", csr).await.unwrap_err();
            assert_eq!(refused.reason, reason, "{app} {csr}");
        }
        assert_eq!(fixture.snapshot().version, before);
        assert_eq!(fixture.last_event().await.action, "app.revoke");
    }

    #[tokio::test]
    async fn a_lifetime_stays_between_a_minute_and_the_profiles_bound() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let ask = |lifetime| SignRequest {
            app: "acme".to_owned(),
            name: "prod".parse().unwrap(),
            csr: CSR.into(),
            lifetime: Some(lifetime),
        };
        let control = &fixture.control;
        let bound = Profile::default().lifetime_max;
        for bad in [Duration::ZERO, Duration::from_secs(59), bound * 2] {
            let refused = control.sign_certificate(&ACTOR, ask(bad)).await;
            assert_eq!(refused.unwrap_err().reason, Reason::InputInvalid, "{bad:?}");
        }
        let hour = control.sign_certificate(&ACTOR, ask(Duration::from_hours(1)));
        let validity = hour.await.unwrap().value.certificate.validity;
        let left = validity.not_after.since(control.now());
        assert_eq!(left, Duration::from_hours(1));
    }

    #[tokio::test]
    async fn a_name_is_carried_on_by_retiring_its_bearer_and_a_third_is_too_many() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let first = fixture.sign("acme", "prod", CSR).await.unwrap().value;
        let second = fixture.sign("acme", "prod", OTHER_CSR).await.unwrap().value;
        let snapshot = fixture.snapshot();
        let state = |signed: &SignedCertificate| {
            let entry = snapshot.certificates.get(&signed.certificate.fingerprint);
            entry.unwrap().state
        };
        assert_eq!(state(&first), CredentialState::Retiring);
        assert_eq!(state(&second), CredentialState::Active);
        let stored = fixture.control.certificate(first.certificate.id).await;
        assert_eq!(stored.unwrap().state, CredentialState::Retiring);

        let third = fixture.sign("acme", "more", OTHER_CSR).await.unwrap_err();
        assert_eq!(third.reason, Reason::CertLimit);
        let id = first.certificate.id;
        let reason = RevocationReason::Superseded;
        let revoked = fixture.control.revoke_certificate(&ACTOR, id, reason).await;
        revoked.unwrap();
        fixture.sign("acme", "more", OTHER_CSR).await.unwrap();
    }

    #[tokio::test]
    async fn what_has_expired_makes_room_and_is_called_expired() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let first = fixture.sign("acme", "a", CSR).await.unwrap().value;
        fixture.sign("acme", "b", OTHER_CSR).await.unwrap();
        fixture.clock.advance(Duration::from_hours(24 * 91));
        let read = fixture.control.certificate(first.certificate.id).await;
        assert_eq!(read.unwrap().state, CredentialState::Expired);
        fixture.sign("acme", "a", CSR).await.unwrap();
        let expired = CertificateFilter {
            state: Some(CredentialState::Expired),
            ..CertificateFilter::default()
        };
        let listed = fixture.control.certificates(expired, Page::first(10)).await;
        assert_eq!(listed.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_revoked_certificate_never_counts_again_nor_does_a_compromised_key() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let signed = fixture.sign("acme", "prod", CSR).await.unwrap().value;
        let Certificate {
            id,
            fingerprint,
            validity,
            ..
        } = signed.certificate;
        let control = &fixture.control;
        let reason = RevocationReason::KeyCompromise;
        let revoked = control
            .revoke_certificate(&ACTOR, id, reason)
            .await
            .unwrap();
        assert_eq!(revoked.receipt.connections_closed, 1);
        let ended = Ended::Credential(CredentialId::Certificate(id));
        assert_eq!(fixture.last_told().1, [ended]);
        let judged = fixture
            .snapshot()
            .judge(&fingerprint, &validity, control.now());
        assert_eq!(judged.unwrap_err(), Reason::CertRevoked);
        let event = fixture.last_event().await;
        assert_eq!(event.action, "cert.revoke");
        assert_eq!(event.detail["reason"], "key-compromise");

        let again = control.revoke_certificate(&ACTOR, id, reason).await;
        assert_eq!(again.unwrap_err().reason, Reason::Conflict);
        let same_key = fixture.sign("acme", "next", CSR).await.unwrap_err();
        assert_eq!(same_key.reason, Reason::CsrKeyRevoked);
        let unknown = CertificateId::from_bits(1);
        let missing = control.revoke_certificate(&ACTOR, unknown, reason).await;
        assert_eq!(missing.unwrap_err().reason, Reason::NotFound);
    }
}
