//! The access log's lines: the JSON form of an exchange's record.

use std::time::Duration;

use crate::domain::identity::AuthMethod;
use crate::domain::reason::Reason;
use crate::domain::record::AccessRecord;
use crate::domain::scope::Scope;
use crate::telemetry::json_line::JsonLine;

/// The approximate size of a line without the texts that callers choose.
const LINE_ROOM: usize = 512;

/// Appends a record's line: JSON with stable names; absent values are left out. JSON escapes line breaks and controls,
/// so no caller can write a line of its own.
pub fn write(record: &AccessRecord, lines: &mut Vec<u8>) {
    let host = record.host.as_deref();
    let chosen = record.path.len() + host.map_or(0, str::len);
    let mut line = JsonLine::begin(lines, LINE_ROOM + chosen);
    line.plain("time", record.at.text().as_bytes());
    asked(record, host, &mut line);
    answered(record, &mut line);
    shown(record, &mut line);
    measured(record, &mut line);
    line.end();
}

fn asked(record: &AccessRecord, host: Option<&str>, line: &mut JsonLine<'_>) {
    line.plain("request_id", record.request_id.text().as_bytes());
    if let Some(id) = &record.hop_request_id {
        line.text("hop_request_id", id);
    }
    if let Some(id) = &record.caller_request_id {
        line.text("caller_request_id", id);
    }
    line.address("client", record.client);
    line.text("method", record.method.as_str());
    if let Some(host) = host {
        line.text("host", host);
    }
    line.text("path", &record.path);
    let protocol = match record.protocol {
        http::Version::HTTP_2 => "h2",
        http::Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    };
    line.plain("protocol", protocol.as_bytes());
}

fn answered(record: &AccessRecord, line: &mut JsonLine<'_>) {
    if let Some(route) = &record.route {
        line.text("route", route);
    }
    line.number("status", record.status.into());
    if let Some(reason) = record.reason.map(Reason::code) {
        line.plain("reason", reason.as_bytes());
    }
    if let Some(cause) = &record.cause {
        line.text("cause", cause);
    }
    if let Some(endpoint) = &record.endpoint {
        line.text("endpoint", endpoint);
    }
    if let Some(name) = &record.dropped_field {
        line.text("dropped_field", name);
    }
}

fn shown(record: &AccessRecord, line: &mut JsonLine<'_>) {
    if let Some(app) = record.app {
        line.plain("app", app.text().as_bytes());
    }
    if let Some(key) = record.key {
        line.plain("key", key.text().as_bytes());
    }
    if let Some(hint) = record.hint {
        line.ours("hint", hint.text().as_bytes());
    }
    if !record.scopes.is_empty() {
        line.words("scopes", record.scopes.iter().map(Scope::as_str));
    }
    if let Some(certificate) = &record.certificate {
        line.plain("certificate", certificate.text().as_bytes());
    }
    if let Some(auth) = record.auth.map(AuthMethod::as_str) {
        line.plain("auth", auth.as_bytes());
    }
}

fn measured(record: &AccessRecord, line: &mut JsonLine<'_>) {
    line.number("duration_us", micros(record.duration));
    if let Some(span) = record.upstream {
        line.number("upstream_us", micros(span));
    }
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;
    use crate::domain::api_key::{Environment, KeyHint, KeyKind, KeyTail};
    use crate::domain::cause::Cause;
    use crate::domain::certificate::SerialNumber;
    use crate::domain::id::{AppId, KeyId, RequestId};
    use crate::domain::scope::ScopeSet;
    use crate::domain::time::Timestamp;
    use crate::telemetry::json_line::is_command;

    /// The same line by a serialiser, which is slower.
    #[derive(Serialize)]
    struct Line<'r> {
        time: String,
        request_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        hop_request_id: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        caller_request_id: Option<&'r str>,
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
        cause: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dropped_field: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        app: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scopes: Option<String>,
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

    fn serialised(record: &AccessRecord) -> String {
        let line = Line {
            time: record.at.to_string(),
            request_id: record.request_id.to_string(),
            hop_request_id: record.hop_request_id.as_deref(),
            caller_request_id: record.caller_request_id.as_deref(),
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
            reason: record.reason.map(Reason::code),
            cause: record.cause.as_deref(),
            endpoint: record.endpoint.as_deref(),
            dropped_field: record.dropped_field.as_deref(),
            app: record.app.map(|id| id.to_string()),
            key: record.key.map(|id| id.to_string()),
            hint: record.hint.map(|hint| hint.to_string()),
            scopes: Some(record.scopes.to_string()).filter(|scopes| !scopes.is_empty()),
            certificate: record.certificate.map(|serial| serial.to_string()),
            auth: record.auth.map(AuthMethod::as_str),
            duration_us: record.duration.as_micros(),
            upstream_us: record.upstream.map(|span| span.as_micros()),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        };
        serde_json::to_string(&line).unwrap() + "\n"
    }

    fn hint(tail: &str) -> KeyHint {
        KeyHint {
            kind: KeyKind::Secret,
            environment: Environment::Test,
            tail: KeyTail::of(tail),
        }
    }

    fn record() -> AccessRecord {
        AccessRecord {
            at: Timestamp::from_unix_seconds(0),
            request_id: RequestId::from_bits(1),
            hop_request_id: None,
            caller_request_id: None,
            client: [192, 0, 2, 1].into(),
            method: http::Method::GET,
            host: Some("a.test".into()),
            path: "/x\r\n{\"status\":200}\u{1b}[31m".into(),
            protocol: http::Version::HTTP_2,
            route: None,
            status: 401,
            reason: Some(Reason::KeyWrong),
            cause: None,
            endpoint: None,
            dropped_field: None,
            app: Some(AppId::from_bits(2)),
            key: None,
            hint: None,
            scopes: ScopeSet::default(),
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

    #[test]
    fn a_line_is_as_readers_know_it() {
        let whole = AccessRecord {
            at: Timestamp::from_unix_millis(1_795_000_000_042),
            hop_request_id: Some("trace/1".into()),
            client: "2001:db8::1".parse().unwrap(),
            path: "/v1/orders/4711".into(),
            protocol: http::Version::HTTP_11,
            route: Some("orders".into()),
            status: 200,
            reason: None,
            key: Some(KeyId::from_bits(3)),
            hint: Some(hint("abcd")),
            scopes: "orders:read orders:write".parse().unwrap(),
            certificate: Some(SerialNumber::from_bytes(&[0x0a, 0xff]).unwrap()),
            auth: Some(AuthMethod::MtlsToken),
            upstream: Some(Duration::from_nanos(999_999)),
            bytes_in: u64::MAX,
            ..record()
        };
        let mut lines = Vec::new();
        write(&whole, &mut lines);
        let expected = "{\"time\":\"2026-11-18T11:06:40.042Z\",\"request_id\":\"req_00000000000000000000000001\",\
            \"hop_request_id\":\"trace/1\",\"client\":\"2001:db8::1\",\"method\":\"GET\",\"host\":\"a.test\",\
            \"path\":\"/v1/orders/4711\",\"protocol\":\"http/1.1\",\"route\":\"orders\",\"status\":200,\
            \"app\":\"app_00000000000000000000000002\",\"key\":\"key_00000000000000000000000003\",\
            \"hint\":\"sk_test_…abcd\",\"scopes\":\"orders:read orders:write\",\
            \"certificate\":\"0aff\",\"auth\":\"mtls+token\",\"duration_us\":1500,\"upstream_us\":999,\
            \"bytes_in\":18446744073709551615,\"bytes_out\":7}\n";
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }

    #[test]
    fn what_we_say_ourselves_needs_no_escape() {
        let causes = Cause::ALL.iter().map(|cause| cause.as_str());
        for plain in Reason::ALL.iter().map(|reason| reason.code()).chain(causes) {
            assert_eq!(
                serde_json::to_string(plain).unwrap(),
                format!("\"{plain}\"")
            );
        }
    }

    fn without_commands(line: &str) -> String {
        let escaped = |character| {
            if is_command(character) {
                format!("\\u{:04x}", u32::from(character))
            } else {
                character.to_string()
            }
        };
        line.chars().map(escaped).collect()
    }

    type Chosen = (String, [Option<String>; 6]);
    type Numbers = (i64, std::net::IpAddr, u16, Duration, Option<Duration>, u64);
    type Ids = (u128, Option<u128>, Option<u128>, Option<[u8; 20]>);

    proptest! {
        /// The lines are equal byte by byte, for any record, but for the escapes of commands to a terminal.
        #[test]
        fn a_line_is_what_a_serialiser_would_write(
            (path, [host, route, hop, cause, caller, dropped]) in any::<Chosen>(),
            (millis, client, status, duration, upstream, bytes) in any::<Numbers>(),
            (request, app, key, serial) in any::<Ids>(),
            (reason, endpoint) in (
                proptest::option::of(proptest::sample::select(Reason::ALL)),
                any::<Option<String>>(),
            ),
            auth in proptest::option::of(proptest::sample::select(&AuthMethod::ALL[..])),
            protocol in proptest::sample::select(vec![
                http::Version::HTTP_10,
                http::Version::HTTP_11,
                http::Version::HTTP_2,
            ]),
        ) {
            // A serialiser prints more digits for a span of more than half a million years.
            let lived = |span: Duration| span.min(Duration::from_micros(u64::MAX));
            let record = AccessRecord {
                at: Timestamp::from_unix_millis(millis),
                request_id: RequestId::from_bits(request),
                hop_request_id: hop.map(Into::into),
                caller_request_id: caller.map(Into::into),
                client,
                method: http::Method::from_bytes(b"M-SEARCH").unwrap(),
                host: host.map(Into::into),
                path: path.into(),
                protocol,
                route: route.map(Into::into),
                status,
                reason,
                cause: cause.map(Into::into),
                endpoint: endpoint.map(Into::into),
                dropped_field: dropped.map(Into::into),
                app: app.map(AppId::from_bits),
                key: key.map(KeyId::from_bits),
                hint: key.map(|_| hint("wXyZ")),
                scopes: if bytes % 2 == 0 { "a b:c".parse().unwrap() } else { ScopeSet::default() },
                certificate: serial.and_then(|serial| SerialNumber::from_bytes(&serial).ok()),
                auth,
                duration: lived(duration),
                upstream: upstream.map(lived),
                bytes_in: bytes,
                bytes_out: !bytes,
            };
            let mut lines = b"before\n".to_vec();
            write(&record, &mut lines);
            let expected = format!("before\n{}", without_commands(&serialised(&record)));
            prop_assert_eq!(String::from_utf8(lines).unwrap(), expected);
        }

        /// Records go into one buffer in order, and come out unchanged.
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
