//! The probe of the store's writes, which finds a fault before a change needs the store.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::error::Error;

/// The time for which a successful write makes a probe unnecessary. Each probe costs a page and a wait for the disk, so
/// a quiet gateway makes few of them.
const PROOF_LASTS: Duration = Duration::from_secs(30);

/// The time of the last write; none after a write that failed.
#[derive(Debug, Default)]
pub(super) struct WriteProof(Mutex<Option<Instant>>);

impl WriteProof {
    /// Notes the result of a write. A conflict says nothing about the disk.
    pub fn note<T>(&self, result: &Result<T, Error>) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => *at = Some(Instant::now()),
            Err(Error::Unavailable(_)) => *at = None,
            Err(_) => {}
        }
    }

    /// True if a probe is due.
    pub fn is_needed(&self) -> bool {
        let at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_none_or(|at| at.elapsed() > PROOF_LASTS)
    }
}

/// Writes one page and waits until it is safe on disk, as a change does. `user_version` is a number in the file's
/// header that nothing of ours reads.
pub(super) fn write(connection: &mut Connection) -> Result<(), Error> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    transaction.pragma_update(None, "user_version", 0)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Conflict;
    use super::*;

    #[test]
    fn a_write_speaks_for_the_next_until_one_fails() {
        let proof = WriteProof::default();
        assert!(proof.is_needed(), "nothing was written yet");
        proof.note(&Ok(()));
        assert!(!proof.is_needed());
        proof.note::<()>(&Err(Conflict::Moved.into()));
        assert!(!proof.is_needed(), "the disk was not the cause");
        proof.note::<()>(&Err(Error::unavailable("full")));
        assert!(proof.is_needed());
    }

    #[test]
    fn a_probe_needs_room_as_a_change_does() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(dir.path().join("t.db")).unwrap();
        let sql = "PRAGMA journal_mode = wal; CREATE TABLE t (x); PRAGMA wal_checkpoint(TRUNCATE)";
        connection.execute_batch(sql).unwrap();
        write(&mut connection).unwrap();
        let log = std::fs::metadata(dir.path().join("t.db-wal")).unwrap();
        assert!(log.len() > 0, "it was written to the disk");
        connection.pragma_update(None, "query_only", true).unwrap();
        assert!(matches!(write(&mut connection), Err(Error::Unavailable(_))));
    }
}
