//! Rules for certificates: whose key pair it is, how many an App may have, which one a new one succeeds.

use super::super::app::App;
use super::super::certificate::Certificate;
use super::super::credential::{CredentialState, RevocationReason};
use super::super::time::Timestamp;
use super::apps::may_get_credentials;
use super::change::Allowed;
use super::refusal::{Refusal, unless_revoked};

/// The facts that decide about a new certificate.
#[derive(Clone, Debug)]
pub struct Registrant {
    pub app: App,
    /// Every certificate that was ever registered with the same key pair.
    pub of_key: Vec<Certificate>,
    /// The App's certificates that are valid now: all of them, or the first `valid_max`.
    pub valid: Vec<Certificate>,
    /// The maximum number of the App's valid certificates.
    pub valid_max: u32,
}

impl Registrant {
    /// Refuses a certificate that may not be added, before it is signed.
    ///
    /// A key pair belongs to one App permanently, and a compromised one to none.
    pub fn may_register(&self) -> Result<(), Refusal> {
        may_get_credentials(&self.app)?;
        for known in &self.of_key {
            if is_compromised(known) {
                return Err(Refusal::KeyCompromised);
            }
            if known.app != self.app.id {
                return Err(Refusal::KeyOfOtherApp);
            }
        }
        if u32::try_from(self.valid.len()).is_ok_and(|valid| valid < self.valid_max) {
            Ok(())
        } else {
            Err(Refusal::TooManyActive)
        }
    }
}

/// A new certificate, the last of the answer. The App's active certificates with its name retire, and come first.
pub fn add(
    certificate: Certificate,
    registrant: &Registrant,
) -> Result<Vec<Allowed<Certificate>>, Refusal> {
    registrant.may_register()?;
    let namesakes = registrant
        .valid
        .iter()
        .filter(|known| known.name == certificate.name && known.state == CredentialState::Active);
    let mut changes: Vec<_> = namesakes.map(retired).collect();
    changes.push(Allowed::created(certificate));
    Ok(changes)
}

/// The certificate, revoked. The first revocation stands.
pub fn revoke(
    certificate: Certificate,
    at: Timestamp,
    reason: RevocationReason,
) -> Result<Allowed<Certificate>, Refusal> {
    unless_revoked(certificate.id, certificate.revoked_at)?;
    Ok(Allowed::changed(Certificate {
        state: CredentialState::Revoked,
        revoked_at: Some(at),
        revocation_reason: Some(reason),
        ..certificate
    }))
}

/// True if the certificate's key pair must not be registered again.
pub fn is_compromised(certificate: &Certificate) -> bool {
    certificate.revocation_reason == Some(RevocationReason::KeyCompromise)
}

fn retired(certificate: &Certificate) -> Allowed<Certificate> {
    Allowed::changed(Certificate {
        state: CredentialState::Retiring,
        ..certificate.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::AppState;
    use crate::domain::certificate::{Fingerprint, KeyAlgorithm, SerialNumber};
    use crate::domain::id::{AppId, AuthorityId, CertificateId};
    use crate::domain::time::Validity;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn app(number: u128) -> App {
        App::sample(number, &format!("app-{number}"))
    }

    fn certificate(number: u8, app: u128, name: &str) -> Certificate {
        Certificate {
            id: CertificateId::from_bits(number.into()),
            app: AppId::from_bits(app),
            name: name.parse().unwrap(),
            authority: AuthorityId::from_bits(1),
            fingerprint: Fingerprint::from_bytes([number; 32]),
            key_digest: Fingerprint::from_bytes([9; 32]),
            serial: SerialNumber::from_bytes(&[number]).unwrap(),
            key: KeyAlgorithm::P256,
            subject: String::new(),
            validity: Validity {
                not_before: NOW,
                not_after: NOW,
            },
            state: CredentialState::Active,
            created_at: NOW,
            revoked_at: None,
            revocation_reason: None,
            pem: String::new(),
        }
    }

    fn registrant() -> Registrant {
        Registrant {
            app: app(1),
            of_key: Vec::new(),
            valid: Vec::new(),
            valid_max: 2,
        }
    }

    #[test]
    fn a_key_pair_belongs_to_one_app_and_a_compromised_one_to_none() {
        let revoked = |app, reason| {
            revoke(certificate(1, app, "prod"), NOW, reason)
                .unwrap()
                .into_value()
        };
        for (of_key, expected) in [
            (Vec::new(), Ok(())),
            (vec![certificate(1, 1, "prod")], Ok(())),
            (vec![revoked(1, RevocationReason::Superseded)], Ok(())),
            (vec![certificate(1, 2, "prod")], Err(Refusal::KeyOfOtherApp)),
            (
                vec![revoked(2, RevocationReason::Superseded)],
                Err(Refusal::KeyOfOtherApp),
            ),
            (
                vec![revoked(1, RevocationReason::KeyCompromise)],
                Err(Refusal::KeyCompromised),
            ),
            (
                vec![revoked(2, RevocationReason::KeyCompromise)],
                Err(Refusal::KeyCompromised),
            ),
        ] {
            let shown = format!("{of_key:?}");
            let registrant = Registrant {
                of_key,
                ..registrant()
            };
            assert_eq!(registrant.may_register(), expected, "{shown}");
        }
    }

    #[test]
    fn only_so_many_are_valid_and_only_an_active_app_gets_one() {
        let full = Registrant {
            valid: vec![certificate(1, 1, "a"), certificate(2, 1, "b")],
            ..registrant()
        };
        let refused = add(certificate(3, 1, "c"), &full).unwrap_err();
        assert_eq!(refused, Refusal::TooManyActive);
        let asleep = Registrant {
            app: App {
                state: AppState::Suspended,
                ..app(1)
            },
            ..registrant()
        };
        let refused = add(certificate(3, 1, "c"), &asleep).unwrap_err();
        assert_eq!(refused, Refusal::AppSuspended(app(1).name));
    }

    #[test]
    fn a_new_one_succeeds_the_active_one_of_its_name() {
        let retiring = retired(&certificate(1, 1, "prod")).into_value();
        for (valid, retires) in [
            (Vec::new(), None),
            (vec![certificate(1, 1, "prod")], Some(1)),
            (vec![certificate(1, 1, "other")], None),
            (vec![retiring], None),
        ] {
            let registrant = Registrant {
                valid,
                ..registrant()
            };
            let mut changes = add(certificate(2, 1, "prod"), &registrant).unwrap();
            let created = changes.pop().unwrap();
            assert!(created.is_new());
            assert_eq!(created.into_value(), certificate(2, 1, "prod"));
            let states: Vec<_> = changes
                .iter()
                .map(|change| (change.is_new(), u128::from(change.value().id)))
                .collect();
            assert_eq!(states, Vec::from_iter(retires.map(|id| (false, id))));
            for change in changes {
                assert_eq!(change.value().state, CredentialState::Retiring);
            }
        }
    }

    #[test]
    fn the_first_revocation_stands() {
        let first = revoke(certificate(1, 1, "a"), NOW, RevocationReason::Superseded);
        let first = first.unwrap().into_value();
        assert_eq!(first.state, CredentialState::Revoked);
        assert_eq!(first.revoked_at, Some(NOW));
        let again = revoke(first.clone(), NOW, RevocationReason::KeyCompromise);
        let said = format!("{} was revoked at {NOW}", first.id);
        assert_eq!(again.unwrap_err().to_string(), said);
    }
}
