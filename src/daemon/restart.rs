//! The settings that only a restart changes.

use crate::config::root::Config;

/// The settings that differ and that the running process read only once, when it started.
///
/// Every other setting is in the [`World`](super::world::World) that a reload replaces.
pub fn needed(running: &Config, new: &Config) -> Vec<String> {
    let (was, is) = (&running.listeners.partners, &new.listeners.partners);
    let (was_tokens, tokens) = (&running.tokens, &new.tokens);
    // TLS contains the offer of HTTP/2, and a reload replaces TLS.
    let mut was_http = was.http.clone();
    was_http.http2 = is.http.http2;
    let settings = [
        ("workers", running.workers == new.workers),
        (
            "data_directory",
            running.data_directory() == new.data_directory(),
        ),
        ("listeners.partners.address", was.address == is.address),
        (
            "listeners.partners.connections_max",
            was.connections_max == is.connections_max,
        ),
        (
            "listeners.partners.connections_per_address",
            was.connections_per_address == is.connections_per_address,
        ),
        ("listeners.partners.tcp", was.tcp == is.tcp),
        (
            "listeners.partners.proxy_protocol",
            was.proxy_protocol == is.proxy_protocol,
        ),
        (
            "listeners.partners.forwarded",
            was.forwarded == is.forwarded,
        ),
        ("listeners.partners.timeouts", was.timeouts == is.timeouts),
        ("listeners.partners.http", was_http == is.http),
        (
            "listeners.partners.auth_failures",
            was.auth_failures == is.auth_failures,
        ),
        ("admin.address", running.admin.address == new.admin.address),
        ("admin.socket", running.admin_socket() == new.admin_socket()),
        ("admin.tcp", running.admin.tcp == new.admin.tcp),
        ("ops.address", running.ops.address == new.ops.address),
        ("ops.tcp", running.ops.tcp == new.ops.tcp),
        (
            "authority.directory",
            running.authority_directory() == new.authority_directory(),
        ),
        ("tokens.ttl", was_tokens.ttl == tokens.ttl),
        ("tokens.ttl_bound", was_tokens.ttl_bound == tokens.ttl_bound),
        (
            "tokens.signing_key",
            running.token_signing_key() == new.token_signing_key(),
        ),
        ("keys.pepper", running.keys.pepper == new.keys.pepper),
        ("store.url", running.store_path() == new.store_path()),
        ("access_log", running.access_log == new.access_log),
        ("log", running.log == new.log),
        ("metrics", running.metrics == new.metrics),
        ("drain", running.drain == new.drain),
    ];
    let changed = settings.into_iter().filter(|(_, same)| !same);
    changed.map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::config::span::Span;

    #[test]
    fn what_a_reload_replaces_needs_no_restart_and_the_rest_does() {
        let running = Config::default();
        let mut new = running.clone();
        new.tls.client_auth.mode = crate::config::tls::ClientAuthMode::Required;
        new.tokens.issuer = Some("https://a.test".to_owned());
        new.authority.profile.active_max = 7;
        new.listeners.partners.http.http2 = false;
        assert_eq!(needed(&running, &new), Vec::<String>::new());
        new.workers = NonZeroU16::new(3);
        new.listeners.partners.http.headers_max = 7;
        new.tokens.ttl = Span::from_secs(7);
        new.drain.timeout = Span::from_secs(7);
        new.listeners.partners.tcp.nodelay = false;
        new.ops.tcp.nodelay = false;
        assert_eq!(
            needed(&running, &new),
            [
                "workers",
                "listeners.partners.tcp",
                "listeners.partners.http",
                "ops.tcp",
                "tokens.ttl",
                "drain"
            ]
        );
        // A data directory that moves takes its files along.
        let mut moved = running.clone();
        moved.data_directory = "/elsewhere".into();
        assert_eq!(needed(&running, &moved).len(), 5);
    }
}
