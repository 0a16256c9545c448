//! The last uses of keys for operators, and their way to the store.

use std::collections::HashMap;

use super::error::Error;
use super::key_uses::merge;
use super::service::Control;
use crate::domain::api_key::KeyUse;
use crate::domain::id::KeyId;

impl Control {
    /// The last uses of these keys, up to this moment.
    pub async fn key_uses(&self, ids: Vec<KeyId>) -> Result<HashMap<KeyId, KeyUse>, Error> {
        let held = self.key_uses_held();
        held.collect().await;
        let fresh: Vec<_> = {
            let fresh = held.fresh();
            let found = ids
                .iter()
                .filter_map(|id| Some((*id, fresh.get(id)?.clone())));
            found.collect()
        };
        let mut uses = HashMap::new();
        merge(
            &mut uses,
            self.read(move |store| Ok(store.key_uses(&ids)?)).await?,
        );
        merge(&mut uses, fresh);
        Ok(uses)
    }

    /// Writes the uses since the last time to the store.
    pub async fn write_key_uses(&self) -> Result<(), Error> {
        let held = self.key_uses_held();
        held.collect().await;
        let uses: Vec<_> = held.fresh().drain().collect();
        if uses.is_empty() {
            return Ok(());
        }
        let kept = uses.clone();
        let written = self
            .read(move |store| Ok(store.keep_key_uses(&kept)?))
            .await;
        if written.is_err() {
            merge(&mut held.fresh(), uses);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::key_uses::UsesAsked;
    use crate::control::testing::Fixture;
    use crate::domain::time::Timestamp;
    use crate::store::repository::Store as _;

    fn at(second: i64) -> KeyUse {
        KeyUse {
            at: Timestamp::from_unix_seconds(second),
            from: [192, 0, 2, 1].into(),
            route: "orders".into(),
        }
    }

    #[tokio::test]
    async fn the_latest_use_is_told_at_once_and_written_later() {
        let mut fixture = Fixture::new().await;
        fixture.app("acme").await;
        let (key, _) = fixture.key("acme", "").await;
        let (other, _) = fixture.key("acme", "").await;
        let mut asked = fixture.uses.take().unwrap();
        let tasks = tokio_util::task::TaskTracker::new();
        let answers = tasks.spawn(async move {
            for second in [10, 30, 20] {
                let answer: UsesAsked = asked.recv().await.unwrap();
                answer.send(vec![(key.id, at(second))]).unwrap();
            }
        });
        let control = &fixture.control;
        let told = control.key_uses(vec![key.id, other.id]).await.unwrap();
        assert_eq!(told.get(&key.id), Some(&at(10)));
        assert_eq!(told.get(&other.id), None);
        assert!(fixture.store.key_uses(&[key.id]).unwrap().is_empty());
        control.write_key_uses().await.unwrap();
        assert_eq!(
            fixture.store.key_uses(&[key.id]).unwrap(),
            [(key.id, at(30))]
        );
        let told = control.key_uses(vec![key.id]).await.unwrap();
        assert_eq!(
            told.get(&key.id),
            Some(&at(30)),
            "an older use changes nothing"
        );
        answers.await.unwrap();
        control.write_key_uses().await.unwrap();
        let stored = fixture.store.key_uses(&[key.id]).unwrap();
        assert_eq!(stored, [(key.id, at(30))]);
    }
}
