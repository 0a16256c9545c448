//! The sealing key of the configuration, and the check that it opens what the store has sealed.

use std::sync::Arc;

use anyhow::Context as _;

use crate::config::root::Config;
use crate::crypto::seal::SealError;
use crate::crypto::signing_key::SigningTexts;
use crate::domain::id::KeyId;
use crate::domain::sealed::Sealed;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

/// The sealer of the texts of signing keys, if the configuration has a sealing key.
pub fn signing_texts(config: &Config) -> anyhow::Result<Option<Arc<SigningTexts>>> {
    let fetched = config.keys.sealing_key.as_ref();
    let fetched = fetched.and_then(|reference| reference.fetched());
    let texts = fetched.map(SigningTexts::new).transpose();
    let texts = texts.context("deriving keys from keys.sealing_key")?;
    Ok(texts.map(Arc::new))
}

/// The text of a signing key that cannot be opened. Each cause names the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error(
        "the store has signing keys, and keys.sealing_key is not set: set it to the secret under which they were sealed"
    )]
    NoKey,
    #[error(
        "keys.sealing_key does not open the text of the signing key {id}: {source}. Set it to the secret under which the key was sealed"
    )]
    Wrong { id: KeyId, source: SealError },
}

/// Checks that all these texts can be opened.
pub fn check<'s>(
    texts: Option<&SigningTexts>,
    mut sealed: impl Iterator<Item = (KeyId, &'s Sealed)>,
) -> Result<(), Unopened> {
    let Some(texts) = texts else {
        return sealed.next().map_or(Ok(()), |_| Err(Unopened::NoKey));
    };
    for (id, sealed) in sealed {
        let opened = texts.check(id, sealed);
        opened.map_err(|source| Unopened::Wrong { id, source })?;
    }
    Ok(())
}

/// Checks the texts of the keys that count at `now`. Without them, a start goes on when it is asked to: operators can then revoke
/// the keys and make others.
pub fn check_snapshot(
    texts: Option<&SigningTexts>,
    snapshot: &Snapshot,
    without_signing_keys: bool,
    now: Timestamp,
) -> anyhow::Result<()> {
    match check(texts, counting(snapshot, now)) {
        Err(unopened) if without_signing_keys => {
            let cause = unopened.to_string();
            tracing::warn!(cause, "signatures by the signing keys are refused; revoke the keys");
            Ok(())
        }
        Err(unopened) => Err(anyhow::Error::new(unopened).context(
            "checking the signing keys (serve --without-signing-keys starts without them, once the sealing key is lost)",
        )),
        Ok(()) => Ok(()),
    }
}

/// The sealed texts of the keys that count at `now`. One that has expired opens nothing, so it holds nothing up.
fn counting(snapshot: &Snapshot, now: Timestamp) -> impl Iterator<Item = (KeyId, &Sealed)> {
    let keys = snapshot.keys.iter();
    let counting = keys.filter(move |(_, key)| key.state.at(now, key.expires_at).counts());
    counting.filter_map(|(id, key)| Some((*id, key.rules.as_ref()?.sealed.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::api_key::KeyRules;
    use crate::domain::app::App;
    use crate::domain::credential::CredentialState;
    use crate::domain::secret::Secret;
    use crate::domain::snapshot::KeyEntry;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1000);

    fn texts(secret: &str) -> SigningTexts {
        SigningTexts::new(&Secret::new(secret.to_owned())).unwrap()
    }

    #[test]
    fn a_sealing_key_that_is_missing_or_another_is_named() {
        let id = KeyId::from_bits(1);
        let right = texts("right");
        let sealed = right
            .seal(id, &Secret::new("sg_live_1".to_owned()))
            .unwrap();
        let check = |texts: Option<&SigningTexts>| check(texts, std::iter::once((id, &sealed)));
        assert_eq!(check(Some(&right)), Ok(()));
        assert_eq!(check(None), Err(Unopened::NoKey));
        for refused in [check(Some(&texts("wrong"))), check(None)] {
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("keys.sealing_key"), "{said}");
        }
        assert_eq!(super::check(None, std::iter::empty()), Ok(()));
    }

    #[test]
    fn a_key_that_is_revoked_or_expired_holds_nothing_up() {
        let (app, id) = (App::sample(1, "acme"), KeyId::from_bits(2));
        let old = texts("old");
        let sealed = old.seal(id, &Secret::new("sg_live_2".to_owned())).unwrap();
        let rules = KeyRules::of(&[], &[], Some(sealed));
        let check = |state, expires_at| {
            let entry = KeyEntry {
                state,
                expires_at,
                rules: rules.clone(),
                ..KeyEntry::sample(app.id)
            };
            let snapshot = Snapshot::sample([app.clone()], [(id, entry)]);
            let opened = [Some(texts("new")), None]
                .map(|texts| check_snapshot(texts.as_ref(), &snapshot, false, NOW).is_ok());
            assert_eq!(opened[0], opened[1]);
            opened[0]
        };
        let second = Duration::from_secs(1);
        for state in [CredentialState::Active, CredentialState::Retiring] {
            assert!(!check(state, None), "{state:?}");
            assert!(!check(state, Some(NOW)), "{state:?}");
            assert!(check(state, Some(NOW.minus(second))), "{state:?}");
        }
        assert!(check(CredentialState::Revoked, None));
    }
}
