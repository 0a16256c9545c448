//! The host of a request: one name, however it is spelt and wherever it stands.

use http::{Uri, header};

use crate::domain::request::normal_host;
use crate::proxy::messages::host::LastHost;
use crate::proxy::messages::message::Request;

/// Reads the first line as the field `Host` and the second, if any, as the authority of the target; an empty line is
/// one that was not sent. True when the request has a host.
pub fn check(bytes: &[u8]) -> bool {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let field = lines.next().filter(|line| !line.is_empty());
    let target = lines.next().filter(|line| !line.is_empty());
    let Some(request) = request(field, target) else {
        return false;
    };
    let last = LastHost::default();
    let host = last.of(&request, false).ok();
    let again = last.of(&request, false).ok();
    assert_eq!(host, again, "it depends on the request before");
    let Some(host) = host else {
        return false;
    };
    let name = &*host.name;
    assert!((1..=253).contains(&name.len()));
    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert_eq!(
        normal_host(name).as_deref(),
        Some(name),
        "there are two forms"
    );
    if !name.starts_with('[') {
        assert!(
            !name.contains([':', '/', '@', '?', '#', '%', ' ']),
            "{name:?}"
        );
    }
    let value = host.value.to_str().unwrap();
    assert_eq!(
        normal_host(value).as_deref(),
        Some(name),
        "another host is forwarded"
    );
    for said in [field, target].into_iter().flatten() {
        let said = std::str::from_utf8(said).unwrap();
        assert_eq!(normal_host(said).as_deref(), Some(name), "{said:?} is lost");
    }
    true
}

fn request(field: Option<&[u8]>, target: Option<&[u8]>) -> Option<Request> {
    let mut builder = http::Request::builder();
    if let Some(authority) = target {
        let uri = Uri::builder().scheme("https").authority(authority);
        builder = builder.uri(uri.path_and_query("/").build().ok()?);
    }
    if let Some(field) = field {
        builder = builder.header(header::HOST, field);
    }
    let (parts, ()) = builder.body(()).ok()?.into_parts();
    Some(parts.into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_hosts_keeps_its_properties() {
        super::super::corpus::holds("host", super::check);
    }
}
