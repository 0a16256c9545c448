//! A key pair and a CSR, as a partner makes them; for the demo, which plays the partner.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::domain::secret::Secret;

/// A partner's private key and its certificate signing request, both in PEM.
#[derive(Debug)]
pub struct KeyAndRequest {
    pub key_pem: Secret,
    pub csr_pem: String,
}

/// Generates a P-256 key pair and a CSR for it.
pub fn generate(common_name: &str) -> Result<KeyAndRequest, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let csr_pem = params.serialize_request(&key)?.pem()?;
    Ok(KeyAndRequest {
        key_pem: Secret::new(key.serialize_pem()),
        csr_pem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::csr;
    use crate::domain::certificate::KeyAlgorithm;

    #[test]
    fn what_is_made_here_is_accepted_here() {
        let made = generate("partner").unwrap();
        let judged = csr::judge(made.csr_pem.as_bytes(), &KeyAlgorithm::ALL).unwrap();
        assert_eq!(judged.key(), KeyAlgorithm::P256);
    }
}
