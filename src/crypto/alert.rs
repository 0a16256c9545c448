//! The reason of a failed handshake with a client: from the errors and alerts of TLS to the words of our catalogue.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerMisbehaved};

use crate::domain::reason::Reason;

/// A reason without a TLS alert of its own, carried inside of rustls's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.title())]
pub struct Refused(pub Reason);

/// The reason for a failed handshake with a client.
pub fn refusal(error: &Error) -> Reason {
    match error {
        Error::NoCertificatesPresented => Reason::CertMissing,
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerMisbehaved(
            PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme
            | PeerMisbehaved::SignedKxWithWrongAlgorithm,
        ) => Reason::CertBadSignature,
        Error::AlertReceived(alert) => of_alert(*alert),
        _ => Reason::HandshakeFailed,
    }
}

/// The reason for a failed handshake with a client, from an error of its stream.
pub fn refusal_of_io(error: &io::Error) -> Reason {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    if let Some(inner) = inner {
        return refusal(inner);
    }
    match error.kind() {
        io::ErrorKind::TimedOut => Reason::HandshakeTimeout,
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => Reason::HandshakeUnfinished,
        _ => Reason::HandshakeFailed,
    }
}

fn of_certificate(error: &CertificateError) -> Reason {
    use CertificateError as E;
    match error {
        E::BadEncoding => Reason::CertMalformed,
        E::Expired | E::ExpiredContext { .. } => Reason::CertExpired,
        E::NotValidYet | E::NotValidYetContext { .. } => Reason::CertNotYetValid,
        E::Revoked => Reason::CertRevoked,
        E::BadSignature => Reason::CertBadSignature,
        E::InvalidPurpose
        | E::InvalidPurposeContext { .. }
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Reason::CertUsage,
        E::ApplicationVerificationFailure => Reason::CertUnregistered,
        E::Other(other) => other
            .0
            .downcast_ref::<Refused>()
            .map_or(Reason::CertUntrusted, |refused| refused.0),
        _ => Reason::CertUntrusted,
    }
}

/// Alerts about a certificate are about ours: the client does not trust this server.
const fn of_alert(alert: AlertDescription) -> Reason {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::CloseNotify
        // The alert of rustls and others for a chain whose authority has a known name and another key.
        | AlertDescription::DecryptError
        | AlertDescription::UnknownCA
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UserCanceled => Reason::HandshakeUnfinished,
        _ => Reason::HandshakeFailed,
    }
}
