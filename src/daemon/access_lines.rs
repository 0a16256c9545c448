//! The access log's lines: what an exchange's record looks like outside.

use serde::Serialize;

use crate::domain::record::AccessRecord;

/// One line of JSON. Its keys are stable; what is absent is left out.
#[derive(Serialize)]
struct Line<'r> {
    time: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop_request_id: Option<&'r str>,
    client: std::net::IpAddr,
    method: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'r str>,
    path: &'r str,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'r str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<&'static str>,
    duration_us: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u128>,
    bytes_in: u64,
    bytes_out: u64,
}

/// Appends a record's line. JSON escapes line breaks and controls, so no caller can write a line of its own.
pub fn write(record: &AccessRecord, lines: &mut Vec<u8>) {
    let line = Line {
        time: record.at.to_string(),
        request_id: record.request_id.to_string(),
        hop_request_id: record.hop_request_id.as_deref(),
        client: record.client,
        method: record.method.as_str(),
        host: record.host.as_deref(),
        path: &record.path,
        protocol: match record.protocol {
            http::Version::HTTP_2 => "h2",
            http::Version::HTTP_10 => "http/1.0",
            _ => "http/1.1",
        },
        route: record.route.as_deref(),
        status: record.status,
        reason: record.reason.map(crate::domain::reason::Reason::code),
        app: record.app.map(|id| id.to_string()),
        key: record.key.map(|id| id.to_string()),
        certificate: record.certificate.map(|serial| serial.to_string()),
        auth: record.auth.map(crate::domain::identity::AuthMethod::as_str),
        duration_us: record.duration.as_micros(),
        upstream_us: record.upstream.map(|span| span.as_micros()),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
    };
    // Writing to memory fails only if a value cannot be said in JSON, and all of these can.
    if serde_json::to_writer(&mut *lines, &line).is_ok() {
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{AppId, RequestId};
    use crate::domain::reason::Reason;
    use crate::domain::time::Timestamp;

    fn record() -> AccessRecord {
        AccessRecord {
            at: Timestamp::from_unix_seconds(0),
            request_id: RequestId::from_bits(1),
            hop_request_id: None,
            client: [192, 0, 2, 1].into(),
            method: http::Method::GET,
            host: Some("a.test".into()),
            path: "/x\r\n{\"status\":200}\u{1b}[31m".into(),
            protocol: http::Version::HTTP_2,
            route: None,
            status: 401,
            reason: Some(Reason::KeyWrong),
            app: Some(AppId::from_bits(2)),
            key: None,
            certificate: None,
            auth: None,
            duration: Duration::from_micros(1500),
            upstream: None,
            bytes_in: 0,
            bytes_out: 7,
        }
    }

    #[test]
    fn a_record_is_one_line_whatever_the_caller_sent() {
        let record = record();
        let mut lines = Vec::new();
        write(&record, &mut lines);
        let text = String::from_utf8(lines).unwrap();
        assert_eq!(
            (text.matches('\n').count(), text.matches('\u{1b}').count()),
            (1, 0)
        );
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (line["reason"].as_str(), line["duration_us"].as_u64()),
            (Some("key_wrong"), Some(1500))
        );
        assert!(line.get("key").is_none());
    }

    proptest! {
        /// Records go one behind the other into one buffer, and come out as they went in.
        #[test]
        fn every_record_is_one_line_that_says_what_was_sent(
            sent in proptest::collection::vec((any::<String>(), any::<Option<String>>(), "[!#-'*+.A-Z^_`a-z|~-]{1,20}"), 1..5),
        ) {
            let mut lines = Vec::new();
            for (path, host, method) in &sent {
                let record = AccessRecord {
                    path: path.as_str().into(),
                    host: host.as_deref().map(Into::into),
                    method: http::Method::from_bytes(method.as_bytes()).unwrap(),
                    ..record()
                };
                write(&record, &mut lines);
            }
            let text = String::from_utf8(lines).unwrap();
            prop_assert!(text.ends_with('\n'));
            prop_assert_eq!(text.bytes().filter(|byte| *byte < b' ').count(), sent.len());
            for (line, (path, host, method)) in text.lines().zip(&sent) {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                prop_assert_eq!(line["path"].as_str(), Some(&**path));
                prop_assert_eq!(line["host"].as_str(), host.as_deref());
                prop_assert_eq!(line["method"].as_str(), Some(&**method));
            }
        }
    }
}
