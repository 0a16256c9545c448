//! DPoP at the token endpoint (RFC 9449, 5): the key that a client proves to hold binds the tokens that it gets.

use super::client::Client;
use super::error::TokenError;
use super::request::ShownProof;
use super::service::TokenService;
use crate::crypto::dpop::algorithms::Algorithms;
use crate::crypto::dpop::call::Call;
use crate::crypto::dpop::proof::Proof;
use crate::domain::app_settings::Binding;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token_profile::TokenProfile;

impl TokenService {
    /// The nonce for the next proofs of a client, where each needs one.
    pub fn offered_nonce(&self) -> Option<String> {
        let proofs = &self.parts.proofs;
        proofs.want_nonces().then(|| proofs.nonce(self.now()))
    }

    /// The nonce for a client whose proof has a wrong one or none.
    pub fn wanted_nonce(&self) -> String {
        self.parts.proofs.nonce(self.now())
    }

    /// Judges the proof of a request. Nothing is used up, so that the client can send what it sent again.
    pub(super) fn judge_proof(
        &self,
        snapshot: &Snapshot,
        shown: Option<ShownProof<'_>>,
        now: Timestamp,
    ) -> Result<Option<Proof>, TokenError> {
        let Some(shown) = shown else {
            return Ok(None);
        };
        let issuer = &*snapshot.catalog.issuer;
        let issuer = issuer.strip_prefix("https://").unwrap_or_default();
        let call = Call {
            method: "POST",
            // The metadata names the endpoint by the issuer, and a client may call it by another name of the gateway.
            authorities: &[shown.authority, issuer.trim_end_matches('/')],
            path: shown.path,
            algorithms: Algorithms::of(snapshot.catalog.profile),
        };
        let proof = self.parts.proofs.judge(shown.text, &call, None, now);
        proof.map(Some).map_err(bad_proof)
    }

    /// The client with the key that it has proved to hold. The proof is used up.
    pub(super) fn prove_key<'s>(
        &self,
        client: Client<'s>,
        proof: Option<&Proof>,
        profile: TokenProfile,
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        let Some(proof) = proof else {
            let wanted = client.app.settings.binding == Binding::Dpop
                || profile.is_fapi2() && client.certificate.is_none();
            return if wanted {
                Err(bad_proof(Reason::DpopProofMissing))
            } else {
                Ok(client)
            };
        };
        let taken = self.parts.proofs.take(client.app.id, proof, now);
        taken.map_err(bad_proof)?;
        Ok(Client {
            proof_key: Some(proof.key),
            ..client
        })
    }
}

/// The names of the algorithms that sign proofs, for the metadata.
pub fn algorithms(profile: TokenProfile) -> Vec<&'static str> {
    Algorithms::of(profile).names()
}

/// The refusal of a proof, in the words of RFC 9449.
pub const fn bad_proof(reason: Reason) -> TokenError {
    let code = match reason {
        Reason::DpopNonceWanted => "use_dpop_nonce",
        Reason::Overloaded => "temporarily_unavailable",
        _ => "invalid_dpop_proof",
    };
    TokenError::new(code, reason, reason.title())
}
