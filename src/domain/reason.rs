//! The catalogue of refusals: one vocabulary for answers, TLS alerts, logs, metrics, audit and docs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal, $help:literal;)*) => {
        /// Why something was refused. The codes are stable: they are never renamed and never given a second meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the catalogue's order; a reason's place in it is `self as usize`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, for example `cert_revoked`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it; 0 when no answer can be sent at all.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What happened, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What the one to act should do.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

reasons! {
    // The connection and its handshake.
    AddressConnections = "address_connections", 0, "Too many connections from one address",
        "Reuse connections, or ask the operator to raise the limit per address.";
    ConnectionLimit = "connection_limit", 0, "The gateway holds as many connections as it may",
        "Try again later; the operator can raise listeners.partners.connections_max.";
    HandshakeFailed = "handshake_failed", 0, "The TLS handshake failed",
        "Use TLS 1.2 or 1.3 with a common cipher suite, and check that the client sends what it should.";
    HandshakeTimeout = "handshake_timeout", 0, "The TLS handshake took too long",
        "Complete the handshake promptly after connecting.";
    HandshakeUnfinished = "handshake_unfinished", 0, "The client left during the handshake",
        "If the client distrusts this server's certificate, give it the right authority (GET /.well-known/countersign/ca.pem).";
    PlainHttp = "plain_http", 400, "The request came as plain HTTP to a port that speaks HTTPS",
        "Use a URL that begins with https://.";
    ProxyHeaderInvalid = "proxy_header_invalid", 0, "The PROXY protocol header is missing or wrong",
        "Let the load balancer send PROXY protocol version 1 or 2, or take its address out of the trusted list.";

    // The client certificate.
    CertBadSignature = "cert_bad_signature", 0, "The caller did not prove that it holds the certificate's key",
        "Check that the client is configured with the private key that belongs to its certificate.";
    CertExpired = "cert_expired", 403, "The client certificate has expired",
        "Send a new certificate signing request to the operator and switch to the new certificate.";
    CertMalformed = "cert_malformed", 0, "The client certificate cannot be read",
        "Send the certificate in the form in which it was issued.";
    CertMissing = "cert_missing", 401, "A client certificate is required",
        "Connect with the certificate and private key that belong to your App.";
    CertNotYetValid = "cert_not_yet_valid", 403, "The client certificate is not valid yet",
        "Check the clock of the calling machine, or wait until the certificate's notBefore.";
    CertRevoked = "cert_revoked", 403, "The client certificate has been revoked",
        "Ask the operator for a new certificate; a revoked one never counts again.";
    CertUnregistered = "cert_unregistered", 403, "The client certificate is not registered here",
        "Use a certificate that this gateway has registered, or ask the operator to sign a new request.";
    CertUntrusted = "cert_untrusted", 0, "The client certificate comes from an authority that is not trusted here",
        "Use the certificate that this gateway signed for you.";
    CertUsage = "cert_usage", 0, "The certificate may not be used to authenticate a client",
        "Use a leaf certificate with the extended key usage clientAuth and the key usage digitalSignature.";

    // Keys and tokens. What tells them apart stays inside; see `shown`.
    CredentialInvalid = "credential_invalid", 401, "The credential is not accepted",
        "Check that the key is copied whole and still active; the operator sees in the audit log what is wrong.";
    CredentialMissing = "credential_missing", 401, "A key or an access token is required",
        "Send `Authorization: Bearer …` with a server key or an access token.";
    KeyExpired = "key_expired", 401, "The key has expired", "Ask the operator for a new key.";
    KeyMalformed = "key_malformed", 401, "The key is not written as keys are", "Copy the whole key, without blanks.";
    KeyNetwork = "key_network", 403, "The key may not be used from this address",
        "Call from one of the networks that the key is bound to, or ask the operator to widen them.";
    KeyRevoked = "key_revoked", 401, "The key has been revoked", "Ask the operator for a new key.";
    KeyUnknown = "key_unknown", 401, "The key is not known here", "Check that the key belongs to this gateway.";
    KeyWrong = "key_wrong", 401, "The key's secret part is wrong", "Copy the whole key as it was shown once.";
    TokenAudience = "token_audience", 401, "The access token is meant for someone else",
        "Ask this gateway's token endpoint for a token.";
    TokenBinding = "token_binding", 401, "The access token is bound to another certificate",
        "Use the token over the connection whose certificate it was minted with, or mint a new one (RFC 8705).";
    TokenEnded = "token_ended", 401, "What the access token was minted from has been revoked",
        "Ask the operator; a new token needs an active App, key and certificate.";
    TokenExpired = "token_expired", 401, "The access token has expired",
        "Ask the token endpoint for a new one.";
    TokenMalformed = "token_malformed", 401, "The access token cannot be read",
        "Send the token exactly as the token endpoint returned it.";
    TokenSignature = "token_signature", 401, "The access token's signature does not verify",
        "Ask this gateway's token endpoint for a token.";

    // What the caller may do.
    AppRevoked = "app_revoked", 403, "The App has been revoked", "Ask the operator for a new App.";
    AppSuspended = "app_suspended", 403, "The App is suspended", "Ask the operator to resume the App.";
    AppsDiffer = "apps_differ", 403, "The certificate and the key or token belong to different Apps",
        "Use credentials of one App together.";
    CertRequired = "cert_required", 403, "This route needs a client certificate as well",
        "Connect with the App's certificate and send the key or token on that connection.";
    ScopeMissing = "scope_missing", 403, "A scope that this route needs is missing",
        "Ask for a token with the scope, or ask the operator to allow it to the key.";

    // The request itself.
    BodyTimeout = "body_timeout", 408, "The request body stalled", "Send the body without long pauses.";
    BodyTooLarge = "body_too_large", 413, "The request body is larger than this route allows",
        "Send less at once, or ask the operator to raise the route's body_max.";
    HeaderInvalid = "header_invalid", 400, "A header field is not allowed",
        "Use header names of letters, digits and hyphens, and one Host.";
    HeadersTooLarge = "headers_too_large", 431, "The header fields are too large or too many",
        "Send fewer or smaller header fields.";
    HostInvalid = "host_invalid", 400, "The Host is missing or not a host name",
        "Send one Host (or :authority) with a host name and at most a port.";
    HostMismatch = "host_mismatch", 403, "The Host needs another TLS policy than the one this connection was opened with",
        "Open a connection of its own with the host's name as SNI.";
    MethodUnknown = "method_unknown", 405, "The route exists, but not for this method",
        "Use one of the methods named in Allow.";
    PathInvalid = "path_invalid", 400, "The path can be read in more than one way",
        "Send a path without empty or dot segments, encoded slashes, backslashes or control characters.";
    RequestMalformed = "request_malformed", 400, "The request is not well-formed", "Send valid HTTP.";
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time", "Send the whole request promptly.";
    RouteUnknown = "route_unknown", 404, "There is nothing at this host and path",
        "Check the host and the path; the operator's configuration names what is served.";
    UpgradeRefused = "upgrade_refused", 400, "This upgrade is not allowed",
        "Only routes that allow upgrades tunnel them, and never to h2c.";
    UriTooLong = "uri_too_long", 414, "The request target is too long", "Send a shorter path and query.";

    // Not now.
    AuthRateLimited = "auth_rate_limited", 429, "Too many failed attempts from this address",
        "Wait for the time in Retry-After, then try with a valid credential.";
    Draining = "draining", 503, "The gateway is shutting down", "Connect again; the restarted gateway answers.";
    Overloaded = "overloaded", 503, "The gateway is at a limit of its own", "Try again after the time in Retry-After.";
    RateLimited = "rate_limited", 429, "A rate limit is used up", "Wait for the time in Retry-After, or ask for a higher limit.";

    // The upstream.
    UpstreamBusy = "upstream_busy", 503, "All connections to the upstream are in use", "Try again; the operator can raise the upstream's connections_max.";
    UpstreamFailed = "upstream_failed", 502, "The upstream ended the exchange early or answered nonsense", "The API's team can see in its log what happened.";
    UpstreamTimeout = "upstream_timeout", 504, "The upstream did not answer in time", "Try again; the API's team can see why it is slow.";
    UpstreamTls = "upstream_tls", 502, "The upstream's certificate is not accepted", "Give the upstream's authority in the configuration, and check the name.";
    UpstreamUnreachable = "upstream_unreachable", 502, "The upstream cannot be reached", "Check that the API is running and its address is right.";

    // Ends without an answer, and faults of our own.
    ClientClosed = "client_closed", 499, "The client left before the answer was complete", "Nothing, if that was meant.";
    Internal = "internal", 500, "The gateway made a mistake", "Look for the request id in the gateway's log and report it.";

    // Certificate signing requests.
    CsrAttributes = "csr_attributes", 422, "The request asks for what is never granted",
        "Ask for a plain client certificate: no CA flag, no certificate signing usage.";
    CsrKeyInUse = "csr_key_in_use", 409, "The key of this request is registered to another App",
        "Make a new key pair for each App.";
    CsrKeyRevoked = "csr_key_revoked", 409, "A certificate with this key was revoked because the key is compromised",
        "Make a new key pair.";
    CsrKeyType = "csr_key_type", 422, "Keys of this kind are not accepted",
        "Make a P-256, P-384, Ed25519 or RSA key of 2048 to 4096 bits, as the profile allows.";
    CsrKeyWeak = "csr_key_weak", 422, "The key is weak",
        "Make a new key: RSA with at least 2048 bits and the exponent 65537, or an elliptic curve key.";
    CsrMalformed = "csr_malformed", 422, "The certificate signing request cannot be read",
        "Send one PKCS #10 request in PEM or DER, for example from `openssl req -new`.";
    CsrSignature = "csr_signature", 422, "The request is not signed by its own key, or with a weak algorithm",
        "Make the request again with the private key at hand and SHA-256 or better.";
    CertLimit = "cert_limit", 409, "The App has as many active certificates as it may",
        "Revoke one that is no longer used, or raise authority.profile.active_max.";

    // The token endpoint and the admin API.
    AdminForbidden = "admin_forbidden", 403, "This is not allowed to you", "Use a token with the role that the operation needs.";
    AdminUnauthenticated = "admin_unauthenticated", 401, "An admin token is required", "Send `Authorization: Bearer` with an admin token.";
    Conflict = "conflict", 409, "That does not fit what exists", "Read the detail, look at what exists, and try again.";
    GrantUnsupported = "grant_unsupported", 400, "This grant type is not supported", "Use grant_type=client_credentials.";
    InputInvalid = "input_invalid", 422, "The input is not valid", "Read the detail and correct the input.";
    NotFound = "not_found", 404, "There is no such thing", "Check the id or name.";
    ScopeInvalid = "scope_invalid", 400, "The scope asked for is more than the key allows", "Ask for scopes that the key has.";
    StoreUnavailable = "store_unavailable", 503, "The store cannot be used, so nothing was changed",
        "Remove the cause and try again; the gateway's log says more. Traffic is not affected.";
    Unconfirmed = "unconfirmed", 503, "The change is stored, and not yet confirmed by the data plane",
        "Look at what is stored before trying again; the gateway's log says why its workers do not answer.";
}

impl Reason {
    /// What the caller is told. Secrets that are wrong, unknown, revoked or expired look the same from outside;
    /// the record of the exchange keeps the difference.
    #[must_use]
    pub const fn shown(self) -> Self {
        match self {
            Self::KeyExpired
            | Self::KeyMalformed
            | Self::KeyRevoked
            | Self::KeyUnknown
            | Self::KeyWrong
            | Self::TokenAudience
            | Self::TokenEnded
            | Self::TokenMalformed
            | Self::TokenSignature => Self::CredentialInvalid,
            other => other,
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom("unknown reason"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Where the page about a reason is, below the project's root.
    fn page_of(reason: Reason) -> String {
        format!("docs/reasons/{}.md", reason.code())
    }

    #[test]
    fn codes_are_unique_and_read_back() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert!(
                reason
                    .code()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
        }
    }

    #[test]
    fn a_reasons_place_in_the_catalogue_is_its_number() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }

    #[test]
    fn every_reason_has_its_page_and_no_page_is_left_behind() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let index = std::fs::read_to_string(docs.join("docs/reasons/README.md")).unwrap();
        for reason in Reason::ALL {
            let page = std::fs::read_to_string(docs.join(page_of(*reason)))
                .unwrap_or_else(|error| panic!("{}: {error}", page_of(*reason)));
            let code = reason.code();
            assert!(page.starts_with(&format!("# `{code}`\n")), "{code}");
            assert!(page.contains(reason.title()), "{code}: the title differs");
            let status = match reason.status() {
                0 => "no HTTP answer".to_owned(),
                status => format!("HTTP {status}"),
            };
            assert!(page.contains(&status), "{code}: the status differs");
            let hidden = page.contains("shown to the caller as [`credential_invalid`]");
            assert_eq!(hidden, reason.shown() != *reason, "{code}: what is shown");
            for part in ["What happened", "For the partner", "For the operator"] {
                assert!(page.contains(&format!("\n## {part}\n")), "{code}: {part}");
            }
            assert!(index.contains(&format!("({code}.md)")), "{code}: the index");
        }
        for entry in std::fs::read_dir(docs.join("docs/reasons")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let code = name.strip_suffix(".md").unwrap();
            assert!(
                code == "README" || Reason::from_code(code).is_some(),
                "{name} is about no reason"
            );
        }
    }

    #[test]
    fn secrets_that_are_refused_look_alike() {
        let shown: HashSet<_> = [
            Reason::KeyExpired,
            Reason::KeyRevoked,
            Reason::KeyUnknown,
            Reason::KeyWrong,
        ]
        .map(Reason::shown)
        .into_iter()
        .collect();
        assert_eq!(shown, HashSet::from([Reason::CredentialInvalid]));
    }
}
