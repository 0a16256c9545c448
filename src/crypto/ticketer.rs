//! Session tickets: encrypted sessions that clients keep for a shorter next handshake, readable by this process alone.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::Error;
use rustls::crypto::GetRandomFailed;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

use super::random;

/// A ticketer with keys of its own, which change every six hours and are never stored. A ticket can be read until its
/// key has changed twice.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    Ok(Arc::new(TicketRotator::new(KEY_SECONDS, generation)?))
}

const KEY_SECONDS: u32 = 6 * 60 * 60;

fn generation() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, &random::bytes::<32>());
    match key {
        Ok(key) => Ok(Box::new(Tickets(key))),
        Err(_unspecified) => Err(GetRandomFailed),
    }
}

/// The tickets of one key: nonce, ciphertext, tag. Random nonces are safe for 2^32 tickets, more than six hours need.
#[derive(Debug)]
struct Tickets(RandomizedNonceKey);

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// The lifetime in seconds; clients get the rotator's.
    fn lifetime(&self) -> u32 {
        2 * KEY_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&[0; NONCE_LEN]);
        ticket.extend_from_slice(plain);
        let sealed = ticket.get_mut(NONCE_LEN..)?;
        let (nonce, tag) = self
            .0
            .seal_in_place_separate_tag(Aad::empty(), sealed)
            .ok()?;
        ticket.first_chunk_mut()?.clone_from(nonce.as_ref());
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, Aad::empty(), &mut sealed)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_its_own_key_and_only_whole() {
        let (ours, theirs) = (generation().unwrap(), generation().unwrap());
        let ticket = ours.encrypt(b"session").unwrap();
        assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(theirs.decrypt(&ticket), None);
        for length in 0..ticket.len() {
            assert_eq!(ours.decrypt(&ticket[..length]), None, "{length} bytes");
        }
        for place in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[place] ^= 1;
            assert_eq!(ours.decrypt(&forged), None, "byte {place}");
        }
    }

    #[test]
    fn no_two_tickets_are_alike_and_none_shows_what_is_in_it() {
        let tickets = ticketer().unwrap();
        let one = tickets.encrypt(b"a client's certificate").unwrap();
        assert_ne!(
            Some(&one),
            tickets.encrypt(b"a client's certificate").as_ref()
        );
        assert!(!one.windows(11).any(|bytes| bytes == b"certificate"));
        assert!(tickets.enabled());
        assert_eq!(tickets.lifetime(), 12 * 60 * 60);
    }
}
