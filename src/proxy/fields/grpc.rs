//! Refusals for gRPC callers: an answer of trailers only, with a status of gRPC's own.

use std::fmt::Write;

use http::{HeaderValue, Version, header};

use crate::domain::reason::Reason;

use crate::proxy::messages::message::Request;

/// The status codes of gRPC for refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// True for a call of gRPC: HTTP/2, and the content type `application/grpc`.
pub fn is_call(request: &Request) -> bool {
    request.version == Version::HTTP_2
        && request
            .fields
            .get(&header::CONTENT_TYPE)
            .is_some_and(is_grpc)
}

fn is_grpc(kind: &HeaderValue) -> bool {
    const KIND: &[u8] = b"application/grpc";
    let bytes = kind.as_bytes();
    let (Some(start), rest) = (bytes.get(..KIND.len()), bytes.get(KIND.len()..)) else {
        return false;
    };
    start.eq_ignore_ascii_case(KIND) && matches!(rest, Some([] | [b'+' | b';' | b' ', ..]))
}

/// The status of a refusal that has the status `http` elsewhere.
pub const fn status(reason: Reason, http: u16) -> Status {
    match (reason, http) {
        (Reason::RouteUnknown | Reason::MethodUnknown, _) => Status::Unimplemented,
        (Reason::BodyTimeout | Reason::RequestTimeout | Reason::UpstreamTimeout, _) => {
            Status::DeadlineExceeded
        }
        // 421: another connection is admitted.
        (Reason::HostMismatch, 421) | (_, 502..=504) => Status::Unavailable,
        (_, 401) => Status::Unauthenticated,
        (_, 403) => Status::PermissionDenied,
        (_, 404) => Status::NotFound,
        (_, 409) => Status::FailedPrecondition,
        (_, 413 | 414 | 429 | 431) => Status::ResourceExhausted,
        (_, 499) => Status::Cancelled,
        (_, 400..=498) => Status::InvalidArgument,
        _ => Status::Internal,
    }
}

/// The text of `grpc-message`: everything but printable ASCII, and the percent sign, is percent-encoded.
pub fn message(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | ..b' ' | 0x7f.. => {
                let _never_fails = write!(encoded, "%{byte:02X}");
            }
            byte => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_grpc_are_taken_for_such() {
        let check = |kind: &str, version: Version, expected: bool| {
            let request = http::Request::builder()
                .version(version)
                .header("content-type", kind)
                .body(())
                .unwrap();
            assert_eq!(is_call(&request.into_parts().0.into()), expected, "{kind}");
        };
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC;x=1",
        ] {
            check(kind, Version::HTTP_2, true);
            check(kind, Version::HTTP_11, false);
        }
        for kind in [
            "application/grpc-web",
            "application/grpcx",
            "application/json",
            "",
        ] {
            check(kind, Version::HTTP_2, false);
        }
    }

    #[test]
    fn every_refusal_has_the_status_that_the_specification_gives() {
        use Reason as R;
        for (reason, expected) in [
            (R::CertMissing, Status::Unauthenticated),
            (R::CredentialInvalid, Status::Unauthenticated),
            (R::TokenExpired, Status::Unauthenticated),
            (R::CertRevoked, Status::PermissionDenied),
            (R::ScopeMissing, Status::PermissionDenied),
            (R::RateLimited, Status::ResourceExhausted),
            (R::AuthRateLimited, Status::ResourceExhausted),
            (R::BodyTooLarge, Status::ResourceExhausted),
            (R::HeadersTooLarge, Status::ResourceExhausted),
            (R::RouteUnknown, Status::Unimplemented),
            (R::MethodUnknown, Status::Unimplemented),
            (R::PathInvalid, Status::InvalidArgument),
            (R::HeaderInvalid, Status::InvalidArgument),
            (R::BodyTimeout, Status::DeadlineExceeded),
            (R::UpstreamTimeout, Status::DeadlineExceeded),
            (R::UpstreamFailed, Status::Unavailable),
            (R::UpstreamUnreachable, Status::Unavailable),
            (R::UpstreamBusy, Status::Unavailable),
            (R::Draining, Status::Unavailable),
            (R::Overloaded, Status::Unavailable),
            (R::Internal, Status::Internal),
        ] {
            assert_eq!(status(reason, reason.status()), expected, "{reason}");
        }
        assert_eq!(status(R::HostMismatch, 421), Status::Unavailable);
    }

    #[test]
    fn a_message_is_printable_ascii() {
        assert_eq!(message("100 % fine…\n"), "100 %25 fine%E2%80%A6%0A");
        assert_eq!(message("plain: text"), "plain: text");
    }
}
