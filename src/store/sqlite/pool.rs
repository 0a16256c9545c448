//! One connection that writes and a few that read, so that lists never wait for a commit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::super::error::Error;

/// The connections to one database. A database in memory has the writer alone.
#[derive(Debug)]
pub(super) struct Pool {
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Pool {
    pub fn new(writer: Connection, readers: Vec<Connection>) -> Self {
        Self {
            writer: Mutex::new(writer),
            readers: readers.into_iter().map(Mutex::new).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Changes the database; one caller at a time.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        work(&mut lock(&self.writer))
    }

    /// Reads by one query, which is of one moment by itself. A transaction around it would be two statements more.
    pub fn query<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        work(&self.reader())
    }

    /// Reads the database as of one moment, over any number of queries.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let connection = self.reader();
        let transaction = connection.unchecked_transaction()?;
        work(&transaction)
    }

    /// A free reader, or the one whose turn it is.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        let free = self
            .readers
            .iter()
            .find_map(|reader| reader.try_lock().ok());
        free.unwrap_or_else(|| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let place = turn.checked_rem(self.readers.len()).unwrap_or(0);
            lock(self.readers.get(place).unwrap_or(&self.writer))
        })
    }
}

/// A panic under the lock has rolled its transaction back while it unwound, so the connection is sound.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connection: &Connection) -> Result<u32, Error> {
        Ok(connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
    }

    fn insert(connection: &mut Connection) -> Result<usize, Error> {
        Ok(connection.execute("INSERT INTO t VALUES (1)", [])?)
    }

    fn pool(directory: &tempfile::TempDir) -> Pool {
        let open = || Connection::open(directory.path().join("t.db")).unwrap();
        let writer = open();
        writer
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)")
            .unwrap();
        Pool::new(writer, vec![open(), open()])
    }

    #[test]
    fn a_reader_sees_one_moment() {
        let directory = tempfile::tempdir().unwrap();
        let pool = pool(&directory);
        let counts = pool.read(|connection| {
            let before = count(connection)?;
            pool.write(insert)?;
            Ok((before, count(connection)?))
        });
        assert_eq!(counts.unwrap(), (0, 0));
        assert_eq!(pool.read(count).unwrap(), 1);
        assert_eq!(pool.query(count).unwrap(), 1);
    }

    #[test]
    fn more_may_read_than_there_are_readers_and_a_panic_spoils_no_connection() {
        let directory = tempfile::tempdir().unwrap();
        let pool = pool(&directory);
        let panics = std::thread::scope(|scope| {
            let read = || scope.spawn(|| pool.read(|_| -> Result<(), Error> { panic!("planted") }));
            let threads = [read(), read(), read(), read()];
            threads.map(|thread| thread.join().is_err())
        });
        assert_eq!(panics, [true; 4]);
        for _ in 0..4 {
            assert_eq!(pool.read(count).unwrap(), 0);
        }
    }
}
