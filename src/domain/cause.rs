//! The exact cause of an upstream's failure, in words for operators: the access log, the log and the metrics use it.

use std::fmt;

/// Declares the causes once, so that their list is complete.
macro_rules! causes {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)+) => {
        /// See the module. A closed set of stable words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[doc = $doc])* $name,)+
        }

        impl Cause {
            /// Every cause, in the order of its declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

causes! {
    // Before there is a connection.
    /// The name does not resolve.
    NameUnknown = "name_unknown",
    /// Nobody listens on the port.
    ConnectRefused = "connect_refused",
    /// No answer within `timeouts.connect`.
    ConnectTimeout = "connect_timeout",
    /// There is no way to the address.
    ConnectUnreachable = "connect_unreachable",
    /// The connection was closed before it could be used.
    ConnectClosed = "connect_closed",
    /// Another fault of the network or of the system.
    ConnectFailed = "connect_failed",

    // TLS.
    /// The certificate comes from no authority that is trusted.
    TlsUntrusted = "tls_untrusted",
    /// The certificate is for another name.
    TlsName = "tls_name",
    /// The certificate has expired.
    TlsExpired = "tls_expired",
    /// The certificate is not valid yet.
    TlsNotYetValid = "tls_not_yet_valid",
    /// The upstream has refused the handshake with an alert.
    TlsRefused = "tls_refused",
    /// The server does not speak TLS.
    TlsNotSpoken = "tls_not_spoken",
    /// The upstream does not speak HTTP/2.
    TlsNoHttp2 = "tls_no_http2",
    /// Another fault of the handshake.
    TlsFailed = "tls_failed",

    // The exchange.
    /// The connection ended before an answer began.
    ClosedBeforeAnswer = "closed_before_answer",
    /// The connection ended within an answer.
    ClosedInAnswer = "closed_in_answer",
    /// The upstream did not take the request.
    RequestStalled = "request_stalled",
    /// No answer within `timeouts.first_byte`.
    AnswerTimeout = "answer_timeout",
    /// The body of the answer stalled for `timeouts.idle`.
    AnswerStalled = "answer_stalled",
    /// The upstream reset the stream.
    StreamReset = "stream_reset",
    /// The upstream refused the stream twice without having processed the request.
    StreamRefused = "stream_refused",
    /// HTTP/2 failed in another way.
    Http2Failed = "http2_failed",

    // The answer.
    /// The answer is not HTTP/1.1.
    AnswerNotHttp = "answer_not_http",
    /// The head is larger than `http.header_bytes_max`.
    AnswerHeadTooLarge = "answer_head_too_large",
    /// The head has more fields than `http.headers_max`.
    AnswerFieldsTooMany = "answer_fields_too_many",
    /// A field cannot be read in one way only.
    AnswerFieldInvalid = "answer_field_invalid",
    /// A length is not a number.
    AnswerLengthInvalid = "answer_length_invalid",
    /// Two lengths are not the same.
    AnswerLengthsDiffer = "answer_lengths_differ",
    /// There are a length and a transfer coding.
    AnswerLengthAndChunked = "answer_length_and_chunked",
    /// There is more than one transfer coding.
    AnswerTwoTransferEncodings = "answer_two_transfer_encodings",
    /// The transfer coding is not `chunked`.
    AnswerTransferEncodingUnknown = "answer_transfer_encoding_unknown",
    /// A chunk or what follows the last one is malformed.
    AnswerChunkInvalid = "answer_chunk_invalid",
    /// Interim answers without an end.
    AnswerInterimFlood = "answer_interim_flood",
    /// A switch to a protocol that was not asked for.
    AnswerSwitchUnasked = "answer_switch_unasked",
    /// A tunnel was asked for, and the answer looks like one and is none.
    AnswerUpgradeIgnored = "answer_upgrade_ignored",
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_cause_has_a_word_of_its_own() {
        let words: HashSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        let plain = |letter: u8| {
            letter.is_ascii_lowercase() || letter == b'_' || letter == b'1' || letter == b'2'
        };
        assert!(words.iter().all(|word| word.bytes().all(plain)));
        for (place, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, place);
        }
    }
}
