//! Fields about a request's way: `Forwarded`, `X-Forwarded-…`, request ids and trace contexts.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue};

use crate::crypto::random;
use crate::domain::id::{RequestId, encode};
use crate::domain::time::Timestamp;

use crate::proxy::codec::field_list::FieldList;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest request id of a trusted hop that is accepted.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Adds the origin of a request whose sender is not trusted to name it.
pub fn push_origin(
    fields: &mut Vec<(HeaderName, HeaderValue)>,
    address: IpAddr,
    host: &HeaderValue,
) {
    push(fields, FORWARDED, &forwarded(address, host));
    push(fields, FORWARDED_FOR, &address.to_string());
    if !host.is_empty() {
        fields.push((FORWARDED_HOST, host.clone()));
    }
    fields.push((FORWARDED_PROTO, HeaderValue::from_static("https")));
}

fn push(fields: &mut Vec<(HeaderName, HeaderValue)>, name: HeaderName, text: &str) {
    // Every text here consists of letters, digits and a few signs that fields allow; any other is left out.
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.push((name, value));
    }
}

/// One element of `Forwarded` (RFC 7239): an IPv6 address, and a host with a port, stand in quotes.
fn forwarded(address: IpAddr, host: &HeaderValue) -> String {
    let host = host.to_str().unwrap_or_default();
    let quote = if host.contains([':', '[']) { "\"" } else { "" };
    let host = match host {
        "" => String::new(),
        host => format!("host={quote}{host}{quote};"),
    };
    match address {
        IpAddr::V4(address) => format!("for={address};{host}proto=https"),
        IpAddr::V6(address) => format!("for=\"[{address}]\";{host}proto=https"),
    }
}

/// Keeps the fields of a trusted hop, and appends the hop itself.
pub fn append_forwarding(fields: &mut FieldList, address: IpAddr, host: &HeaderValue) {
    append(fields, &FORWARDED_FOR, &address.to_string());
    append(fields, &FORWARDED, &forwarded(address, host));
    if !fields.contains(&FORWARDED_HOST) && !host.is_empty() {
        fields.append(FORWARDED_HOST, host.clone());
    }
    if !fields.contains(&FORWARDED_PROTO) {
        fields.append(FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
}

fn append(fields: &mut FieldList, name: &HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in fields.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        fields.insert(name.clone(), value);
    }
}

/// The names of a request.
#[derive(Clone, Debug)]
pub struct RequestName {
    /// The id in the record of the exchange.
    pub id: RequestId,
    /// The value in answers and at the upstream: a trusted hop's own spelling, or ours.
    pub value: HeaderValue,
}

impl RequestName {
    /// A trusted hop's name for the request, if its form differs from ours.
    pub fn spelling(&self) -> Option<&str> {
        let text = self.value.to_str().ok()?;
        (text.parse().ok() != Some(self.id)).then_some(text)
    }
}

/// The request's id: a trusted hop's, or a new one.
pub fn name_request(fields: &FieldList, trusted_hop: bool, now: Timestamp) -> RequestName {
    let given = Some(fields)
        .filter(|_| trusted_hop)
        .and_then(|fields| fields.get(&REQUEST_ID))
        .filter(|value| is_request_id(value));
    if let Some(value) = given {
        return RequestName {
            id: read_id(value).unwrap_or_else(|| new_id(now)),
            value: passing(value.clone()),
        };
    }
    let id = new_id(now);
    let mut text = *b"req_00000000000000000000000000";
    if let Some(digits) = text.last_chunk_mut() {
        *digits = encode(id.into());
    }
    RequestName {
        id,
        value: passing(
            HeaderValue::from_bytes(&text).expect("an id is of letters, digits and '_'"),
        ),
    }
}

/// The caller's own name for its request: visible ASCII, up to the longest name. A trusted hop's is the request's own
/// name.
pub fn caller_name(fields: &FieldList, trusted_hop: bool) -> Option<&str> {
    if trusted_hop {
        return None;
    }
    let given = fields.one(&REQUEST_ID).ok()??.as_bytes();
    let kept = given.get(..REQUEST_ID_CHARS_MAX).unwrap_or(given);
    let visible = !kept.is_empty() && kept.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(kept).ok().filter(|_| visible)
}

/// A value that never comes again. HTTP/2 would put it into its dynamic table (RFC 7541, 2.3.2), where it evicts those
/// that do, and would search all of its name for each message; a value marked sensitive is left out.
pub fn passing(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn new_id(now: Timestamp) -> RequestId {
    RequestId::from_bits(random::id_bits(now))
}

fn is_request_id(value: &HeaderValue) -> bool {
    (1..=REQUEST_ID_CHARS_MAX).contains(&value.len())
        && value
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

/// The 128 bits of an id of ours, of a UUID, or of 32 hexadecimal digits, by which the record can be found.
fn read_id(value: &HeaderValue) -> Option<RequestId> {
    let text = value.to_str().ok()?;
    if let Ok(id) = text.parse() {
        return Some(id);
    }
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    let uuid = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bits = uuid.then(|| u128::from_str_radix(&digits, 16))?;
    bits.ok().map(RequestId::from_bits)
}

/// Keeps a valid `traceparent` (W3C Trace Context) or begins a trace of our own.
pub fn trace(fields: &mut FieldList) {
    let given = fields.one(&TRACEPARENT);
    if given.is_ok_and(|value| value.is_some_and(is_traceparent)) {
        return;
    }
    fields.remove(&TRACESTATE);
    fields.insert(
        TRACEPARENT,
        passing(HeaderValue::from_bytes(&new_trace()).expect("hexadecimal digits and hyphens")),
    );
}

/// A trace of our own, not sampled: the ids between the hyphens are random, and never zero.
fn new_trace() -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let mut put = |at: std::ops::Range<usize>, bits: &[u8]| {
        if let Some(place) = text.get_mut(at) {
            HEXLOWER.encode_mut(bits, place);
        }
    };
    put(
        3..35,
        &(u128::from_be_bytes(random::distinct()) | 1).to_be_bytes(),
    );
    put(
        36..52,
        &(u64::from_be_bytes(random::distinct()) | 1).to_be_bytes(),
    );
    text
}

fn is_traceparent(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split('-');
    let mut part = |length: usize, zero_allowed: bool| {
        parts.next().is_some_and(|digits| {
            digits.len() == length
                && digits
                    .bytes()
                    .all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
                && (zero_allowed || digits.bytes().any(|digit| digit != b'0'))
        })
    };
    let known = part(2, true) && part(32, false) && part(16, false) && part(2, true);
    // Later versions may add parts; version 00 has exactly these, and ff is never one.
    known && !text.starts_with("ff") && (parts.next().is_none() || !text.starts_with("00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn a_caller_is_forwarded_with_its_address_host_and_scheme() {
        let check = |address: &str, host: &str, expected: &str| {
            let mut fields = Vec::new();
            push_origin(&mut fields, address.parse().unwrap(), &value(host));
            assert_eq!(fields[0].1, expected);
            assert_eq!(fields.len(), 4);
        };
        check(
            "192.0.2.1",
            "api.example.com",
            "for=192.0.2.1;host=api.example.com;proto=https",
        );
        check(
            "2001:db8::1",
            "api.example.com:8443",
            "for=\"[2001:db8::1]\";host=\"api.example.com:8443\";proto=https",
        );
    }

    #[test]
    fn a_trusted_hop_is_appended_to() {
        let mut fields = FieldList::new();
        fields.append(FORWARDED_FOR, value("203.0.113.7"));
        fields.append(FORWARDED_FOR, value("198.51.100.1"));
        fields.append(FORWARDED_PROTO, value("http"));
        append_forwarding(&mut fields, HERE, &value("api.example.com"));
        let one = |name: &str| {
            let value = fields.one(&name.parse().unwrap()).unwrap();
            value.unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(
            one("x-forwarded-for"),
            "203.0.113.7, 198.51.100.1, 192.0.2.1"
        );
        assert_eq!(one("x-forwarded-proto"), "http");
        assert_eq!(one("x-forwarded-host"), "api.example.com");
        assert_eq!(
            one("forwarded"),
            "for=192.0.2.1;host=api.example.com;proto=https"
        );
    }

    #[test]
    fn what_never_comes_again_takes_no_place_in_tables() {
        let now = Timestamp::from_unix_seconds(1);
        assert!(
            name_request(&FieldList::new(), false, now)
                .value
                .is_sensitive()
        );
        let mut given = FieldList::new();
        given.append(REQUEST_ID, value("abc"));
        assert!(name_request(&given, true, now).value.is_sensitive());
        assert!(traced(&[])["traceparent"].is_sensitive());
    }

    #[test]
    fn only_a_trusted_hop_names_a_request() {
        let now = Timestamp::from_unix_seconds(1);
        let named = |text: &str, trusted: bool| {
            let mut fields = FieldList::new();
            fields.append(REQUEST_ID, value(text));
            name_request(&fields, trusted, now)
        };
        let uuid = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_ne!(named(uuid, false).value, uuid);
        assert_eq!(named(uuid, true).value, uuid);
        assert_eq!(
            u128::from(named(uuid, true).id),
            0x0190_163d_8694_739b_aea5_966c_26f8_ad91
        );
        assert_eq!(named(uuid, true).spelling(), Some(uuid));
        assert_eq!(named("abc/1", true).value, "abc/1");
        assert_eq!(named("abc/1", true).spelling(), Some("abc/1"));
        assert_ne!(named("a b", true).value, "a b");
        assert_ne!(named(&"x".repeat(129), true).value, "x".repeat(129));
        let ours = name_request(&FieldList::new(), true, now);
        assert_eq!(ours.value, ours.id.to_string());
        assert_eq!(ours.spelling(), None);
        let again = named(ours.value.to_str().unwrap(), true);
        assert_eq!((again.id, again.spelling()), (ours.id, None));
    }

    #[test]
    fn a_callers_own_name_for_its_request_is_visible_and_short() {
        let named = |texts: &[&str], hop: bool| {
            let mut fields = FieldList::new();
            for text in texts {
                fields.append(REQUEST_ID, HeaderValue::from_str(text).unwrap());
            }
            caller_name(&fields, hop).map(str::to_owned)
        };
        assert_eq!(
            named(&["a/b{1}\"x\""], false).as_deref(),
            Some("a/b{1}\"x\"")
        );
        assert_eq!(named(&[&"x".repeat(500)], false), Some("x".repeat(128)));
        for none in [&[""][..], &["a b"], &["é"], &["a", "b"], &[]] {
            assert_eq!(named(none, false), None, "{none:?}");
        }
        assert_eq!(named(&["a"], true), None);
    }

    #[test]
    fn a_valid_trace_is_kept_and_any_other_replaced() {
        let check = |text: &str, kept: bool| {
            let fields = traced(&[text]);
            assert_eq!(fields["traceparent"] == text, kept, "{text}");
            assert_eq!(fields.contains(&TRACESTATE), kept, "{text}");
            assert!(is_traceparent(&fields["traceparent"]), "{text}");
        };
        let rest = "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check(&format!("00{rest}"), true);
        check(&format!("cc{rest}-extra"), true);
        check(&format!("00{rest}-extra"), false);
        check(&format!("ff{rest}"), false);
        check(&format!("00{rest}").to_uppercase(), false);
        check(
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            false,
        );
        check(
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            false,
        );
        check("", false);
        check("nonsense", false);
    }

    fn traced(traceparents: &[&str]) -> FieldList {
        let mut fields = FieldList::new();
        for text in traceparents {
            fields.append(TRACEPARENT, value(text));
        }
        fields.append(TRACESTATE, value("a=1"));
        trace(&mut fields);
        fields
    }

    proptest! {
        #[test]
        fn a_trace_is_kept_whole_or_begun_anew(
            trace_id in 1..u128::MAX,
            span in 1..u64::MAX,
            flags in any::<u8>(),
            place in 0..55_usize,
            letter in "[ -~]",
        ) {
            let good = format!("00-{trace_id:032x}-{span:016x}-{flags:02x}");
            let kept = traced(&[&good]);
            prop_assert_eq!(kept["traceparent"].as_bytes(), good.as_bytes());
            prop_assert!(kept.contains(&TRACESTATE));
            // Two are ignored: upstreams could take either.
            let one = traced(&[&good, &good]);
            prop_assert_eq!(one.get_all(&TRACEPARENT).count(), 1);
            prop_assert!(one["traceparent"].as_bytes() != good.as_bytes());
            // An invalid character begins another trace.
            let mut bad = good;
            bad.replace_range(place..=place, &letter);
            let hyphens = [2, 35, 52].contains(&place) == (letter == "-");
            let digits = letter == "-" || letter.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
            if !hyphens || !digits {
                prop_assert!(traced(&[&bad])["traceparent"].as_bytes() != bad.as_bytes(), "{}", bad);
            }
        }

        #[test]
        fn what_goes_on_is_always_one_valid_trace(text in "[ -~]{0,70}") {
            let headers = traced(&[&text]);
            prop_assert_eq!(headers.get_all(&TRACEPARENT).count(), 1);
            prop_assert!(is_traceparent(&headers["traceparent"]));
            let kept = headers["traceparent"].as_bytes() == text.as_bytes();
            prop_assert_eq!(headers.contains(&TRACESTATE), kept);
        }

        #[test]
        fn a_request_is_named_in_plain_letters(
            text in prop_oneof!["[ -~]{0,140}", "[a-zA-Z0-9._:/+=-]{0,140}"],
            trusted in any::<bool>(),
        ) {
            let mut fields = FieldList::new();
            fields.append(REQUEST_ID, value(&text));
            let name = name_request(&fields, trusted, Timestamp::from_unix_seconds(1));
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
            prop_assert!(name.value.as_bytes().iter().all(plain));
            prop_assert!((1..=REQUEST_ID_CHARS_MAX).contains(&name.value.len()));
            let fits = trusted
                && (1..=128).contains(&text.len())
                && text.as_bytes().iter().all(plain);
            prop_assert_eq!(name.value.as_bytes() == text.as_bytes(), fits);
            if !fits {
                prop_assert_eq!(name.value.to_str().unwrap(), name.id.to_string());
            }
        }

        /// The record is found by every spelling of the same 128 bits.
        #[test]
        fn an_id_of_128_bits_is_the_records_own(bits in any::<u128>()) {
            let uuid = uuid::Uuid::from_u128(bits);
            for text in [
                uuid.hyphenated().to_string(),
                uuid.simple().to_string().to_uppercase(),
                RequestId::from_bits(bits).to_string(),
            ] {
                prop_assert_eq!(read_id(&value(&text)).map(u128::from), Some(bits), "{}", text);
            }
        }

        #[test]
        fn an_element_of_forwarded_is_one_element(
            octets in any::<[u8; 16]>(),
            four in any::<bool>(),
            host in "[a-z0-9.-]{1,20}(:[0-9]{1,5})?",
        ) {
            let address = match octets {
                [a, b, c, d, ..] if four => IpAddr::from([a, b, c, d]),
                octets => IpAddr::from(octets),
            };
            let text = forwarded(address, &value(&host));
            let parts: Vec<&str> = text.split(';').collect();
            let [by, at, proto] = parts[..] else {
                panic!("{text}");
            };
            let bare = |part: &str, name: &str| part.strip_prefix(name).unwrap().replace('"', "");
            let by = bare(by, "for=").replace(['[', ']'], "");
            prop_assert_eq!(by.parse::<IpAddr>().unwrap(), address);
            prop_assert_eq!((bare(at, "host="), proto), (host, "proto=https"));
            prop_assert!(!text.contains(','));
        }
    }
}
