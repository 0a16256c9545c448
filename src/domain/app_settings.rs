//! Settings of an App: what an operator decides for one partner, each with a default that asks for nothing new.

use std::sync::Arc;

use super::api_key::Environment;
use super::token::{ClientAuthMethod, ClientAuthMethods};

/// The Keys that an App may have at the same time, where nothing else is set.
pub const KEYS_MAX_DEFAULT: u32 = 20;

/// The largest `keys_max`: a creation counts the App's live Keys.
pub const KEYS_MAX_MOST: u32 = 1000;

/// The largest `certificates_max`, which is that of `authority.profile.active_max` too.
pub const CERTIFICATES_MAX_MOST: u32 = 100;

/// The most callbacks of one App.
pub const CALLBACKS_MAX: usize = 16;

/// The most octets of a callback or another URI of an App.
pub const URI_BYTES_MAX: usize = 500;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$each])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// The places where an App has to show a certificate.
    Mtls {
        /// Nowhere: a certificate is no part of what the App proves at the token endpoint.
        Off = "off",
        /// On the routes that ask for one.
        #[default]
        Optional = "optional",
        /// At the token endpoint, beside the App's other proof.
        TokenEndpoint = "token_endpoint",
        /// On every request that the App authenticates.
        Always = "always",
    }
}

impl Mtls {
    /// True if the App's clients have to show a certificate at the token endpoint.
    pub const fn at_the_token_endpoint(self) -> bool {
        matches!(self, Self::Always | Self::TokenEndpoint)
    }
}

words! {
    /// The need of an auth token, which the partner's own server gets, for a user's session.
    SecureMode {
        #[default]
        Required = "required",
        /// A publishable Key and a user's id are enough. For Apps of the environment `test` only.
        Off = "off",
    }
}

words! {
    /// The certificates that a token counts with, once it was minted over a connection with one, or the need of a DPoP
    /// proof. A proof that a client sends binds its token in any case.
    Binding {
        /// The one certificate (RFC 8705).
        #[default]
        Thumbprint = "thumbprint",
        /// Any certificate of the App that is active.
        App = "app",
        /// The key of a DPoP proof (RFC 9449), without which the App gets no token. No certificate is bound.
        Dpop = "dpop",
        /// None: the token counts on any connection.
        None = "none",
    }
}

words! {
    /// The form of an App's access tokens.
    AccessTokenFormat {
        /// A signed token (RFC 9068), which an upstream can read.
        #[default]
        Jwt = "jwt",
        /// A text that only the gateway reads.
        Opaque = "opaque",
    }
}

/// The public keys by which an App signs assertions and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKeys {
    /// A JWK set as JSON text, which `crypto::jwk` has accepted.
    Inline(Arc<str>),
    /// The URL of one.
    Url(Arc<str>),
}

impl ClientKeys {
    /// The text of the set, if it is here.
    pub fn inline(&self) -> Option<&str> {
        match self {
            Self::Inline(text) => Some(text),
            Self::Url(_) => None,
        }
    }

    /// The URL of the set, if it is elsewhere.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Inline(_) => None,
            Self::Url(url) => Some(url),
        }
    }
}

/// The settings of one App.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSettings {
    pub environment: Environment,
    /// The methods of client authentication that this App may use; all of the configuration's when not set.
    pub auth_methods: Option<ClientAuthMethods>,
    pub mtls: Mtls,
    pub secure_mode: SecureMode,
    pub binding: Binding,
    pub keys: Option<ClientKeys>,
    /// The URIs that notices to this App may go to, compared as they stand.
    pub callbacks: Arc<[Arc<str>]>,
    /// The App's valid certificates at most; the configuration's number when not set.
    pub certificates_max: Option<u32>,
    /// The App's live Keys at most.
    pub keys_max: Option<u32>,
    pub access_token_format: AccessTokenFormat,
}

/// A setting that no App has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    #[error(
        "auth_methods names no method; leave it out, or set it to null, for what the configuration allows"
    )]
    NoMethod,
    #[error("certificates_max is from 1 to {CERTIFICATES_MAX_MOST}; 2 allow rotation")]
    CertificatesMax,
    #[error("keys_max is from 1 to {KEYS_MAX_MOST}")]
    KeysMax,
    #[error("an App has at most {CALLBACKS_MAX} callbacks")]
    TooManyCallbacks,
    #[error("the callback {0:?} is written twice")]
    RepeatedCallback(String),
    #[error(
        "the callback {0:?} is no https URL of at most {URI_BYTES_MAX} visible ASCII characters, without user and fragment"
    )]
    Callback(String),
    #[error(
        "secure_mode is off for Apps of the environment test only: anyone who knows a user's id could read as that user"
    )]
    SecureModeOff,
}

impl AppSettings {
    /// True if the App's clients may authenticate by this method, on a connection with a certificate or without.
    pub fn admit(&self, method: ClientAuthMethod, certificate: bool) -> bool {
        self.permit(method) && (certificate || !self.mtls.at_the_token_endpoint())
    }

    /// True if the App's clients may authenticate by this method, on the right connection.
    pub fn permit(&self, method: ClientAuthMethod) -> bool {
        let methods = self.auth_methods.as_ref();
        let off = self.mtls == Mtls::Off && method.is_certificate_alone();
        !off && methods.is_none_or(|methods| methods.accept(method))
    }

    /// The App's live Keys at most.
    pub fn keys_max(&self) -> u32 {
        self.keys_max.unwrap_or(KEYS_MAX_DEFAULT)
    }

    /// Checks every setting, and what they mean together.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        let methods = self.auth_methods.as_ref();
        if methods.is_some_and(|methods| methods.names().is_empty()) {
            return Err(InvalidSettings::NoMethod);
        }
        if !within(self.certificates_max, CERTIFICATES_MAX_MOST) {
            return Err(InvalidSettings::CertificatesMax);
        }
        if !within(self.keys_max, KEYS_MAX_MOST) {
            return Err(InvalidSettings::KeysMax);
        }
        if self.secure_mode == SecureMode::Off && self.environment != Environment::Test {
            return Err(InvalidSettings::SecureModeOff);
        }
        self.check_callbacks()
    }

    fn check_callbacks(&self) -> Result<(), InvalidSettings> {
        if self.callbacks.len() > CALLBACKS_MAX {
            return Err(InvalidSettings::TooManyCallbacks);
        }
        for (place, callback) in self.callbacks.iter().enumerate() {
            // The text is repeated as far as it can be one: an answer stays small.
            let shown = || callback.chars().take(URI_BYTES_MAX).collect();
            if !is_https_url(callback) {
                return Err(InvalidSettings::Callback(shown()));
            }
            if self
                .callbacks
                .iter()
                .take(place)
                .any(|other| other == callback)
            {
                return Err(InvalidSettings::RepeatedCallback(shown()));
            }
        }
        Ok(())
    }
}

fn within(number: Option<u32>, most: u32) -> bool {
    number.is_none_or(|number| (1..=most).contains(&number))
}

/// True if the text is an `https` URL with a host, and without a user, a fragment and what is read in two ways.
pub fn is_https_url(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}#"#.contains(&byte);
    if text.len() > URI_BYTES_MAX || !text.bytes().all(plain) {
        return false;
    }
    let Some(rest) = text.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    is_host(host) && port.is_none_or(is_port)
}

fn is_host(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = address {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !host.is_empty() && host.bytes().all(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_callbacks(callbacks: &[&str]) -> AppSettings {
        AppSettings {
            callbacks: callbacks.iter().map(|text| Arc::from(*text)).collect(),
            ..AppSettings::default()
        }
    }

    #[test]
    fn the_defaults_ask_for_nothing_new() {
        let settings = AppSettings::default();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.auth_methods, None);
        assert_eq!(settings.mtls, Mtls::Optional);
        assert_eq!(settings.binding, Binding::Thumbprint);
        assert_eq!(settings.keys_max(), 20);
    }

    #[test]
    fn each_setting_has_its_bounds() {
        use InvalidSettings as I;
        let set = |change: fn(&mut AppSettings)| {
            let mut settings = AppSettings::default();
            change(&mut settings);
            settings.check()
        };
        assert_eq!(
            set(|s| s.certificates_max = Some(0)),
            Err(I::CertificatesMax)
        );
        assert_eq!(
            set(|s| s.certificates_max = Some(101)),
            Err(I::CertificatesMax)
        );
        assert_eq!(set(|s| s.certificates_max = Some(100)), Ok(()));
        assert_eq!(set(|s| s.keys_max = Some(0)), Err(I::KeysMax));
        assert_eq!(set(|s| s.keys_max = Some(1001)), Err(I::KeysMax));
        let none = set(|s| s.auth_methods = Some(ClientAuthMethods::new(&[])));
        assert_eq!(none, Err(I::NoMethod));
        assert_eq!(
            set(|s| s.secure_mode = SecureMode::Off),
            Err(I::SecureModeOff)
        );
        let test = set(|s| {
            s.secure_mode = SecureMode::Off;
            s.environment = Environment::Test;
        });
        assert_eq!(test, Ok(()));
    }

    #[test]
    fn callbacks_are_https_urls_that_are_read_in_one_way() {
        let long = format!("https://a.test/{}", "a".repeat(URI_BYTES_MAX));
        for good in [
            "https://a.test",
            "https://a.test:8443/hook?x=1",
            "https://[2001:db8::1]:8443/hook",
            "https://192.0.2.1/%20",
        ] {
            assert_eq!(with_callbacks(&[good]).check(), Ok(()), "{good}");
        }
        for bad in [
            "",
            "http://a.test",
            "https://",
            "https:///path",
            "https://a.test:0/",
            "https://a.test:99999/",
            "https://a.test:/",
            "https://user@a.test/",
            "https://a.test/#part",
            "https://a.test/ b",
            "https://a.test\\b",
            "https://[::1/",
            "https://z\u{fc}rich.test/",
            "ftp://a.test",
            &long,
        ] {
            let refused = with_callbacks(&[bad]).check();
            assert!(
                matches!(refused, Err(InvalidSettings::Callback(_))),
                "{bad}"
            );
        }
        let twice = with_callbacks(&["https://a.test", "https://a.test"]).check();
        assert!(matches!(twice, Err(InvalidSettings::RepeatedCallback(_))));
        let many: Vec<String> = (0..17).map(|n| format!("https://a.test/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            with_callbacks(&many).check(),
            Err(InvalidSettings::TooManyCallbacks)
        );
    }
}
