//! The audit trail: administrative changes with their actors, newest first.

use std::fmt::Display;

use serde_json::Value;

use super::error::Error;
use super::service::Control;
use super::writer::Plan;
use crate::crypto::random;
use crate::domain::admin::Actor;
use crate::domain::id::{AppId, AuditEventId};
use crate::domain::listing::{AuditFilter, Page};
use crate::domain::record::AuditEvent;
use crate::domain::time::Timestamp;

impl Control {
    pub async fn audit(
        &self,
        filter: AuditFilter,
        page: Page<AuditEventId>,
    ) -> Result<Vec<AuditEvent>, Error> {
        self.read(move |store| Ok(store.audit(&filter, &page)?))
            .await
    }

    /// Records an act that changes nothing in the store, for example `gateway.reload` or `authority.create`.
    ///
    /// `detail` is a flat JSON object without secrets.
    pub async fn note(
        &self,
        actor: &Actor,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Result<(), Error> {
        let event = event(actor, self.now(), action, &subject, None, detail);
        self.record(move |_| {
            Ok(Plan {
                changes: Vec::new(),
                event: event.clone(),
                value: (),
            })
        })
        .await
    }
}

/// One line of the audit trail.
pub(super) fn event(
    actor: &Actor,
    at: Timestamp,
    action: &str,
    subject: &dyn Display,
    app: Option<AppId>,
    detail: Value,
) -> AuditEvent {
    AuditEvent {
        id: AuditEventId::from_bits(random::id_bits(at)),
        at,
        actor: actor.to_string(),
        action: action.to_owned(),
        subject: subject.to_string(),
        app,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, Fixture};
    use serde_json::json;

    #[tokio::test]
    async fn every_change_leaves_one_event_and_the_newest_comes_first() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        fixture.key("acme", "").await;
        let noted = fixture.control.note(
            &ACTOR,
            "gateway.reload",
            "gateway",
            json!({"generation": 2}),
        );
        noted.await.unwrap();
        let all = fixture
            .control
            .audit(AuditFilter::default(), Page::first(10));
        let actions: Vec<_> = all
            .await
            .unwrap()
            .into_iter()
            .map(|event| event.action)
            .collect();
        assert_eq!(actions, ["gateway.reload", "key.create", "app.create"]);
        let of_app = AuditFilter {
            app: Some(app.id),
            ..AuditFilter::default()
        };
        let events = fixture
            .control
            .audit(of_app, Page::first(10))
            .await
            .unwrap();
        assert_eq!(events.len(), 2);
    }
}
