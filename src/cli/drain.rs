//! `countersign drain`: drains the gateway, and waits for the end with `--wait`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::Admin;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Format, count};

/// Drain the gateway: readiness fails, new connections are refused, and running requests finish within drain.timeout.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign drain             returns at once; the gateway stops after the drain
  countersign drain --wait      shows the progress, and returns when the gateway has stopped

With --wait, the exit code is 0 when everything that was accepted has ended, and 1 when requests were cut at
drain.timeout.")]
pub(super) struct Drain {
    /// Wait until the gateway has stopped, and report whether requests were cut.
    #[arg(long)]
    wait: bool,
}

/// The maximum time between the end of the drain and the end of the process, which takes a second at most.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

impl Drain {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        admin.post("/drain", json!({})).await?;
        if !self.wait {
            let begun = json!({"draining": true});
            output::print(&output::thing(global.output, &begun, ""))?;
            return Ok(Exit::Done);
        }
        let end = watch(&admin).await?;
        gone(&admin).await?;
        match global.output {
            Format::Table => output::print(&format!("{}\n", told(&end)))?,
            Format::Json | Format::Yaml => {
                output::print(&output::thing(global.output, &end, ""))?;
            }
        }
        verdict(&end)
    }
}

/// Follows the drain to its end, and reports what is still running on stderr.
async fn watch(admin: &Admin) -> Result<Value, Failure> {
    loop {
        let progress = admin.get("/drain").await.map_err(unseen)?;
        if progress.get("state").and_then(Value::as_str) == Some("drained") {
            return Ok(progress);
        }
        output::remark(&format!(
            "draining for {}: {} and {} left",
            seconds(&progress),
            count(number(&progress, "connections"), "connection"),
            count(number(&progress, "requests"), "request"),
        ));
    }
}

/// Waits until the gateway does not answer any more, so that its ports are free.
async fn gone(admin: &Admin) -> Result<(), Failure> {
    let leaving = async {
        while admin.get("/status").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let left = tokio::time::timeout(LEAVES_WITHIN, leaving).await;
    left.map_err(|_elapsed| {
        Failure::new(Exit::Failed, "the gateway has drained but does not stop")
            .help("the gateway's log says what it waits for")
    })
}

/// The failure for a gateway that stopped before it reported the result.
fn unseen(failure: Failure) -> Failure {
    if failure.exit != Exit::Unreachable {
        return failure;
    }
    Failure::new(
        Exit::Unreachable,
        "the gateway stopped before it reported the result of the drain",
    )
    .help("a second signal stops it at once; its log says whether requests were cut")
}

fn verdict(end: &Value) -> Result<Exit, Failure> {
    match number(end, "requests_cut") {
        0 => Ok(Exit::Done),
        cut => Err(Failure::new(
            Exit::Failed,
            format!("{} cut at drain.timeout", count(cut, "request")),
        )
        .help(
            "a longer drain.timeout lets requests finish; tunnels and endless streams never finish",
        )),
    }
}

fn told(end: &Value) -> String {
    format!(
        "Drained in {}; {} cut.",
        seconds(end),
        count(number(end, "requests_cut"), "request")
    )
}

fn number(progress: &Value, name: &str) -> u64 {
    progress.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// `3.2 s`
fn seconds(progress: &Value) -> String {
    let tenths = number(progress, "milliseconds") / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_ends_well_when_nothing_was_cut() {
        let end = |cut: u64| json!({"state": "drained", "milliseconds": 3270, "requests_cut": cut});
        assert_eq!(told(&end(0)), "Drained in 3.2 s; 0 requests cut.");
        assert_eq!(verdict(&end(0)).unwrap(), Exit::Done);
        let failure = verdict(&end(1)).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(
            failure
                .to_string()
                .contains("1 request cut at drain.timeout")
        );
    }

    #[test]
    fn a_gateway_that_is_gone_too_early_is_no_success() {
        let gone = unseen(Failure::new(Exit::Unreachable, "no such socket"));
        assert_eq!(gone.exit, Exit::Unreachable);
        assert!(gone.to_string().contains("before it reported"));
        let refused = unseen(Failure::new(Exit::NotAuthorised, "no"));
        assert!(refused.to_string().contains("no"));
    }
}
