//! The periodic jobs of the control plane: the rows of the calendar that need no other room.

use std::sync::Arc;
use std::time::Duration;

use super::calendar::Job;
use super::counts::count;
use super::error::Error;
use super::server_certificates::ListenerCertificates;
use super::service::Control;
use crate::domain::time::Timestamp;
use crate::store::sessions::Sessions;
use crate::store::tickets::Tickets;

/// The time between two looks at what is in memory, or in a small file.
const OFTEN: Duration = Duration::from_secs(5);

/// The time between two runs of what writes, or fails for long when it fails.
const SELDOM: Duration = Duration::from_mins(1);

/// The time for which operators find a session that has ended.
const ENDED_KEPT: Duration = Duration::from_hours(24);

/// The tickets that one transaction removes. Takers of tickets wait for it, a few milliseconds.
const SWEPT_TOGETHER: u32 = 1000;

/// The transactions of one sweep. A million tickets in a minute is more than the store could have kept.
const SWEEPS_MAX: u32 = 1000;

/// The parts that the jobs take care of.
#[derive(Clone, Debug)]
pub struct Care {
    pub control: Control,
    pub certificates: Arc<ListenerCertificates>,
    pub tickets: Arc<dyn Tickets>,
}

impl Care {
    /// The table: name, interval, job.
    pub fn jobs(&self) -> Vec<Job> {
        vec![
            self.job("credential_counts", OFTEN, Self::count_credentials),
            self.job("server_certificates", SELDOM, Self::renew_certificates),
            self.job("key_uses", SELDOM, Self::write_key_uses),
            self.job("token_keys", OFTEN, Self::forget_token_keys),
            self.job("tickets", SELDOM, Self::sweep_tickets),
            self.job("sessions", SELDOM, Self::sweep_sessions),
            self.job("published_keys", OFTEN, Self::fetch_keys),
        ]
    }

    fn job<F: Future<Output = Result<(), Error>> + Send + 'static>(
        &self,
        name: &'static str,
        every: Duration,
        work: impl Fn(Self) -> F + Send + Sync + 'static,
    ) -> Job {
        let care = self.clone();
        Job::new(name, every, move || work(care.clone()))
    }

    async fn count_credentials(self) -> Result<(), Error> {
        let (snapshot, now) = (self.control.publisher().current(), self.control.now());
        let version = snapshot.version;
        let counts = blocking(move || Ok(count(&snapshot, now))).await?;
        let state = &self.control.metrics().state;
        state.snapshot_is(version);
        state.counted(&counts);
        Ok(())
    }

    async fn renew_certificates(self) -> Result<(), Error> {
        let (authority, now) = (self.control.authority(), self.control.now());
        blocking(move || self.certificates.renew(&authority, now)).await
    }

    async fn fetch_keys(self) -> Result<(), Error> {
        let publisher = self.control.publisher();
        let (snapshot, now) = (publisher.current(), self.control.now());
        let keys = self.control.published();
        keys.refresh(&snapshot, publisher, now).await
    }

    async fn forget_token_keys(self) -> Result<(), Error> {
        self.control.forget_token_keys().await
    }

    async fn write_key_uses(self) -> Result<(), Error> {
        self.control.write_key_uses().await
    }

    async fn sweep_tickets(self) -> Result<(), Error> {
        let now = self.control.now();
        blocking(move || sweep(&*self.tickets, now)).await
    }

    async fn sweep_sessions(self) -> Result<(), Error> {
        let now = self.control.now();
        let sessions = Arc::clone(self.control.sessions_kept());
        blocking(move || sweep_sessions(&*sessions, now.minus(ENDED_KEPT), now)).await?;
        self.control.publisher().forget_ends(now).await;
        Ok(())
    }
}

/// Removes the sessions that ended before `before`, and the ends of tokens that have expired, a part at a time.
fn sweep_sessions(sessions: &dyn Sessions, before: Timestamp, now: Timestamp) -> Result<(), Error> {
    for _ in 0..SWEEPS_MAX {
        if sessions.sweep(before, now, SWEPT_TOGETHER)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Removes the tickets that have expired, a part at a time, so that their users wait for no long transaction.
fn sweep(tickets: &dyn Tickets, now: Timestamp) -> Result<(), Error> {
    for _ in 0..SWEEPS_MAX {
        if tickets.sweep(now, SWEPT_TOGETHER)? < SWEPT_TOGETHER {
            break;
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the job was not carried out", error))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::calendar::Calendar;
    use crate::control::server_certificates::Shown;
    use crate::control::testing::Fixture;
    use crate::store::tickets::{Ticket, TicketId};

    const DAY: Duration = Duration::from_hours(24);

    fn care(fixture: &Fixture) -> Care {
        let control = &fixture.control;
        let names = || vec!["a.test".to_owned()];
        let shown = || Shown::issued(&control.authority(), names(), control.now()).unwrap();
        Care {
            control: control.clone(),
            certificates: Arc::new(ListenerCertificates::new(shown(), shown(), control)),
            tickets: fixture.store.clone(),
        }
    }

    fn ticket(number: u32, expires_at: Timestamp) -> Ticket {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        let kind = "test";
        Ticket::new(TicketId { kind, digest }, Vec::new(), expires_at).unwrap()
    }

    #[tokio::test]
    async fn a_run_of_all_jobs_counts_renews_forgets_and_sweeps() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        fixture.key("acme", "").await;
        let care = care(&fixture);
        let (clock, registry) = (fixture.clock.clone(), &fixture.registry);
        let calendar = Calendar::new(care.jobs(), clock, registry).unwrap();
        let now = fixture.control.now();
        let end = now.plus(DAY);
        assert!(care.tickets.put(ticket(1, end), now).unwrap());
        let before = care.certificates.ends();
        calendar.run_once().await;
        assert_eq!(care.certificates.ends(), before);
        assert_eq!(care.tickets.sweep(end, 10).unwrap(), 0, "it is valid");

        fixture.clock.advance(DAY * 70);
        calendar.run_once().await;
        assert!(care.certificates.ends() > before);
        let later = fixture.control.now();
        assert_eq!(care.tickets.sweep(later, 10).unwrap(), 0, "it is swept");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather());
        let text = text.unwrap();
        for series in [
            "countersign_credentials{kind=\"key\",state=\"active\"} 1\n",
            "countersign_snapshot_version 3\n",
            "countersign_job_failures_total{job=\"credential_counts\"} 0\n",
            "countersign_job_failures_total{job=\"server_certificates\"} 0\n",
            "countersign_job_failures_total{job=\"token_keys\"} 0\n",
            "countersign_job_failures_total{job=\"tickets\"} 0\n",
        ] {
            assert!(text.contains(series), "{series}\n{text}");
        }
    }

    #[tokio::test]
    async fn every_job_is_on_the_page_about_metrics() {
        let fixture = Fixture::new().await;
        let page = include_str!("../../docs/operate/metrics.md");
        let line = page.lines().find(|line| line.contains("job_last_success"));
        for job in care(&fixture).jobs() {
            let shown = format!("{job:?}");
            let name = shown.split(' ').next().unwrap();
            assert!(line.unwrap().contains(name), "{name}");
        }
    }

    #[test]
    fn a_sweep_removes_more_than_one_transaction_does() {
        let store = crate::store::sqlite::backend::SqliteStore::in_memory().unwrap();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        for number in 0..SWEPT_TOGETHER + 5 {
            store.put(ticket(number, now), now).unwrap();
        }
        let valid = ticket(u32::MAX, now.plus(DAY));
        store.put(valid.clone(), now).unwrap();
        let later = now.plus(Duration::from_secs(1));
        sweep(&store, later).unwrap();
        assert_eq!(Tickets::sweep(&store, later, 10).unwrap(), 0);
        assert_eq!(store.ticket(&valid.id, later).unwrap(), Some(valid));
    }
}
