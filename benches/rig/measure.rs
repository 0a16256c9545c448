//! What the benchmarks have in common: how they were started, what time something takes, how many instructions.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How a benchmark was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With `--once`: small, to see that it still works.
    Once,
    /// By `cargo bench`.
    Timed,
    /// With `--instructions`: counted by callgrind, the same on every run.
    Counted,
    /// By itself, under callgrind.
    UnderCallgrind,
}

impl How {
    pub fn from_arguments() -> Self {
        let given = |name: &str| std::env::args().any(|argument| argument == name);
        match () {
            () if given("--under-callgrind") => Self::UnderCallgrind,
            () if given("--instructions") => Self::Counted,
            () if given("--once") => Self::Once,
            () => Self::Timed,
        }
    }
}

/// Nanoseconds for one of the `count` things that `work` does: the median of some samples.
pub fn nanoseconds(count: usize, mut work: impl FnMut()) -> f64 {
    let mut samples: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    samples.sort();
    samples[SAMPLES / 2].as_nanos() as f64 / count as f64
}

const SAMPLES: usize = 15;

/// Runs this program again under callgrind, and gives the instructions in each function whose name begins with
/// `case_`, what it calls included, in the order of their names.
pub fn instructions(arguments: &[&str]) -> Vec<(String, u64)> {
    let out = std::env::temp_dir().join(format!("callgrind-{}.out", std::process::id()));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*::case_*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .arg("--under-callgrind")
        .args(arguments)
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "valgrind is needed to count instructions, and has to succeed"
    );
    let counted = annotated(&out);
    std::fs::remove_file(&out).unwrap();
    counted
}

/// Runs this program again under callgrind, and gives the instructions of all its threads but the first.
pub fn instructions_but_of_main(arguments: &[&str]) -> u64 {
    let place = std::env::temp_dir().join(format!("callgrind-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}/out", place.display()))
        .arg(std::env::current_exe().unwrap())
        .arg("--under-callgrind")
        .args(arguments)
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "valgrind is needed to count instructions, and has to succeed"
    );
    let counted = std::fs::read_dir(&place)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with("-01"))
        .map(|path| total(&path))
        .sum();
    std::fs::remove_dir_all(&place).unwrap();
    counted
}

/// The line `totals: 1234` of a thread's file; the file of the whole process has none.
fn total(out: &Path) -> u64 {
    let text = std::fs::read_to_string(out).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// Reads lines like `1,234 (5.6%)  ???:decide::case_route [/path]`.
fn annotated(out: &Path) -> Vec<(String, u64)> {
    let text = Command::new("callgrind_annotate")
        .args(["--inclusive=yes", "--threshold=100"])
        .arg(out)
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let mut found: Vec<(String, u64)> = text
        .lines()
        .filter_map(|line| {
            let name = &line[line.find("::case_")? + "::case_".len()..];
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            let count = line.split_whitespace().next()?.replace(',', "");
            Some((
                name[..end.unwrap_or(name.len())].to_owned(),
                count.parse().ok()?,
            ))
        })
        .collect();
    // A function is listed again for each file that something of it was inlined from; the most is all of it.
    found.sort_by(|one, other| (&one.0, other.1).cmp(&(&other.0, one.1)));
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

/// Splitmix64: the same numbers on every run.
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Bytes of memory that this process has in use.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
