//! Uses of client authentication: what an App's clients did lately, and what a change of its settings would stop.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::app_settings::{AppSettings, Binding, SecureMode};
use super::time::Timestamp;
use super::token::ClientAuthMethod;

/// The age of a use that counts for nothing any more.
pub const KEPT_FOR: Duration = Duration::from_hours(24 * 30);

/// One way in which clients of an App have authenticated. An App has at most four for each method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientUse {
    pub method: ClientAuthMethod,
    /// True if the connection had the App's certificate.
    pub certificate: bool,
    /// True if it opened a session for a user whom nobody had vouched for.
    #[serde(default)]
    pub without_auth_token: bool,
    /// The last time, to the hour.
    pub last_used_at: Timestamp,
}

impl ClientUse {
    /// True if both are the same way.
    pub fn is_like(&self, other: &Self) -> bool {
        self.way() == other.way()
    }

    /// The way, without the time.
    pub const fn way(&self) -> (ClientAuthMethod, bool, bool) {
        (self.method, self.certificate, self.without_auth_token)
    }
}

/// The uses with this one, which replaces an earlier one of its way; those that are too old are left out.
pub fn noted(mut uses: Vec<ClientUse>, new: ClientUse) -> Vec<ClientUse> {
    uses.retain(|known| !known.is_like(&new));
    uses.push(new);
    lately(uses, new.last_used_at)
}

/// The uses that still count at `now`.
pub fn lately(mut uses: Vec<ClientUse>, now: Timestamp) -> Vec<ClientUse> {
    uses.retain(|known| known.last_used_at.plus(KEPT_FOR) >= now);
    uses
}

/// The uses that worked with the settings before, and fail with those after. Uses do not say whether there was a DPoP
/// proof, so a new binding to one is taken to fail them all.
pub fn stopped(before: &AppSettings, after: &AppSettings, uses: &[ClientUse]) -> Vec<ClientUse> {
    let needs_proof = |settings: &AppSettings| settings.binding == Binding::Dpop;
    let proof_is_new = needs_proof(after) && !needs_proof(before);
    let admits = |settings: &AppSettings, used: &ClientUse| {
        let vouched = !used.without_auth_token || settings.secure_mode == SecureMode::Off;
        vouched && settings.admit(used.method, used.certificate)
    };
    let uses = uses.iter().copied();
    uses.filter(|used| admits(before, used) && (proof_is_new || !admits(after, used)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app_settings::Mtls;
    use crate::domain::token::ClientAuthMethods;

    const NOW: Timestamp = Timestamp::from_unix_seconds(10_000_000);

    const fn used(method: ClientAuthMethod, certificate: bool) -> ClientUse {
        ClientUse {
            method,
            certificate,
            without_auth_token: false,
            last_used_at: NOW,
        }
    }

    #[test]
    fn each_way_is_kept_once_and_for_a_while() {
        use ClientAuthMethod::{ClientSecretBasic, PrivateKeyJwt};
        let old = ClientUse {
            last_used_at: NOW.minus(KEPT_FOR * 2),
            ..used(PrivateKeyJwt, false)
        };
        let earlier = ClientUse {
            last_used_at: NOW.minus(KEPT_FOR),
            ..used(ClientSecretBasic, true)
        };
        let new = used(ClientSecretBasic, false);
        let uses = noted(vec![old, earlier], new);
        assert_eq!(uses, [earlier, new]);
        let later = ClientUse {
            last_used_at: NOW.plus(Duration::from_hours(1)),
            ..new
        };
        assert_eq!(noted(uses, later), [later]);
    }

    #[test]
    fn a_change_stops_what_worked_before_it_and_not_after() {
        use ClientAuthMethod as M;
        let uses = [
            used(M::ClientSecretBasic, false),
            used(M::ClientSecretBasic, true),
            used(M::TlsClientAuth, true),
            used(M::PrivateKeyJwt, false),
        ];
        let of = |mtls, methods: Option<&[M]>| AppSettings {
            mtls,
            auth_methods: methods.map(ClientAuthMethods::new),
            ..AppSettings::default()
        };
        let plain = of(Mtls::Optional, None);
        let count = |before: &AppSettings, after: &AppSettings| stopped(before, after, &uses);
        assert_eq!(count(&plain, &plain), []);
        let strict = of(Mtls::TokenEndpoint, None);
        assert_eq!(count(&plain, &strict), [uses[0], uses[3]]);
        assert_eq!(count(&strict, &plain), []);
        assert_eq!(count(&plain, &of(Mtls::Off, None)), [uses[2]]);
        let signed = of(Mtls::Optional, Some(&[M::PrivateKeyJwt]));
        assert_eq!(count(&plain, &signed), uses[..3]);
        let always = of(Mtls::Always, Some(&[M::PrivateKeyJwt]));
        assert_eq!(count(&signed, &always), [uses[3]]);
        let bound = AppSettings {
            binding: Binding::Dpop,
            ..plain.clone()
        };
        assert_eq!(
            count(&plain, &bound),
            uses,
            "any of them may have had no proof"
        );
        assert_eq!(count(&bound, &bound), []);
        let unvouched = ClientUse {
            without_auth_token: true,
            ..uses[0]
        };
        let test = AppSettings {
            secure_mode: SecureMode::Off,
            ..AppSettings::default()
        };
        assert_eq!(stopped(&test, &plain, &[uses[0], unvouched]), [unvouched]);
        let own = of(Mtls::Optional, Some(&[M::SelfSignedTlsClientAuth]));
        assert_eq!(
            count(&of(Mtls::Optional, Some(&[M::TlsClientAuth])), &own),
            []
        );
    }
}
