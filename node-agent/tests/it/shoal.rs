//! The real executable, started and stopped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// `shoal` with these arguments, its environment clean of settings that would change what it does.
pub fn shoal<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.args(arguments).env_remove("SHOAL_S3_LISTEN").env_remove("SHOAL_ADMIN_LISTEN");
    command
}

/// Runs to its end.
pub fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    shoal(arguments).output().expect("the executable starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A demo that runs; killed when dropped.
pub struct Demo {
    child: Child,
    pub ready: Value,
}

impl Demo {
    /// Starts one and waits for its line.
    pub fn start(options: &[&str]) -> Self {
        let base = ["demo", "--json", "--s3-port", "0", "--admin-port", "0"];
        let mut child = shoal(base.into_iter().chain(options.iter().copied()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("standard output"));
        output.read_line(&mut line).expect("a line");
        if line.is_empty() {
            let output = child.wait_with_output().expect("its end");
            panic!("the demo did not start: {}", text(&output.stderr));
        }
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        // Its log must be read, or it would block on a full pipe.
        let mut log = child.stderr.take().expect("standard error");
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, ready }
    }

    pub fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    /// A command against its admin port; the parsed answer.
    pub fn command(&self, arguments: &[&str]) -> Value {
        let output = self.command_output(arguments);
        assert!(output.status.success(), "shoal {arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    pub fn command_output(&self, arguments: &[&str]) -> Output {
        let door = ["--json", "--admin", self.text("admin"), "--operator-key", self.text("admin_key")];
        run(arguments.iter().copied().chain(door))
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("its end");
    }

    /// SIGTERM; its exit status must be success.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "the demo ended with {status}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Already gone after `kill` or `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server; killed when dropped.
pub struct Served(pub Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks again until it holds; a test that never gets there is ended from outside, not by a guess at time.
pub fn wait_until(holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("it never came to hold");
}

/// Names of the entries of a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
