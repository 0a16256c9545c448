//! The catalogue of refusals: one vocabulary for answers, TLS alerts, logs, metrics, audit and docs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal, $help:literal;)*) => {
        /// The reason of a refusal. The codes are stable: they are never renamed and never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the catalogue's order; a reason's position is `self as usize`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, for example `cert_revoked`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status of the answer; 0 when no answer can be sent.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The title: the fact, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Advice for the one who has to act.
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
    ConnectionLimit = "connection_limit", 0, "The gateway has reached its connection limit",
        "Try again later; the operator can raise listeners.partners.connections_max.";
    HandshakeFailed = "handshake_failed", 0, "The TLS handshake failed",
        "Use TLS 1.2 or 1.3 with a common cipher suite, and check the client's TLS configuration.";
    HandshakeTimeout = "handshake_timeout", 0, "The TLS handshake took too long",
        "Complete the handshake promptly after connecting.";
    HandshakeUnfinished = "handshake_unfinished", 0, "The client left during the handshake",
        "If the client does not trust this server's certificate, give it the right authority (GET /.well-known/countersign/ca.pem).";
    PlainHttp = "plain_http", 400, "The request came as plain HTTP to a port that speaks HTTPS",
        "Use a URL that begins with https://.";
    ProxyHeaderInvalid = "proxy_header_invalid", 0, "The PROXY protocol header is missing or wrong",
        "Enable PROXY protocol version 1 or 2 on the load balancer, or remove its address from the trusted list.";

    // The client certificate.
    CertBadSignature = "cert_bad_signature", 0, "The caller did not prove that it holds the certificate's key",
        "Check that the client is configured with the private key that belongs to its certificate.";
    CertExpired = "cert_expired", 403, "The client certificate has expired",
        "Send a new certificate signing request to the operator and switch to the new certificate.";
    CertMalformed = "cert_malformed", 0, "The client certificate cannot be read",
        "Send the certificate exactly as the operator sent it to you.";
    CertMissing = "cert_missing", 401, "A client certificate is required",
        "Connect with the certificate and private key that belong to your App.";
    CertNotYetValid = "cert_not_yet_valid", 403, "The client certificate is not valid yet",
        "Check the clock of the calling machine, or wait until the certificate's notBefore.";
    CertRevoked = "cert_revoked", 403, "The client certificate has been revoked",
        "Ask the operator for a new certificate; a revoked certificate is never valid again.";
    CertUnregistered = "cert_unregistered", 403, "The client certificate is not registered",
        "Use a certificate that this gateway has registered, or ask the operator to sign a new request.";
    CertUntrusted = "cert_untrusted", 0, "The client certificate is from an untrusted authority",
        "Use the certificate that this gateway signed for you.";
    CertUsage = "cert_usage", 0, "The certificate may not be used to authenticate a client",
        "Use a leaf certificate with the extended key usage clientAuth and the key usage digitalSignature.";

    // Keys and tokens. What tells them apart stays inside; see `shown`.
    AssertionClaims = "assertion_claims", 401, "The client assertion's claims are not accepted",
        "Set iss and sub to the client's id, aud to the issuer or the token endpoint, a new jti each time, and exp at most an hour ahead.";
    AssertionKeys = "assertion_keys", 401, "The client of the assertion is unknown or has no public keys",
        "Give the operator the public half of the key that signs, as a JWK set, and use the client's id as iss and sub.";
    AssertionMalformed = "assertion_malformed", 401, "The client assertion cannot be read",
        "Send one signed JWT, with alg and kid in its header and no crit, jwk, jku, x5c or x5u.";
    AssertionReplayed = "assertion_replayed", 401, "The client assertion was used before",
        "Sign a new assertion, with a new jti, for each request.";
    AssertionSignature = "assertion_signature", 401, "The client assertion's signature does not verify",
        "Sign with the private half of a key in the App's JWK set, name it by kid, and use an algorithm of its kind.";
    AuthMethodRefused = "auth_method_refused", 401, "The client authenticates by a method that is not accepted",
        "Authenticate by a method that the metadata lists and that the operator has left to your App.";
    CredentialInvalid = "credential_invalid", 401, "The credential is not accepted",
        "Check that the key is complete and still active; the operator finds the exact reason in the access log.";
    CredentialMissing = "credential_missing", 401, "A key or an access token is required",
        "Send `Authorization: Bearer …` with a server key or an access token.";
    DpopNonceWanted = "dpop_nonce_wanted", 401, "The DPoP proof needs a nonce of the gateway",
        "Make the proof again with the value of DPoP-Nonce in this answer as nonce; the client library does it by itself.";
    DpopProofInvalid = "dpop_proof_invalid", 401, "The DPoP proof cannot be read or verified",
        "Send one DPoP field with a JWT of the typ dpop+jwt, signed by the public key in its jwk with an algorithm of the metadata.";
    DpopProofMismatch = "dpop_proof_mismatch", 401, "The DPoP proof is for another request",
        "Set htm to the method, htu to the URL of the call without query and fragment, and ath to the digest of the access token.";
    DpopProofMissing = "dpop_proof_missing", 401, "A DPoP proof is required",
        "Send `Authorization: DPoP` with the access token, and a proof in the DPoP field.";
    DpopProofReplayed = "dpop_proof_replayed", 401, "The DPoP proof was used before",
        "Make a new proof, with a new jti, for each request.";
    DpopProofStale = "dpop_proof_stale", 401, "The DPoP proof is too old, or from the future",
        "Make the proof right before the call, and check the clock of the calling machine.";
    KeyExpired = "key_expired", 401, "The key has expired", "Ask the operator for a new key.";
    KeyMalformed = "key_malformed", 401, "The key is malformed", "Copy the whole key, without spaces.";
    KeyNetwork = "key_network", 403, "The key may not be used from this address",
        "Call from one of the key's networks, or ask the operator for a key with other networks.";
    KeyRevoked = "key_revoked", 401, "The key has been revoked", "Ask the operator for a new key.";
    KeySurrounded = "key_surrounded", 401, "Something stands around the key",
        "Send the key alone, without a line end, blanks, quotes or a byte order mark before or after it.";
    KeyUnknown = "key_unknown", 401, "The key is unknown", "Check that the key belongs to this gateway.";
    KeyWrong = "key_wrong", 401, "The key's secret part is wrong", "Copy the whole key as it was shown once.";
    ContentDigestMismatch = "content_digest_mismatch", 401, "The body is not the one that was signed",
        "Compute Content-Digest over the bytes that are sent, after compression, and change nothing behind it.";
    SignatureComponentsMissing = "signature_components_missing", 401, "The signature does not cover enough of the request",
        "Cover \"@method\", \"@target-uri\" (or \"@authority\", \"@path\" and \"@query\"), and \"content-digest\" by sha-256 or sha-512 where there is a body.";
    SignatureInvalid = "signature_invalid", 401, "The request's signature does not verify",
        "Sign the request as it is sent, with the whole text of the signing key or with a key of the App's JWK set.";
    SignatureMalformed = "signature_malformed", 401, "The request's signature cannot be read",
        "Send Signature-Input and Signature of RFC 9421 with one label for the gateway's key, created, and keyid; by hmac-sha256, ecdsa-p256-sha256 or ed25519.";
    SignatureMissing = "signature_missing", 401, "A signature of the request is required",
        "Sign the request (RFC 9421) with a signing key, and name the key's id as keyid.";
    SignatureReplayed = "signature_replayed", 401, "The request's signature was used before",
        "Make a new signature, with a new nonce, whenever a request is sent or repeated.";
    SignatureTooOld = "signature_too_old", 401, "The request's signature is not of this minute",
        "Check the clock of the calling machine, and sign each request when it is sent.";
    SignaturesTooMany = "signatures_too_many", 429, "The App signs more requests than can be remembered",
        "Wait for the time in Retry-After, and spread the requests.";
    TokenAudience = "token_audience", 401, "The access token is for another audience",
        "Request a token from this gateway's token endpoint.";
    TokenBinding = "token_binding", 401, "The access token is not bound to what was shown beside it",
        "Send the token beside the certificate or the DPoP proof of the key to which it is bound, or request a new token.";
    TokenEnded = "token_ended", 401, "The access token's App, key or certificate is no longer active",
        "Request a new token; if that is refused too, ask the operator about your App, key and certificate.";
    TokenExpired = "token_expired", 401, "The access token has expired",
        "Request a new token from the token endpoint.";
    TokenMalformed = "token_malformed", 401, "The access token cannot be read",
        "Send the token exactly as the token endpoint returned it.";
    TokenSignature = "token_signature", 401, "The access token's signature does not verify",
        "Request a new token from this gateway's token endpoint.";

    // What the caller may do.
    AppRevoked = "app_revoked", 403, "The App has been revoked", "Ask the operator for a new App.";
    AppSuspended = "app_suspended", 403, "The App is suspended", "Ask the operator to resume the App.";
    AppsDiffer = "apps_differ", 403, "The certificate and the key or token belong to different Apps",
        "Use a certificate and a key or token of the same App.";
    CertRequired = "cert_required", 403, "This route needs a client certificate as well",
        "Connect with the App's certificate and send the key or token on that connection.";
    SecureModeRequired = "secure_mode_required", 403, "A session needs an auth token",
        "Let the App's server get an auth token for the user, and exchange that for the session.";
    EnvironmentMismatch = "environment_mismatch", 403, "The credential is for another environment than this route",
        "Use a key, or a token of a key, of an environment that the route takes.";
    KindNotAccepted = "kind_not_accepted", 403, "This route does not accept this kind of credential",
        "Use a kind of key or token that the route accepts.";
    OriginRefused = "origin_refused", 403, "The key may not be used from this origin",
        "Call from a page of one of the key's origins, or ask the operator to make a key with the page's origin.";
    ScopeMissing = "scope_missing", 403, "A scope that this route needs is missing",
        "Request a token with the scope, or ask the operator for a key with the scope.";

    SecretInBrowser = "secret_in_browser", 403, "A secret key was sent by a browser",
        "Keep secret keys on servers: use a publishable key in the page, and have the operator rotate this one.";

    // The request itself.
    BodyTimeout = "body_timeout", 408, "The request body stalled", "Send the body without long pauses.";
    BodyTooLarge = "body_too_large", 413, "The request body is larger than this route allows",
        "Send less at once, or ask the operator to raise the route's body_max.";
    HeaderInvalid = "header_invalid", 400, "A header field is not allowed",
        "Use header names of letters, digits and hyphens, and one Host.";
    HeadersTooLarge = "headers_too_large", 431, "The header fields are too large or too many",
        "Send fewer or smaller header fields.";
    HostInvalid = "host_invalid", 400, "The Host is missing or not a host name",
        "Send one Host (or :authority) with a host name and an optional port.";
    HostMismatch = "host_mismatch", 403, "The Host has another TLS policy than this connection",
        "Open a separate connection with the host's name as SNI.";
    MethodUnknown = "method_unknown", 405, "The route does not allow this method",
        "Use one of the methods in the Allow header.";
    PathInvalid = "path_invalid", 400, "The path can be read in more than one way",
        "Send a path that has one reading: write identifiers with other characters (base64url), or put them into the query.";
    RequestMalformed = "request_malformed", 400, "The request is not well-formed", "Send valid HTTP.";
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time", "Send the whole request promptly.";
    RouteUnknown = "route_unknown", 404, "No route matches this host and path",
        "Check the host and the path; the operator's configuration lists the routes.";
    UpgradeRefused = "upgrade_refused", 400, "This upgrade is not allowed",
        "Send a complete handshake to a path that opens the protocol.";
    UriTooLong = "uri_too_long", 414, "The request target is too long", "Send a shorter path and query.";

    // Not now.
    AuthRateLimited = "auth_rate_limited", 429, "Too many failed attempts from this address",
        "Wait for the time in Retry-After, then try with a valid credential.";
    Draining = "draining", 503, "The gateway is shutting down", "Connect again; the restarted gateway answers.";
    Overloaded = "overloaded", 503, "The gateway has reached an internal limit", "Try again after the time in Retry-After.";
    RateLimited = "rate_limited", 429, "A rate limit is exceeded", "Wait for the time in Retry-After, or ask for a higher limit.";

    // The upstream.
    UpstreamBusy = "upstream_busy", 503, "All connections to the upstream are in use", "Try again after a pause; if that lasts, tell the operator the request_id.";
    UpstreamFailed = "upstream_failed", 502, "The upstream closed the connection early or sent an invalid answer", "Look first whether the call took effect; give the operator the request_id.";
    UpstreamTimeout = "upstream_timeout", 504, "The upstream did not answer in time", "The call may have taken effect: look before you repeat it, and give the operator the request_id.";
    UpstreamTls = "upstream_tls", 502, "The upstream's certificate is not accepted", "Nothing was sent, and you cannot correct this: give the operator the request_id.";
    UpstreamUnreachable = "upstream_unreachable", 502, "The upstream cannot be reached", "Nothing was sent: try again after a pause; if that lasts, give the operator the request_id.";

    // Ends without an answer, and faults of our own.
    ClientClosed = "client_closed", 499, "The client left before the answer was complete", "No action is needed if the client cancelled the call on purpose.";
    Internal = "internal", 500, "An internal error occurred in the gateway", "Look for the request id in the gateway's log and report it.";

    // Certificate signing requests.
    CsrAttributes = "csr_attributes", 422, "The request asks for a CA certificate",
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
        "Make the request again with the right private key and SHA-256 or better.";
    CertLimit = "cert_limit", 409, "The App has reached its limit of active certificates",
        "Revoke one that is no longer used, or raise the App's certificates_max or authority.profile.active_max.";

    // The token endpoint and the admin API.
    AdminForbidden = "admin_forbidden", 403, "Your role does not allow this operation", "Use a token with the role that the operation needs.";
    AdminUnauthenticated = "admin_unauthenticated", 401, "An admin token is required", "Send `Authorization: Bearer` with an admin token.";
    ConfirmationNeeded = "confirmation_needed", 409, "The change would stop what works now",
        "Look at what is affected, and send the change again with \"confirm\": true.";
    Conflict = "conflict", 409, "The request conflicts with the current state", "Read the detail, check the current state, and try again.";
    GrantInvalid = "grant_invalid", 400, "The token that was sent as proof is not accepted",
        "Begin again: ask for a new auth token, or log the user in again.";
    GrantUnsupported = "grant_unsupported", 400, "This grant type is not supported", "Use one of the grants in the metadata (GET /.well-known/oauth-authorization-server).";
    InputInvalid = "input_invalid", 422, "The input is not valid", "Read the detail and correct the input.";
    KeyLimit = "key_limit", 409, "The App has reached its limit of keys",
        "Revoke one that is no longer used, or raise the App's keys_max.";
    IssuerKeys = "issuer_keys", 503, "The public keys of the token's issuer could not be fetched yet",
        "Try again in a moment; if that lasts, tell the operator.";
    IssuerToken = "issuer_token", 401, "The token of another issuer is not accepted",
        "Send a token that this issuer has just signed, for the audience that the operator has configured.";
    IssuerUnknown = "issuer_unknown", 401, "The token's issuer is not known for this App",
        "Exchange tokens of the issuer that the operator has configured for your App.";
    NotFound = "not_found", 404, "No object with this id or name exists", "Check the id or name.";
    RefreshReused = "refresh_reused", 400, "A refresh token was used twice, and its session has ended",
        "Log the user in again, and use each refresh token once: one of the two who used it may be a thief.";
    ScopeInvalid = "scope_invalid", 400, "The requested scope exceeds the key's scopes", "Request scopes that the key has.";
    StillInUse = "still_in_use", 409, "The key is still in use, and its successor is not",
        "Have the partner switch to the successor, or revoke with force.";
    StoreUnavailable = "store_unavailable", 503, "The store cannot be used, so nothing was changed",
        "Remove the cause and try again; the gateway's log says more. Traffic is not affected.";
    TicketLimit = "ticket_limit", 503, "The App has reached its limit of auth tokens or used assertions",
        "Use the auth tokens that you fetch, make assertions that live for a minute, and try again when some have expired.";
    Unconfirmed = "unconfirmed", 503, "The change is stored, but not yet confirmed by every worker",
        "Check what is stored before you try again; the gateway's log says why its workers do not answer.";
}

impl Reason {
    /// The reason that the caller gets. Secrets that are wrong, unknown, revoked or expired get the same one;
    /// the record of the exchange has the exact one.
    #[must_use]
    pub const fn shown(self) -> Self {
        match self {
            Self::AssertionClaims
            | Self::AssertionKeys
            | Self::AssertionMalformed
            | Self::AssertionReplayed
            | Self::AssertionSignature
            | Self::IssuerToken
            | Self::IssuerUnknown
            | Self::KeyExpired
            | Self::KeyMalformed
            | Self::KeyRevoked
            | Self::KeyUnknown
            | Self::KeyWrong
            | Self::SignatureInvalid
            | Self::TokenAudience
            | Self::TokenEnded
            | Self::TokenMalformed
            | Self::TokenSignature => Self::CredentialInvalid,
            other => other,
        }
    }

    /// True for the refusal of a DPoP proof, or of a request without one.
    pub const fn is_of_dpop(self) -> bool {
        matches!(
            self,
            Self::DpopNonceWanted
                | Self::DpopProofInvalid
                | Self::DpopProofMismatch
                | Self::DpopProofMissing
                | Self::DpopProofReplayed
                | Self::DpopProofStale
        )
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

    /// The sections of a page, all of them and in this order.
    const HEADINGS: [&str; 4] = [
        "What happened",
        "What the caller sees",
        "For the partner",
        "For the operator",
    ];

    /// The headings of the sections that are not empty.
    fn headings(page: &str) -> Vec<&str> {
        let sections = page.split("\n## ").skip(1);
        let sections = sections.filter_map(|section| section.split_once('\n'));
        let filled = sections.filter(|(_, text)| !text.trim().is_empty());
        filled.map(|(heading, _)| heading).collect()
    }

    /// The path of a reason's page, relative to the project's root.
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
            assert_eq!(headings(&page), HEADINGS, "{code}: the headings");
            let row = format!("({code}.md) |");
            let row = index.lines().find(|line| line.contains(&row));
            let row = row.unwrap_or_else(|| panic!("{code}: the index"));
            let title = format!("| {} |", reason.title());
            assert!(row.ends_with(&title), "{code}: the title in the index");
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
