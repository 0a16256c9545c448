//! Failed handshakes: the reason, and its line in the log.

use std::net::IpAddr;

use crate::crypto::x509;
use crate::domain::reason::Reason;
use crate::net::log_limit::LogLimit;
use crate::net::tls::AcceptError;

/// The reason why no connection was opened.
#[derive(Debug)]
pub enum NotOpened {
    /// The client left without a byte, as the port checks of load balancers do. Nothing was refused.
    Probe,
    Refused(Box<HandshakeFailure>),
}

/// A failed handshake, with all facts about it.
#[derive(Debug)]
pub struct HandshakeFailure {
    pub reason: Reason,
    /// The client's SNI.
    pub sni: Option<Box<str>>,
    /// The error of the TLS library.
    pub cause: Option<AcceptError>,
    /// The refused client certificate, in DER.
    pub certificate: Option<Vec<u8>>,
}

impl From<Reason> for NotOpened {
    fn from(reason: Reason) -> Self {
        Self::Refused(Box::new(HandshakeFailure {
            reason,
            sni: None,
            cause: None,
            certificate: None,
        }))
    }
}

/// The limits on log lines, one for each reason, so that a flood for one reason hides no refusal for another.
static LINES: [LogLimit; Reason::ALL.len()] = [const { LogLimit::new() }; Reason::ALL.len()];

impl HandshakeFailure {
    /// Logs the failure, within the limit of its reason.
    pub fn log(&self, address: IpAddr) {
        let limit = LINES.get(self.reason as usize);
        let Some(suppressed) = limit.and_then(LogLimit::permit) else {
            return;
        };
        let reason = self.reason;
        let sni = self.sni.as_deref();
        let cause = self.cause.as_ref().map(words);
        let Some(der) = &self.certificate else {
            tracing::info!(%address, %reason, sni, cause, suppressed, "connection refused");
            return;
        };
        let certificate = Certificate::read(der);
        tracing::info!(
            %address,
            %reason,
            sni,
            cause,
            subject = certificate.subject,
            issuer = certificate.issuer,
            serial = certificate.serial,
            fingerprint = certificate.fingerprint,
            not_before = certificate.not_before,
            not_after = certificate.not_after,
            suppressed,
            "connection refused"
        );
    }
}

/// The facts of a certificate as texts: printable ASCII of a bounded length, for any content. All but the fingerprint
/// are absent when it cannot be parsed.
#[derive(Debug, Default)]
struct Certificate {
    subject: Option<String>,
    issuer: Option<String>,
    serial: Option<String>,
    fingerprint: String,
    not_before: Option<String>,
    not_after: Option<String>,
}

impl Certificate {
    fn read(der: &[u8]) -> Self {
        let fingerprint = crate::crypto::hash::fingerprint(der).to_string();
        let (Ok(leaf), Ok(issuer)) = (x509::read_leaf(der), x509::read_issuer(der)) else {
            return Self {
                fingerprint,
                ..Self::default()
            };
        };
        Self {
            subject: Some(bounded(leaf.subject)),
            issuer: Some(bounded(issuer)),
            serial: Some(leaf.serial.to_string()),
            fingerprint,
            not_before: Some(leaf.validity.not_before.to_string()),
            not_after: Some(leaf.validity.not_after.to_string()),
        }
    }
}

/// A length above usual names, and below a line.
const NAME_CHARS_MAX: usize = 256;

/// A name's first characters; the texts are ASCII, so that any cut is between two characters.
fn bounded(mut name: String) -> String {
    if name.len() > NAME_CHARS_MAX {
        name.truncate(NAME_CHARS_MAX);
        name.push('…');
    }
    name
}

/// An error and its sources.
fn words(error: &AcceptError) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        text.push_str(": ");
        text.push_str(&error.to_string());
        below = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_in_bounded_printable_texts() {
        let pem = include_str!("../identity_headers/testdata/partner.pem");
        let der = x509::pem_to_der(pem).unwrap();
        let read = Certificate::read(&der);
        for text in [read.subject, read.issuer, read.serial, read.not_after] {
            let text = text.unwrap();
            assert!(text.is_ascii() && !text.is_empty(), "{text}");
        }
        let garbage = Certificate::read(b"garbage");
        assert_eq!(garbage.subject, None);
        assert_eq!(garbage.fingerprint.len(), read.fingerprint.len());
        for length in [0, NAME_CHARS_MAX, NAME_CHARS_MAX + 1, 10_000] {
            let cut = bounded("x".repeat(length));
            assert_eq!(cut.chars().count(), length.min(NAME_CHARS_MAX + 1));
        }
    }
}
