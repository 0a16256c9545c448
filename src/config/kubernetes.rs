//! Variables that Kubernetes sets in every container for each Service of the namespace.
//!
//! A Service named `countersign` or `countersign-admin` makes names that begin as our settings do:
//! `COUNTERSIGN_SERVICE_HOST`, `COUNTERSIGN_PORT=tcp://…`, `COUNTERSIGN_ADMIN_PORT_7443_TCP_ADDR`.

use std::net::IpAddr;

/// True if Kubernetes sets a variable of this name to this value. `setting` is the name without our prefix. A setting
/// that is misspelt as one of these names has another value, and stays a mistake.
pub fn is_of_a_service(setting: &str, value: &str) -> bool {
    // Between sections a setting has two underscores; a Service's name becomes one word with single ones.
    if setting.contains("__") {
        return false;
    }
    let words: Vec<&str> = setting.split('_').collect();
    let at = |word: &str| words.iter().position(|found| *found == word);
    if let Some(rest) = at("SERVICE").and_then(|place| words.get(place + 1..)) {
        return match rest {
            ["HOST"] => is_address(value),
            ["PORT", ..] => is_port(value),
            _ => false,
        };
    }
    let Some(rest) = at("PORT").and_then(|place| words.get(place + 1..)) else {
        return false;
    };
    match rest {
        [] => is_link(value),
        [port, protocol, rest @ ..] if is_port(port) && is_protocol(protocol) => match rest {
            [] => is_link(value),
            ["ADDR"] => is_address(value),
            ["PORT"] => is_port(value),
            ["PROTO"] => is_protocol(value),
            _ => false,
        },
        _ => false,
    }
}

/// `tcp://10.0.0.11:8443`
fn is_link(value: &str) -> bool {
    let Some((protocol, rest)) = value.split_once("://") else {
        return false;
    };
    let address = rest.rsplit_once(':');
    is_protocol(protocol) && address.is_some_and(|(host, port)| is_address(host) && is_port(port))
}

fn is_address(value: &str) -> bool {
    let inner = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(value).parse::<IpAddr>().is_ok()
}

fn is_port(value: &str) -> bool {
    value.parse::<u16>().is_ok()
}

fn is_protocol(value: &str) -> bool {
    ["sctp", "tcp", "udp"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_is_known_by_name_and_value() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.171.239"),
            ("SERVICE_HOST", "fd00::1"),
            ("SERVICE_PORT", "8443"),
            ("SERVICE_PORT_HTTPS", "8443"),
            ("SERVICE_PORT_HTTPS_ALT", "8443"),
            ("PORT", "tcp://10.0.171.239:8443"),
            ("PORT", "tcp://[fd00::1]:8443"),
            ("PORT_8443_TCP", "tcp://10.0.171.239:8443"),
            ("PORT_8443_TCP_PROTO", "tcp"),
            ("PORT_8443_TCP_PORT", "8443"),
            ("PORT_8443_TCP_ADDR", "10.0.171.239"),
            ("PORT_53_UDP_ADDR", "10.0.171.239"),
            ("ADMIN_SERVICE_HOST", "10.0.171.239"),
            ("ADMIN_PORT", "tcp://10.0.171.239:7443"),
            ("ADMIN_API_PORT_7443_TCP_ADDR", "10.0.171.239"),
        ] {
            assert!(is_of_a_service(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_setting_that_is_misspelt_is_no_service() {
        for (name, value) in [
            ("PORT", "8443"),
            ("PORT", "tcp://nonsense"),
            ("SERVICE_HOST", "api.example.com"),
            ("SERVICE_PORT", "https"),
            ("SERVICE", "10.0.0.1"),
            ("ADMIN_PORT", "7443"),
            ("ADMIN__PORT", "tcp://10.0.171.239:7443"),
            ("LISTENERS__PARTNERS__SERVICE_HOST", "10.0.0.1"),
            ("PORT_HTTPS", "8443"),
            ("PORT_8443_TCP_NAME", "x"),
            ("WROKERS", "2"),
            ("ADMIN_ADDRESS", "10.0.0.1"),
        ] {
            assert!(!is_of_a_service(name, value), "{name}={value}");
        }
    }
}
