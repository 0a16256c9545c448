//! Writes that share a transaction: those that wait for the writer at the same time, and with it for the disk.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::error::Error;
use super::pool::Pool;

/// The most writes in one transaction; more would hold up the first of them.
const GROUP_MAX: usize = 256;

/// The writes that wait. Each author waits on a thread of its own, so that there are never more than threads.
#[derive(Default)]
pub(super) struct Grouped(Mutex<Vec<Box<dyn Write>>>);

impl std::fmt::Debug for Grouped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grouped")
    }
}

/// One write of a group.
trait Write: Send {
    fn carry_out(&mut self, connection: &Connection) -> Result<(), Error>;

    /// Answers the author, after the commit or its failure.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Asked<T, W> {
    work: W,
    done: Option<T>,
    answer: mpsc::SyncSender<Result<T, Error>>,
}

impl<T: Send, W: Fn(&Connection) -> Result<T, Error> + Send> Write for Asked<T, W> {
    fn carry_out(&mut self, connection: &Connection) -> Result<(), Error> {
        self.done = Some((self.work)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let answer = match (committed, self.done) {
            (Ok(()), Some(done)) => Ok(done),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(Error::unavailable(Lost)),
        };
        // The author waits for it, or has panicked.
        let _ = self.answer.send(answer);
    }
}

/// A write that ended without an answer, with a panic in another one of its group.
#[derive(Debug, thiserror::Error)]
#[error("the write was not carried out")]
struct Lost;

impl Grouped {
    /// Carries out `work` in a transaction, together with the work that waits at the same time. A failure of one is the
    /// failure of all: `work` fails with the store, and returns everything else as its value.
    pub fn write<T: Send + 'static>(
        &self,
        pool: &Pool,
        work: impl Fn(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (author, answer) = mpsc::sync_channel(1);
        self.waiting().push(Box::new(Asked {
            work,
            done: None,
            answer: author,
        }));
        loop {
            pool.write(|connection| {
                // An author who had the writer before may have taken this work along.
                let group = self.take();
                if !group.is_empty() {
                    carry_out(connection, group);
                }
                Ok(())
            })?;
            match answer.try_recv() {
                Ok(answer) => return answer,
                // The group was full with those that came before.
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => return Err(Error::unavailable(Lost)),
            }
        }
    }

    fn take(&self) -> Vec<Box<dyn Write>> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(GROUP_MAX);
        waiting.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Box<dyn Write>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn carry_out(connection: &mut Connection, mut group: Vec<Box<dyn Write>>) {
    let committed = commit(connection, &mut group);
    for write in group {
        write.answer(committed.clone());
    }
}

fn commit(connection: &mut Connection, group: &mut [Box<dyn Write>]) -> Result<(), Error> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for write in group {
        write.carry_out(&transaction)?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn pool() -> Pool {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        Pool::new(connection, Vec::new())
    }

    fn count(connection: &Connection) -> Result<u32, Error> {
        Ok(connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
    }

    #[test]
    fn writes_that_wait_are_made_together_and_each_has_its_answer() {
        let (pool, grouped) = (Arc::new(pool()), Arc::new(Grouped::default()));
        let authors = GROUP_MAX + 10;
        let threads: Vec<_> = pool
            .write(|_| {
                let threads = (0..authors).map(|number| {
                    let (pool, grouped) = (Arc::clone(&pool), Arc::clone(&grouped));
                    thread::spawn(move || {
                        grouped.write(&pool, move |connection| {
                            connection.execute("INSERT INTO t VALUES (1)", [])?;
                            Ok(number)
                        })
                    })
                });
                let threads: Vec<_> = threads.collect();
                while grouped.waiting().len() < authors {
                    thread::yield_now();
                }
                Ok(threads)
            })
            .unwrap();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().unwrap(), number);
        }
        let made = u32::try_from(authors).unwrap();
        assert_eq!(pool.read(count).unwrap(), made);
    }

    #[test]
    fn a_failure_undoes_the_group_and_the_next_is_made() {
        let (pool, grouped) = (pool(), Grouped::default());
        let failed = grouped.write(&pool, |connection| {
            connection.execute("INSERT INTO t VALUES (1)", [])?;
            connection.execute("INSERT INTO missing VALUES (1)", [])?;
            Ok(())
        });
        assert!(matches!(failed, Err(Error::Unavailable(_))));
        assert_eq!(pool.read(count).unwrap(), 0);
        let made = grouped.write(&pool, |connection| {
            Ok(connection.execute("INSERT INTO t VALUES (1)", [])?)
        });
        assert_eq!(made.unwrap(), 1);
    }
}
