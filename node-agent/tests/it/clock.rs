//! A node that does not listen to the clock of its host: refused, proven, and what the drives remember of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use sys::{Clock, RealClock};

use crate::shoal::{Served, run, shoal, text, wait_until};

struct Rig {
    folder: tempfile::TempDir,
    config: String,
}

impl Rig {
    /// A grid of one, with these lines under `[clock]`.
    fn found(clock: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (drive, config) = (folder.path().join("a"), folder.path().join("shoal.toml"));
        std::fs::create_dir(&drive).unwrap();
        let config = config.to_str().unwrap().to_owned();
        let init = run(["init", "--json", "--drive", drive.to_str().unwrap(), "--config", &config]);
        assert!(init.status.success(), "{}", text(&init.stderr));
        let rig = Self { folder, config };
        let settings = std::fs::read_to_string(&rig.config).unwrap();
        assert!(settings.contains("\n[clock]\n"), "{settings}");
        let settings = settings.replace("\n[clock]\n", &format!("\n[clock]\n{clock}\n"));
        std::fs::write(&rig.config, settings.replace("# multicast = true", "multicast = false #")).unwrap();
        rig
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// On a host whose clock is an hour ahead.
    fn serve(&self) -> Served {
        let listen =
            ["--s3-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--rpc-listen", "127.0.0.1:0"];
        let mut serve = shoal(["serve", "--config", &self.config].into_iter().chain(listen));
        serve.env("SHOAL_TEST_CLOCK_OFFSET", "3600").stdout(Stdio::null()).stderr(Stdio::null());
        let served = Served(serve.spawn().unwrap());
        wait_until(|| run(["status", "--json", "--config", &self.config]).status.success());
        served
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = run(words.iter().copied().chain(["--json", "--config", &self.config]));
        assert!(output.status.success(), "shoal {words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Status line and headers of an anonymous request.
    fn s3(&self) -> String {
        let status = self.json(&["status"]);
        let address = status["s3"][0].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /bucket/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase()
    }
}

fn host_seconds() -> u64 {
    RealClock.now().as_secs()
}

fn apart(told: &Value, seconds: u64) -> u64 {
    (told["time"].as_u64().unwrap() / 1_000_000).abs_diff(seconds)
}

#[test]
fn a_time_that_is_not_proven_is_refused_until_an_operator_proves_it() {
    let rig = Rig::found("source = \"proven\"");
    let floor = rig.path("a/shoal-time");
    let server = rig.serve();
    let status = rig.json(&["status"]);
    assert_eq!(
        (&status["clock"]["trust"], &status["readiness"]["ready"]),
        (&"unproven".into(), &false.into()),
        "{status}"
    );
    assert!(status["readiness"]["reasons"][0].as_str().unwrap().starts_with("time: "), "{status}");
    let refused = rig.s3();
    assert!(refused.starts_with("http/1.1 503 ") && refused.contains("retry-after: 5"), "{refused}");

    let early = run(["clock", "set", "2020-01-01T00:00:00Z", "--config", &rig.config]);
    assert!(
        text(&early.stderr).contains("before the floor") && text(&early.stderr).contains("--lower-floor"),
        "{early:?}"
    );
    let set = rig.json(&["clock", "set"]);
    assert_eq!((&set["trust"], &set["source"]), (&"proven".into(), &"operator".into()), "{set}");
    assert!(
        apart(&set, host_seconds()) < 60,
        "by the clock of the command, not by that of the server's host: {set}"
    );
    assert!(rig.s3().starts_with("http/1.1 403 "), "anonymous, but served");
    assert_eq!(rig.json(&["status"])["readiness"]["ready"], true);
    assert_eq!(rig.json(&["node", "list"])["nodes"][0]["clock"]["source"], "operator");
    let shown = run(["clock", "show", "--config", &rig.config]);
    assert!(text(&shown.stdout).contains("proven by operator"), "{shown:?}");

    // The drive remembers a minute less; the power goes.
    let kept = || std::fs::read_to_string(&floor).ok()?.lines().nth(2)?.parse::<u64>().ok();
    wait_until(|| kept().is_some_and(|kept| kept / 1_000_000 + 120 > host_seconds()));
    drop(server);
    let server = rig.serve();
    let clock = rig.json(&["clock", "show"]);
    assert_eq!(clock["trust"], "unproven", "a proof does not outlive the process");
    assert!(clock["floor"].as_u64() >= kept() && apart(&clock, host_seconds()) < 180, "{clock}");
    let january = "2026-01-02T00:00:00Z";
    assert!(!run(["clock", "set", january, "--config", &rig.config]).status.success());
    // The floor itself was wrong: that takes a word more, and the drive follows.
    rig.json(&["clock", "set", january, "--lower-floor"]);
    wait_until(|| kept().is_some_and(|kept| kept < 1_767_400_000_000_000));
    drop(server);
}

#[test]
fn an_rtc_is_believed_where_it_can_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let rtc = folder.path().join("since_epoch");
    let doctor = |rig: &Rig| {
        let output = run(["doctor", "--json", "--config", &rig.config]);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = told["findings"].as_array().unwrap().clone();
        let of_clock = findings.into_iter().filter(|one| one["check"] == "clock");
        of_clock
            .map(|one| format!("{} {}", one["level"].as_str().unwrap(), one["message"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let write = |path: &Path, seconds: u64| std::fs::write(path, format!("{seconds}\n")).unwrap();
    write(&rtc, 946_684_800);
    let rig = Rig::found(&format!("source = \"proven\"\nrtc = {rtc:?}\nunproven = \"serve\""));
    let server = rig.serve();
    wait_until(|| rig.json(&["clock", "show"])["refused"][0]["source"] == "rtc");
    assert!(rig.s3().starts_with("http/1.1 403 "), "unproven = \"serve\"");
    let told = doctor(&rig);
    assert!(
        told.iter().any(|one| one.starts_with("trouble") && one.contains("battery is empty")),
        "{told:?}"
    );
    assert!(told.iter().any(|one| one.starts_with("trouble") && one.contains("NOT PROVEN")), "{told:?}");
    drop(server);

    write(&rtc, host_seconds());
    let _server = rig.serve();
    wait_until(|| rig.json(&["clock", "show"])["source"] == "rtc");
    assert!(apart(&rig.json(&["clock", "show"]), host_seconds()) < 60);
    let told = doctor(&rig);
    assert!(told.iter().any(|one| one.starts_with("ok") && one.contains("proven by rtc")), "{told:?}");
}
