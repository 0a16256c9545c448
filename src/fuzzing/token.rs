//! Access tokens: only what we would write ourselves is read, even when our own key has signed it.

use std::sync::LazyLock;

use crate::crypto::jwt::{self, TokenSigner};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::domain::token::Claims;

const ISSUER: &str = "https://api.example.com";
const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);

/// A key of this process: none is kept in the repository.
static SIGNER: LazyLock<TokenSigner> =
    LazyLock::new(|| TokenSigner::load(&TokenSigner::generate()).unwrap());

/// Reads the first line as a header, in which `KID` stands for the key's id, and the rest as claims, and signs both;
/// true when that is a token. A text with no second line is read as a token.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Some((header, body)) = text.split_once('\n') else {
        assert!(read(text).is_err(), "nobody has signed it");
        return false;
    };
    let key = SIGNER.verification_key();
    let token = SIGNER.seal_text(&header.replace("KID", &key.kid), body.trim_end());
    let Ok(claims) = read(&token) else {
        return false;
    };
    assert_eq!((&*claims.issuer, &*claims.audience), (ISSUER, ISSUER));
    assert!(claims.expires_at > NOW);
    assert_eq!(read(&SIGNER.sign(&claims)), Ok(claims));
    assert_is_whole(&token);
    true
}

fn read(token: &str) -> Result<Claims, Reason> {
    jwt::verify(token, &[SIGNER.verification_key()], ISSUER, NOW)
}

/// No character can be changed, left out or added, and no other key will do.
fn assert_is_whole(token: &str) {
    for (at, character) in token.char_indices().step_by(17) {
        let other = if character == 'A' { 'B' } else { 'A' };
        let (before, after) = (&token[..at], &token[at + 1..]);
        assert!(read(&format!("{before}{other}{after}")).is_err(), "at {at}");
        assert!(read(&format!("{before}{after}")).is_err(), "without {at}");
    }
    for odd in [" ", "=", ".", "\n"] {
        assert!(read(&format!("{token}{odd}")).is_err(), "with {odd:?}");
    }
    assert!(jwt::verify(token, &[], ISSUER, NOW).is_err());
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_tokens_keeps_its_properties() {
        super::super::corpus::holds("token", super::check);
    }
}
