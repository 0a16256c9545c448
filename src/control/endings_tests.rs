//! Tests of what ends with each use case: exactly that, without a use case that lists it.

use std::time::Duration;

use serde_json::json;

use super::apps::NewApp;
use super::audit::event;
use super::testing::{ACTOR, CSR, Fixture, OTHER_CSR, new_key};
use super::writer::Plan;
use crate::domain::admin::Role;
use crate::domain::app::{App, AppState};
use crate::domain::credential::{CredentialId, CredentialState, Ended, RevocationReason};
use crate::domain::id::{CertificateId, KeyId};
use crate::domain::listing::{AuditFilter, Page};
use crate::domain::registry::change::Allowed;

const REASON: RevocationReason = RevocationReason::Superseded;

fn certificate(id: CertificateId) -> Ended {
    Ended::Credential(CredentialId::Certificate(id))
}

fn key(id: KeyId) -> Ended {
    Ended::Credential(CredentialId::Key(id))
}

/// The endings of each publication so far.
fn endings(fixture: &Fixture) -> Vec<Vec<Ended>> {
    let told = fixture.told.lock().unwrap();
    told.iter().map(|(_, ended)| ended.clone()).collect()
}

#[tokio::test]
async fn every_use_case_ends_exactly_what_it_should() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let mut expected: Vec<(&str, Vec<Ended>)> = Vec::new();

    let app = fixture.app("acme").await;
    expected.push(("app.create", vec![]));
    let (first, _) = fixture.key("acme", "").await;
    expected.push(("key.create", vec![]));
    let overlap = Duration::from_hours(1);
    let second = control.rotate_key(&ACTOR, first.id, overlap).await;
    let (second, _) = second.unwrap().value;
    expected.push(("key.rotate", vec![]));
    control.revoke_key(&ACTOR, first.id, REASON).await.unwrap();
    expected.push(("key.revoke", vec![key(first.id)]));

    let old = fixture.sign("acme", "prod", CSR).await.unwrap();
    let old = old.value.certificate.id;
    expected.push(("cert.sign", vec![]));
    let new = fixture.sign("acme", "prod", OTHER_CSR).await.unwrap();
    let new = new.value.certificate.id;
    expected.push(("cert.sign", vec![]));
    let revoked = control.revoke_certificate(&ACTOR, old, REASON).await;
    assert_eq!(revoked.unwrap().receipt.connections_closed, 1);
    expected.push(("cert.revoke", vec![certificate(old)]));

    control.suspend_app(&ACTOR, "acme").await.unwrap();
    expected.push(("app.suspend", vec![Ended::App(app.id)]));
    control.revoke_key(&ACTOR, second.id, REASON).await.unwrap();
    expected.push(("key.revoke", vec![key(second.id)]));
    control.resume_app(&ACTOR, "acme").await.unwrap();
    expected.push(("app.resume", vec![]));
    control.revoke_app(&ACTOR, "acme").await.unwrap();
    expected.push(("app.revoke", vec![Ended::App(app.id)]));
    let revoked = control.revoke_certificate(&ACTOR, new, REASON).await;
    revoked.unwrap();
    expected.push(("cert.revoke", vec![certificate(new)]));
    // The name of the revoked App goes to a new one, and nothing ends a second time.
    fixture.app("acme").await;
    expected.push(("app.create", vec![]));

    // The data plane has nothing to do with these.
    let name = "ci".parse().unwrap();
    let token = control.create_admin_token(&ACTOR, name, Role::Viewer, None);
    let (token, _) = token.await.unwrap();
    control.revoke_admin_token(&ACTOR, token.id).await.unwrap();
    let noted = control.note(&ACTOR, "gateway.reload", "gateway", json!({}));
    noted.await.unwrap();
    // A rotation of token keys publishes the keys, and ends no credential.
    control.rotate_token_key(&ACTOR, true).await.unwrap();

    let (actions, mut endings_expected): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
    endings_expected.push(vec![]);
    assert_eq!(endings(&fixture), endings_expected);
    let unpublished = [
        "admin_token.create",
        "admin_token.revoke",
        "gateway.reload",
        "token_key.rotate",
    ];
    let events = control.audit(AuditFilter::default(), Page::first(100));
    let events = events.await.unwrap().into_iter().rev();
    let events: Vec<String> = events.map(|event| event.action).collect();
    assert_eq!(events, [&actions[..], &unpublished].concat());
}

#[tokio::test]
async fn a_change_that_lists_nothing_closes_all_that_it_ends() {
    let fixture = Fixture::new().await;
    let app = fixture.app("acme").await;
    let other = fixture.app("other").await;
    let (first, _) = fixture.key("acme", "").await;
    let signed = fixture.sign("acme", "prod", CSR).await.unwrap();
    let signed = signed.value.certificate;
    let (app_id, key_id, certificate_id) = (app.id, first.id, signed.id);

    // A use case that somebody has still to write, and that is in a hurry.
    let purged = fixture.control.commit(move |_| {
        let app = App {
            state: AppState::Revoked,
            ..app.clone()
        };
        let (mut key, mut certificate) = (first.clone(), signed.clone());
        key.state = CredentialState::Expired;
        certificate.state = CredentialState::Pending;
        Ok(Plan {
            value: (),
            event: event(
                &ACTOR,
                app.created_at,
                "app.purge",
                &app_id,
                None,
                json!({}),
            ),
            changes: vec![
                Allowed::unjudged(app, false).into(),
                Allowed::unjudged(key, false).into(),
                Allowed::unjudged(certificate, false).into(),
                Allowed::unjudged(other.clone(), false).into(),
            ],
        })
    });
    assert_eq!(purged.await.unwrap().receipt.connections_closed, 3);
    let expected = [Ended::App(app_id), key(key_id), certificate(certificate_id)];
    assert_eq!(fixture.last_told().1, expected);
}

#[tokio::test]
async fn a_change_that_only_records_is_published_if_it_concerns_the_data_plane() {
    let fixture = Fixture::new().await;
    let app = fixture.app("acme").await;
    let id = app.id;
    let recorded = fixture.control.record(move |_| {
        let app = App {
            state: AppState::Suspended,
            ..app.clone()
        };
        Ok(Plan {
            value: (),
            event: event(&ACTOR, app.created_at, "app.suspend", &id, None, json!({})),
            changes: vec![Allowed::unjudged(app, false).into()],
        })
    });
    recorded.await.unwrap();
    fixture.control.publisher().finish().await;
    assert_eq!(fixture.last_told().1, [Ended::App(id)]);
}

#[tokio::test]
async fn an_author_learns_of_connections_only_if_the_change_ended_something() {
    let fixture = Fixture::new().await;
    let new = NewApp {
        name: "acme".parse().unwrap(),
        contact: None,
    };
    fixture.control.create_app(&ACTOR, new).await.unwrap();
    let created = fixture.control.create_key(&ACTOR, new_key("acme", ""));
    assert_eq!(created.await.unwrap().receipt.connections_closed, 0);
    let suspended = fixture.control.suspend_app(&ACTOR, "acme").await;
    assert_eq!(suspended.unwrap().receipt.connections_closed, 1);
}
