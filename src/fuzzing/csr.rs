//! Certificate signing requests: only a key that is proved is taken, and nothing else.

use crate::crypto::csr::{self, Verdict};
use crate::crypto::{hash, pem};
use crate::domain::certificate::KeyAlgorithm;

/// Reads `bytes` as a request in PEM or DER; true when it is signed.
pub fn check(bytes: &[u8]) -> bool {
    let allowed = &KeyAlgorithm::ALL;
    let report = csr::inspect(bytes, allowed);
    let judged = csr::judge(bytes, allowed);
    let accepted = report.verdict == Verdict::Accepted;
    assert_eq!(accepted, judged.is_ok(), "inspected and judged otherwise");
    let csr = match judged {
        Ok(csr) => csr,
        Err(refusal) => {
            assert_eq!(report.reason, Some(refusal.reason));
            assert!(!refusal.detail.is_empty(), "a refusal without words");
            return false;
        }
    };
    assert_eq!(report.signature_valid, Some(true));
    assert_eq!(csr.key_digest(), hash::fingerprint(csr.spki()));
    assert_eq!(report.key_digest, Some(csr.key_digest()));
    let refused = csr::judge(bytes, &[]);
    assert!(
        refused.is_err(),
        "a kind of key that the profile does not have"
    );
    // Text may begin with `0`, which is the tag of a sequence in DER.
    let is_pem = bytes.windows(10).any(|part| part == b"-----BEGIN");
    if bytes.first() == Some(&0x30) && !is_pem {
        assert_der(bytes, &csr);
    }
    true
}

/// A request in DER means the same in PEM, has no bytes to spare, and none that is signed can be changed.
fn assert_der(der: &[u8], csr: &csr::Csr) {
    let found = der.windows(csr.spki().len()).any(|part| part == csr.spki());
    assert!(found, "a key that the request does not contain");
    for label in ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"] {
        let text = pem::encode(label, der);
        let judged = csr::judge(text.as_bytes(), &KeyAlgorithm::ALL);
        assert_eq!(judged.as_ref(), Ok(csr));
    }
    let longer = [der, b"\0"].concat();
    assert!(csr::judge(&longer, &KeyAlgorithm::ALL).is_err());
    let digest = hash::sha256(der);
    let signed = signed_part(der);
    let place = usize::from(u16::from_be_bytes([digest[0], digest[1]])) % signed.len();
    let mut changed = der.to_vec();
    changed[signed.start + place] ^= 1 << (digest[2] % 8);
    let judged = csr::judge(&changed, &KeyAlgorithm::ALL);
    assert!(
        judged.is_err(),
        "byte {place} of what is signed can be changed"
    );
}

/// Where `CertificationRequestInfo` stands: the first value inside of the outer one.
fn signed_part(der: &[u8]) -> std::ops::Range<usize> {
    let start = header(der).0;
    let (length, content) = header(&der[start..]);
    start..start + length + content
}

/// The lengths of the tag and length at the front, and of the content.
fn header(der: &[u8]) -> (usize, usize) {
    let first = usize::from(der[1]);
    if first < 0x80 {
        return (2, first);
    }
    let digits = &der[2..2 + (first & 0x7f)];
    let content = digits
        .iter()
        .fold(0, |length, digit| length << 8 | usize::from(*digit));
    (2 + digits.len(), content)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_requests_keeps_its_properties() {
        super::super::corpus::holds("csr", super::check);
    }
}
