//! Identification of the keys in a text, for those who have found one.

use std::collections::HashSet;

use super::service::Control;
use crate::domain::api_key::{Environment, KeyKind};
use crate::domain::credential::CredentialState;
use crate::domain::id::{AppId, KeyId};
use crate::domain::key_text;

/// A key that was found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identified {
    pub id: KeyId,
    /// Absent for a key that this gateway has not made.
    pub known: Option<Known>,
}

/// The registry's word about a found key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub app: AppId,
    pub kind: KeyKind,
    pub environment: Environment,
    pub state: CredentialState,
    /// True if its App is active, too.
    pub live: bool,
}

impl Identified {
    pub fn state(&self) -> &'static str {
        self.known.map_or("unknown", |known| known.state.as_str())
    }

    /// True if a caller could use the key now.
    pub fn is_live(&self) -> bool {
        self.known.is_some_and(|known| known.live)
    }
}

impl Control {
    /// The keys in a text, each once. The body of a request bounds their number.
    pub fn identify_keys(&self, text: &str) -> Vec<Identified> {
        let mut seen = HashSet::new();
        let keys = key_text::find(text.as_bytes()).map(|(_, key)| key);
        let keys = keys.filter(|key| seen.insert(*key));
        let keys = keys.filter_map(|key| Some((key_text::parse(key)?, key)));
        let mut found: Vec<_> = keys.map(|(id, key)| self.identified(id, key)).collect();
        // A key of another system has no form: the whole text is it, or nothing.
        if found.is_empty() {
            let snapshot = self.publisher().current();
            let imported = self.hasher().imported(text.trim(), &snapshot);
            found.extend(imported.map(|id| self.identified(id, text.trim())));
        }
        found
    }

    fn identified(&self, id: KeyId, text: &str) -> Identified {
        let (snapshot, now) = (self.publisher().current(), self.now());
        let proved = self.hasher().prove(text, &snapshot) == Ok(id);
        let entry = snapshot.keys.get(&id).filter(|_| proved);
        let live = snapshot.live_key(id, now);
        Identified {
            id,
            known: entry.map(|entry| Known {
                app: entry.app,
                kind: entry.kind,
                environment: entry.environment,
                state: entry.state.at(now, entry.expires_at),
                live: live.is_ok(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, Fixture};
    use crate::crypto::api_key::generate_key;
    use crate::domain::credential::RevocationReason;

    #[tokio::test]
    async fn a_leaked_key_is_named_with_its_state_and_a_forged_one_is_unknown() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let (key, secret) = fixture.key("acme", "").await;
        let forged = generate_key(key.id, KeyKind::Secret, Environment::Live);
        let text = format!(
            "a {} b {} c {}",
            secret.expose(),
            secret.expose(),
            forged.expose()
        );
        let found = fixture.control.identify_keys(&text);
        let [real, unknown] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(
            (real.id, real.state(), real.is_live()),
            (key.id, "active", true)
        );
        assert_eq!(real.known.unwrap().app, app.id);
        assert_eq!((unknown.state(), unknown.is_live()), ("unknown", false));
        let control = &fixture.control;
        control.suspend_app(&ACTOR, "acme").await.unwrap();
        let [asleep] = control.identify_keys(secret.expose())[..] else {
            panic!("one key")
        };
        assert_eq!((asleep.state(), asleep.is_live()), ("active", false));
        let reason = RevocationReason::KeyCompromise;
        control.revoke_key(&ACTOR, key.id, reason).await.unwrap();
        assert_eq!(control.identify_keys(secret.expose())[0].state(), "revoked");
        assert!(control.identify_keys("nothing here").is_empty());
    }
}
