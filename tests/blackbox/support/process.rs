//! Running programs and keeping what they said.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// What a finished program said.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output, if the program ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Runs a program to its end in `dir`.
pub fn run(dir: &Path, program: &str, args: &[&str]) -> Finished {
    run_with_input(dir, program, args, b"")
}

/// The same with something on its standard input.
pub fn run_with_input(dir: &Path, program: &str, args: &[&str], input: &[u8]) -> Finished {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env_remove("COUNTERSIGN_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // A program may end without reading its input.
    let _ = stdin.write_all(input);
    drop(stdin);
    Finished::of(&child.wait_with_output().unwrap())
}

/// The gateway's own command line.
pub fn countersign(dir: &Path, args: &[&str]) -> Finished {
    run(dir, env!("CARGO_BIN_EXE_countersign"), args)
}

/// A program that goes on running after its first line, and is killed at the end of the test.
#[derive(Debug)]
pub struct Background {
    child: Child,
    /// The line that it said it was ready with.
    pub ready: String,
}

impl Background {
    /// Starts a program in `dir` with more in its environment, and waits for its first line.
    #[track_caller]
    pub fn start(dir: &Path, program: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .env_remove("COUNTERSIGN_CONFIG")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("background.log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        if ready.is_empty() {
            let log = std::fs::read_to_string(dir.join("background.log"));
            panic!("{program} is not ready: {}", log.unwrap());
        }
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self { child, ready }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
