//! Explanations for a caller that did not show everything that a route requires.

use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;

/// The route's requirement in words, when a part of it is missing; `None` for every other reason.
pub const fn detail(requirement: Requirement, reason: Reason) -> Option<&'static str> {
    use Requirement as R;
    Some(match (reason, requirement) {
        (Reason::CertMissing, R::Mtls) => {
            "This route takes a client certificate: connect with the certificate and private key that belong to your App."
        }
        (Reason::CertMissing, R::MtlsAndKey) => {
            "This route takes a client certificate together with a server key: connect with your App's certificate, and send `Authorization: Bearer …` with the key."
        }
        (Reason::CertMissing, R::MtlsAndToken) => {
            "This route takes a client certificate together with an access token: connect with your App's certificate, and send `Authorization: Bearer …` with a token from the token endpoint."
        }
        (Reason::CertRequired, R::MtlsAndKey) => {
            "The server key is accepted, and this route takes a client certificate with it: connect with your App's certificate."
        }
        (Reason::CertRequired, R::MtlsAndToken) => {
            "The access token is accepted, and this route takes a client certificate with it: connect with your App's certificate."
        }
        (Reason::CredentialMissing, R::Key) => {
            "This route takes a server key and nothing else: send `Authorization: Bearer …` with the key."
        }
        (Reason::CredentialMissing, R::Token) => {
            "This route takes an access token and nothing else: send `Authorization: Bearer …` with a token from the token endpoint."
        }
        (Reason::CredentialMissing, R::MtlsOrKey) => {
            "This route takes a client certificate or a server key: connect with your App's certificate, or send `Authorization: Bearer …` with the key."
        }
        (Reason::CredentialMissing, R::MtlsOrToken) => {
            "This route takes a client certificate or an access token: connect with your App's certificate, or send `Authorization: Bearer …` with a token from the token endpoint."
        }
        (Reason::CredentialMissing, R::MtlsAndKey) => {
            "The client certificate is accepted, and this route takes a server key with it: send `Authorization: Bearer …` with the key."
        }
        (Reason::CredentialMissing, R::MtlsAndToken) => {
            "The client certificate is accepted, and this route takes an access token with it: send `Authorization: Bearer …` with a token from the token endpoint."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every refusal for a missing credential names all that the route requires, and nothing else.
    #[test]
    fn a_refusal_names_what_the_route_takes() {
        let mut explained = 0;
        for requirement in Requirement::ALL {
            let name = requirement.as_str();
            for reason in Reason::ALL {
                let Some(text) = detail(requirement, *reason) else {
                    continue;
                };
                explained += 1;
                for (part, word) in [
                    ("mtls", "client certificate"),
                    ("key", "server key"),
                    ("token", "access token"),
                ] {
                    assert_eq!(
                        text.contains(word),
                        name.contains(part),
                        "{name}, {reason}: {text}"
                    );
                }
            }
        }
        assert_eq!(explained, 11);
    }
}
