//! Client authentication: the Key that a client proved, by the methods that are switched on.

use std::net::IpAddr;
use std::sync::Arc;

use super::error::{TokenError, proved_client, unproved_client};
use super::request::ClientProof;
use super::service::TokenService;
use crate::crypto::api_key::parse_key;
use crate::domain::api_key::SecretDigest;
use crate::domain::app::App;
use crate::domain::id::KeyId;
use crate::domain::identity::CertificateProof;
use crate::domain::reason::Reason;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::snapshot::{KeyEntry, Snapshot};
use crate::domain::time::Timestamp;
use crate::domain::token::ClientAuthMethod;

/// An authenticated client: a valid Key, its App, and the certificate of that App on the connection, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Client<'s> {
    pub id: KeyId,
    pub key: &'s KeyEntry,
    pub app: &'s Arc<App>,
    pub certificate: Option<&'s CertificateProof>,
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

    /// The scopes that its tokens may have: those of the gateway itself are the Key's alone.
    pub fn grantable(&self) -> ScopeSet {
        self.key.scopes.without_own()
    }
}

impl TokenService {
    /// The client, if it has proved one Key by exactly one method.
    pub fn authenticate<'s>(
        &self,
        snapshot: &'s Snapshot,
        proof: &ClientProof<'s>,
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        if !snapshot.catalog.client_auth.allow(proof.method) {
            return Err(method_off(proof.method));
        }
        let client = match proof.method {
            ClientAuthMethod::TlsClientAuth | ClientAuthMethod::SelfSignedTlsClientAuth => {
                by_certificate(snapshot, proof, now)?
            }
            ClientAuthMethod::PrivateKeyJwt => return Err(method_off(proof.method)),
            ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost => {
                self.by_secret(snapshot, proof, now)?
            }
        };
        if !client.app.settings.allow(proof.method) {
            return Err(method_off(proof.method));
        }
        refuse_foreign_network(client.key, proof.address)?;
        Ok(client)
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
        // From here on the client has proved the Key, so it may learn of other faults.
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
            }),
        }
    }
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
    })
}

/// A method that the configuration or the App leaves out.
const fn method_off(method: ClientAuthMethod) -> TokenError {
    let (reason, description) = match method {
        ClientAuthMethod::ClientSecretBasic => (
            Reason::InputInvalid,
            "client_secret_basic is not accepted here: send client_id and client_secret in the body",
        ),
        ClientAuthMethod::ClientSecretPost => (
            Reason::InputInvalid,
            "client_secret_post is not accepted here: send id and secret in the Authorization field",
        ),
        ClientAuthMethod::PrivateKeyJwt => (
            Reason::InputInvalid,
            "private_key_jwt is not accepted here: send the client's secret",
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
