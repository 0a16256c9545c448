//! Client authentication: the Key that a client proved, by the methods that are switched on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::assertion::{self, Asserted};
use super::error::{TokenError, proved_client, unproved_client};
use super::request::ClientProof;
use super::service::TokenService;
use crate::crypto::api_key::parse_key;
use crate::domain::api_key::{KeyKind, SecretDigest};
use crate::domain::app::App;
use crate::domain::app_settings::{Binding, Mtls};
use crate::domain::client_use::ClientUse;
use crate::domain::id::KeyId;
use crate::domain::identity::{CertificateProof, Claimed};
use crate::domain::reason::Reason;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::snapshot::{KeyEntry, Snapshot};
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;
use crate::domain::token::ClientAuthMethod;
use crate::store::tickets::Ticket;

/// The time that a request waits for the note of its client's method; the note itself is written all the same.
const NOTED_WITHIN: Duration = Duration::from_millis(250);

/// An authenticated client: a valid Key, its App, and the certificate of that App on the connection, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Client<'s> {
    pub id: KeyId,
    pub key: &'s KeyEntry,
    pub app: &'s Arc<App>,
    /// `None`, too, where the App's tokens are bound to none.
    pub certificate: Option<&'s CertificateProof>,
    /// True if the connection had a certificate of the App, even where it binds nothing.
    pub shown: bool,
    /// The key of the DPoP proof beside the request.
    pub proof_key: Option<Thumbprint>,
}

impl Client<'_> {
    /// Refuses a client whose Key lacks this scope of the gateway itself.
    pub fn require(&self, scope: &str) -> Result<(), TokenError> {
        let scope = scope.parse::<Scope>();
        if scope.is_ok_and(|scope| self.key.scopes.contains(&scope)) {
            return Ok(());
        }
        Err(TokenError::new(
            "unauthorized_client",
            Reason::ScopeMissing,
            "the key lacks the scope of the gateway that this request needs",
        ))
    }

    /// The client, for the record of its call.
    pub fn claimed(&self) -> Claimed {
        Claimed {
            app: Some(self.app.id),
            key: Some(self.id),
            certificate: None,
        }
    }

    /// The scopes that its tokens may have: those of the gateway itself are the Key's alone.
    pub fn grantable(&self) -> ScopeSet {
        self.key.scopes.without_own()
    }
}

impl TokenService {
    /// The client, if it has proved one secret Key by exactly one method, as its App wants it proved.
    pub async fn authenticate<'s>(
        &self,
        snapshot: &'s Snapshot,
        proof: &ClientProof<'s>,
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        self.authenticate_as(snapshot, proof, &[KeyKind::Secret], now)
            .await
    }

    /// The client, if it has proved one Key of those that devices have: a publishable one, too, from its own origins.
    pub async fn authenticate_device<'s>(
        &self,
        snapshot: &'s Snapshot,
        proof: &ClientProof<'s>,
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        let kinds = [KeyKind::Secret, KeyKind::Publishable];
        self.authenticate_as(snapshot, proof, &kinds, now).await
    }

    async fn authenticate_as<'s>(
        &self,
        snapshot: &'s Snapshot,
        proof: &ClientProof<'s>,
        kinds: &[KeyKind],
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        if !snapshot.catalog.client_auth.accept(proof.method) {
            return Err(method_off(proof.method));
        }
        let (client, once) = self.prove(snapshot, proof, now)?;
        let client = as_its_app_wants(client, proof.method)?;
        if !kinds.contains(&client.key.kind) {
            return Err(unproved_client(Reason::KindNotAccepted));
        }
        refuse_foreign_network(client.key, proof.address)?;
        refuse_foreign_origin(client.key, proof)?;
        // Last of all, so that a refused assertion can be sent again once its cause is gone.
        if let Some(once) = once {
            self.use_once(once, client.app.id, now).await?;
        }
        self.note(&client, proof.method, false, now).await;
        Ok(client)
    }

    /// Notes how a client has authenticated, once an hour for each way. It waits for the disk for a moment only, and
    /// refuses nobody: what is not noted is a warning that an operator does not get.
    pub(super) async fn note(
        &self,
        client: &Client<'_>,
        method: ClientAuthMethod,
        without_auth_token: bool,
        now: Timestamp,
    ) {
        let app = client.app.id;
        let used = ClientUse {
            method,
            certificate: client.shown,
            without_auth_token,
            last_used_at: now,
        };
        if !self.uses.is_due(app, &used) {
            return;
        }
        let noted = Arc::clone(&self.uses);
        let writing = self.with_tickets(move |tickets| noted.write(tickets, app, used));
        match tokio::time::timeout(NOTED_WITHIN, writing).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%app, %error, "a use of a client was not noted"),
        }
    }

    /// The client that its credentials prove, and what may be used once only.
    fn prove<'s>(
        &self,
        snapshot: &'s Snapshot,
        proof: &ClientProof<'s>,
        now: Timestamp,
    ) -> Result<(Client<'s>, Option<Ticket>), TokenError> {
        match proof.method {
            ClientAuthMethod::TlsClientAuth | ClientAuthMethod::SelfSignedTlsClientAuth => {
                Ok((by_certificate(snapshot, proof, now)?, None))
            }
            ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost => {
                Ok((self.by_secret(snapshot, proof, now)?, None))
            }
            ClientAuthMethod::PrivateKeyJwt => {
                let Asserted { key, once } =
                    assertion::verify(&self.parts.published, snapshot, proof, now)?;
                Ok((live(snapshot, proof, key, now)?, Some(once)))
            }
        }
    }

    fn by_secret<'s>(
        &self,
        snapshot: &'s Snapshot,
        proof: &ClientProof<'s>,
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        let Some(secret) = proof.secret else {
            return Err(unproved_client(Reason::CredentialMissing));
        };
        let id = proof.client_id.parse::<KeyId>().ok();
        let known = id.and_then(|id| Some((id, snapshot.keys.get(&id)?)));
        // The secret is hashed and compared before anything is decided: an unknown Key takes as long as a known one.
        let digest = known.map_or(SecretDigest([0; 32]), |(_, entry)| entry.digest);
        let matches = self.parts.hasher.matches(secret, &digest);
        let named = parse_key(secret).map_err(unproved_client)?;
        let (id, _) = known.ok_or(unproved_client(Reason::KeyUnknown))?;
        if !matches || named != id {
            return Err(unproved_client(Reason::KeyWrong));
        }
        live(snapshot, proof, id, now)
    }
}

/// The client of a Key that is proved: from here on it may learn of other faults.
fn live<'s>(
    snapshot: &'s Snapshot,
    proof: &ClientProof<'s>,
    id: KeyId,
    now: Timestamp,
) -> Result<Client<'s>, TokenError> {
    let (key, app) = snapshot.live_key(id, now).map_err(proved_client)?;
    match proof.certificate {
        Some(shown) if shown.app.id != app.id => Err(TokenError {
            code: "invalid_client",
            reason: Reason::AppsDiffer,
            shown: Reason::AppsDiffer,
            description: "the certificate and the key belong to different Apps",
        }),
        certificate => Ok(Client {
            id,
            key,
            app,
            certificate,
            shown: certificate.is_some(),
            proof_key: None,
        }),
    }
}

/// The client, if its App may authenticate by this method and on this connection.
fn as_its_app_wants(
    client: Client<'_>,
    method: ClientAuthMethod,
) -> Result<Client<'_>, TokenError> {
    let settings = &client.app.settings;
    if !settings.permit(method) {
        return Err(method_off(method));
    }
    if !settings.admit(method, client.certificate.is_some()) {
        return Err(TokenError {
            code: "invalid_client",
            reason: Reason::CertRequired,
            shown: Reason::CertRequired,
            description: "this client has to show its certificate as well: connect with it",
        });
    }
    let binds = matches!(settings.binding, Binding::Thumbprint | Binding::App);
    let counts = settings.mtls != Mtls::Off && binds;
    Ok(Client {
        certificate: client.certificate.filter(|_| counts),
        ..client
    })
}

/// Authenticates by a certificate of the Key's own App (RFC 8705, 2): no secret goes over the wire.
///
/// It authenticates no other Key. The id was only named, so the answer does not say if another App has such a Key, nor
/// the state of that App.
fn by_certificate<'s>(
    snapshot: &'s Snapshot,
    proof: &ClientProof<'s>,
    now: Timestamp,
) -> Result<Client<'s>, TokenError> {
    if proof.secret.is_some() {
        return Err(TokenError::new(
            "invalid_request",
            Reason::InputInvalid,
            "a client authenticates in one way, by its secret or by its certificate",
        ));
    }
    let shown = proof
        .certificate
        .ok_or(unproved_client(Reason::CertMissing))?;
    let id = proof.client_id.parse::<KeyId>().ok();
    let id = id.ok_or(unproved_client(Reason::KeyMalformed))?;
    let (key, app) = snapshot.live_key(id, now).map_err(unproved_client)?;
    if shown.app.id != app.id {
        return Err(unproved_client(Reason::AppsDiffer));
    }
    Ok(Client {
        id,
        key,
        app,
        certificate: Some(shown),
        shown: true,
        proof_key: None,
    })
}

/// A method that the configuration or the App leaves out.
const fn method_off(method: ClientAuthMethod) -> TokenError {
    let (reason, description) = match method {
        ClientAuthMethod::ClientSecretBasic => (
            Reason::AuthMethodRefused,
            "client_secret_basic is not accepted here: send client_id and client_secret in the body",
        ),
        ClientAuthMethod::ClientSecretPost => (
            Reason::AuthMethodRefused,
            "client_secret_post is not accepted here: send id and secret in the Authorization field",
        ),
        ClientAuthMethod::PrivateKeyJwt => (
            Reason::AuthMethodRefused,
            "private_key_jwt is not accepted here: use another method of the metadata",
        ),
        ClientAuthMethod::TlsClientAuth | ClientAuthMethod::SelfSignedTlsClientAuth => (
            Reason::CredentialMissing,
            "a certificate alone (tls_client_auth) is not accepted here: send the client's secret, too",
        ),
    };
    TokenError {
        code: "invalid_client",
        reason,
        shown: reason,
        description,
    }
}

/// Refuses a publishable Key from a page of another origin than its own. It is shown as a text, and proved by nothing
/// else.
fn refuse_foreign_origin(key: &KeyEntry, proof: &ClientProof<'_>) -> Result<(), TokenError> {
    if key.kind != KeyKind::Publishable {
        return Ok(());
    }
    if proof.secret.is_none() {
        return Err(unproved_client(Reason::KindNotAccepted));
    }
    if key.may_be_used_by(proof.origin) {
        return Ok(());
    }
    Err(TokenError::new(
        "unauthorized_client",
        Reason::OriginRefused,
        "the key may not be used from this origin",
    ))
}

fn refuse_foreign_network(key: &KeyEntry, address: IpAddr) -> Result<(), TokenError> {
    if key.may_be_used_from(address) {
        return Ok(());
    }
    Err(TokenError::new(
        "unauthorized_client",
        Reason::KeyNetwork,
        "the key may not be used from this address",
    ))
}
