//! Field names with other characters than letters, digits and hyphens. Many servers read `x_user` or `x.user` as
//! `x-user`, so a name is judged as the one that it folds to.

use http::HeaderName;

use super::headers::{Family, family, folded, is_ours, is_plain};
use crate::domain::header_names::HeaderNames;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::messages::offence::Offence;

/// The fields that were removed from a request because of their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Those that imitate identity headers.
    pub imitated: Vec<Family>,
    /// All others.
    pub dropped: u64,
    /// The first one's name, for the record.
    pub first: Option<String>,
}

/// True if there is any such name. One that stands for a field that frames or routes a message is refused for every
/// host: a server that folds it reads another request than the one that was judged.
pub fn look(fields: &FieldList) -> Result<bool, Offence> {
    let mut any = false;
    for name in fields.names().filter(|name| !is_plain(name.as_str())) {
        any = true;
        let folded = folded(name.as_str());
        if frames(folded.trim_matches('-')) {
            let says = "A field name stands for one that frames or routes the request";
            let sent = name.as_str().as_bytes();
            return Err(Offence::new("framing_name", says, None, sent));
        }
    }
    Ok(any)
}

/// Refuses a request for its odd names, where the host's rule is to refuse them.
pub fn judge(fields: &FieldList, rule: HeaderNames) -> Result<(), Offence> {
    let odd = |name: &&HeaderName| !is_plain(name.as_str());
    let first = Some(fields).filter(|_| rule == HeaderNames::Refuse);
    match first.and_then(|fields| fields.names().find(odd)) {
        Some(name) => {
            let says = "A field name has other characters than letters, digits and hyphens";
            let sent = name.as_str().as_bytes();
            Err(Offence::new("header_name", says, None, sent))
        }
        None => Ok(()),
    }
}

/// Removes the fields that do not pass by the host's rule for odd names.
///
/// `caller_id` is the name under which the caller's own request id is forwarded; only the gateway may set it.
pub fn remove(
    fields: &mut FieldList,
    rule: HeaderNames,
    caller_id: Option<&HeaderName>,
) -> Removed {
    let odd = || fields.names().filter(|name| !is_plain(name.as_str()));
    let kept: Vec<_> = odd()
        .filter(|name| rule == HeaderNames::Pass && is_harmless(name.as_str(), fields, caller_id))
        .cloned()
        .collect();
    let mut removed = Removed::default();
    fields.retain(|name, _| {
        if is_plain(name.as_str()) || kept.contains(name) {
            return true;
        }
        match family(name.as_str()) {
            Some(imitated) => removed.imitated.push(imitated),
            None => removed.dropped += 1,
        }
        removed
            .first
            .get_or_insert_with(|| name.as_str().to_owned());
        false
    });
    removed
}

/// True if a name folds to no field that the gateway sets, removes or decides by, and to no field of the same request.
fn is_harmless(name: &str, fields: &FieldList, caller_id: Option<&HeaderName>) -> bool {
    let folded = folded(name);
    let name = folded.trim_matches('-');
    let meant = |known: &str| known == name || known == folded;
    family(name).is_none()
        && !is_ours(name)
        && !decides(name)
        && !fields
            .names()
            .chain(caller_id)
            .any(|known| meant(known.as_str()))
}

/// True for fields that frame, route or upgrade a message, or are about one connection.
fn frames(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// True for fields of which the gateway or the API judges one spelling, so that no other one may reach it.
fn decides(name: &str) -> bool {
    frames(name)
        || name.starts_with("sec-")
        || name.starts_with("access-control-")
        || matches!(
            name,
            "content-encoding"
                | "content-range"
                | "content-type"
                | "cookie"
                | "origin"
                | "range"
                | "referer"
                | "traceparent"
                | "tracestate"
        )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn list(names: &[&str]) -> FieldList {
        let mut fields = FieldList::new();
        for name in names {
            fields.append(name.parse().unwrap(), HeaderValue::from_static("1"));
        }
        fields
    }

    fn left(names: &[&str], rule: HeaderNames) -> (Vec<String>, Removed) {
        let mut fields = list(names);
        let removed = remove(&mut fields, rule, None);
        let left = fields.names().map(|name| name.as_str().to_owned());
        (left.collect(), removed)
    }

    #[test]
    fn a_name_that_means_nothing_is_dropped_and_counted() {
        let names = ["accept", "ot-trace_id", "x.b3", "x_real_ip"];
        let (left, removed) = left(&names, HeaderNames::Drop);
        assert_eq!(left, ["accept"]);
        assert_eq!(
            (removed.dropped, removed.first.as_deref()),
            (2, Some("ot-trace_id"))
        );
        assert_eq!(removed.imitated, [Family::Origin]);
    }

    #[test]
    fn a_host_may_refuse_them_by_name() {
        let odd = list(&["accept", "ot-trace_id"]);
        let refused = judge(&odd, HeaderNames::Refuse).unwrap_err();
        assert_eq!(refused.to_string(), "header_name: ot-trace_id");
        assert_eq!(judge(&list(&["accept"]), HeaderNames::Refuse), Ok(()));
        for other in [HeaderNames::Drop, HeaderNames::Pass] {
            assert_eq!(judge(&odd, other), Ok(()), "{other:?}");
        }
    }

    #[test]
    fn what_passes_stands_for_nothing_that_matters() {
        let good = ["ot-trace_id", "grpc.tags_bin", "a!b", "_x"];
        assert_eq!(left(&good, HeaderNames::Pass).0, good);
        for name in [
            "x_countersign_app_id",
            "client_cert",
            "x_forwarded_for",
            "x_request_id",
            "authorization_",
            "x_api_key",
            "content_type",
            "proxy_authorization",
            "_cookie",
            "sec_websocket_key",
            "x.real~ip",
        ] {
            assert_eq!(left(&[name], HeaderNames::Pass).0, [""; 0], "{name}");
        }
        let (left, _) = left(&["x-user", "x_user"], HeaderNames::Pass);
        assert_eq!(left, ["x-user"], "two spellings of one field");
        let name = HeaderName::from_static("x-caller-id");
        let mut fields = list(&["x_caller.id", "x_other"]);
        remove(&mut fields, HeaderNames::Pass, Some(&name));
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn a_name_that_frames_is_refused_whatever_the_host_says() {
        for name in [
            "transfer_encoding",
            "content.length",
            "_host",
            "connection~",
            "keep_alive",
            "http2_settings",
            "te_",
        ] {
            let found = look(&list(&["accept", name]));
            assert_eq!(found.unwrap_err().rule, "framing_name", "{name}");
        }
        assert_eq!(look(&list(&["accept", "ot-trace_id"])), Ok(true));
        assert_eq!(look(&list(&["accept", "x-plain-1"])), Ok(false));
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_field_that_matters_passes(
            known in proptest::sample::select(vec![
                "x-countersign-app-id", "x-forwarded-for", "forwarded", "authorization", "x-api-key", "x-request-id",
                "content-length", "transfer-encoding", "host", "client-cert", "remote-user", "cookie", "content-type",
            ]),
            letter in proptest::sample::select(b"!#$%&'*+.^_`|~".to_vec()),
            end in any::<bool>(),
        ) {
            let letter = char::from(letter).to_string();
            let spelt = if end || !known.contains('-') {
                format!("{known}{letter}")
            } else {
                known.replacen('-', &letter, 1)
            };
            let mut fields = list(&[&spelt]);
            if look(&fields).is_ok() {
                remove(&mut fields, HeaderNames::Pass, None);
                prop_assert!(fields.is_empty(), "{}", spelt);
            }
        }
    }
}
