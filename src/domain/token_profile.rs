//! The profile of the token service: the standard that it keeps to, beyond what is always refused.

use serde::{Deserialize, Serialize};

use super::token::ClientAuthMethod;

/// The profile of the token service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenProfile {
    /// OAuth 2.0 as RFC 9700 recommends it.
    #[default]
    Standard,
    /// The FAPI 2.0 Security Profile: no client secrets, no tokens that are not bound, and the algorithms that it names.
    Fapi2,
}

impl TokenProfile {
    pub const ALL: [Self; 2] = [Self::Standard, Self::Fapi2];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Fapi2 => "fapi2",
        }
    }

    pub const fn is_fapi2(self) -> bool {
        matches!(self, Self::Fapi2)
    }

    /// True if clients may authenticate by this method (FAPI 2.0 Security Profile, 5.3.2.1).
    pub const fn permits(self, method: ClientAuthMethod) -> bool {
        let secret = matches!(
            method,
            ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost
        );
        !(self.is_fapi2() && secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fapi2_leaves_the_methods_without_a_secret() {
        let permitted = |profile: TokenProfile| {
            let all = ClientAuthMethod::ALL.into_iter();
            all.filter(|method| profile.permits(*method)).count()
        };
        assert_eq!(TokenProfile::ALL.map(permitted), [5, 3]);
        assert!(TokenProfile::Fapi2.permits(ClientAuthMethod::PrivateKeyJwt));
    }
}
