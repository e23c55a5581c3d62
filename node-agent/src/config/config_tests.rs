//! Mistakes are told by line, with what would be right.

use std::path::{Path, PathBuf};

use super::{Config, TlsMode, template};

fn first_mistake(text: &str) -> String {
    Config::parse(text).expect_err("this configuration is wrong")[0].to_string()
}

#[test]
fn mistakes_name_line_and_column_and_what_is_right() {
    let cases = [
        (
            "drives = [\"a\"]\nprofil = \"auto\"\n",
            "line 2, column 1: unknown key `profil`; did you mean `profile`?",
        ),
        (
            "drives = [\"a\"]\n[s3]\nregion = \"x\"\nlisen = \"0.0.0.0:1\"\n",
            "line 4, column 1: unknown key `lisen`; did you mean `listen`?",
        ),
        (
            "drives = [\"a\"]\nprofile = \"ec:2\"\n",
            "line 2, column 11: `ec:2` is not a profile: write auto, copies:N or ec:K+M with at most 32 chunks in all",
        ),
        ("[s3]\n", "line 1, column 1: `drives` is missing or empty: name the folders that `shoal init` made"),
        ("drives = [\"a\", \"a\"]\n", "line 1, column 1: a is named twice"),
        (
            "drives = [\"a\"]\n\n[s3]\ntls = \"files\"\n",
            "line 4, column 1: `tls = \"files\"` needs `certificate` and `certificate_key`",
        ),
        (
            "drives = [\"a\"]\n[admin]\n  listen = \"0.0.0.0:9000\"\n",
            "line 3, column 3: port 9000 is taken by [s3] already",
        ),
        (
            "drives = [\"a\"]\n[clock]\nsource = \"ntp\"\n",
            "line 3, column 10: unknown variant `ntp`, expected `host` or `proven`; known here: host, proven",
        ),
        (
            "drives = [\"a\"]\n[clock]\nntp = [\"a\"]\n",
            "line 3, column 1: `ntp` and `rtc` count with `source = \"proven\"` alone",
        ),
        (
            "drives = [\"a\"]\n[clock]\nsource = \"proven\"\nntp = [\"\"]\n",
            "line 4, column 1: `ntp` names a server by nothing: write HOST or HOST:PORT",
        ),
        ("drives = [\"a\"]\nmemory = \"1 MiB\"\n", "line 2, column 1: `memory` must be at least 16 MiB"),
        (
            "drives = [\"a\"]\n[log]\nformat = \"jsn\"\n",
            "line 3, column 10: unknown variant `jsn`, expected `text` or `json`; did you mean `json`?",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(first_mistake(text), wanted, "for {text:?}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    let mistake = first_mistake("drives = [\"a\"]\nprofile = auto\n");
    assert!(mistake.starts_with("line 2, column 11: "), "{mistake}");
}

#[test]
fn wrong_types_name_their_line() {
    let mistake = first_mistake("drives = [\"a\"]\n[s3]\nconnections_max = \"many\"\n");
    assert!(mistake.starts_with("line 3, column 19: invalid type"), "{mistake}");
    let mistake = first_mistake("drives = [\"a\"]\n[s3]\nlisten = \"9000\"\n");
    assert!(mistake.starts_with("line 3, column 10: "), "{mistake}");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let mistakes = Config::parse("memory = 1\n[s3]\nregion = \"\"\n").expect_err("wrong");
    let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [1, 1, 3]);
}

#[test]
fn the_template_parses_and_shows_the_defaults() {
    let drives = [PathBuf::from("/srv/a \"b\""), PathBuf::from("/srv/c\\d")];
    let text = template(&drives, Some(Path::new("/srv/key")), None);
    let config = Config::parse(&text).expect("the template is right");
    assert_eq!(config.drives, drives);
    assert_eq!(config.key_file, Some("/srv/key".into()));
    assert_eq!(config.admin.tls, TlsMode::Generated);
    assert_eq!(Config::parse(&template(&drives, None, None)).expect("right").key_file, None);

    // Every commented default must parse to the default: the comments must not lie.
    let uncommented: String = text
        .lines()
        .filter(|line| !line.contains("certificate") && !line.contains("s3.example.net"))
        .filter(|line| !line.contains("/run/shoal") && !line.contains("REDUCED"))
        // Examples where the default is nothing.
        .filter(|line| {
            let examples = ["advertise", "interfaces", "peers", "ticket_file", "ntp = ", "rtc = "];
            !examples.iter().any(|key| line.contains(key))
        })
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains("`") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let shown = Config::parse(&uncommented).expect("the shown defaults are right");
    let defaults =
        Config { drives: shown.drives.clone(), key_file: shown.key_file.clone(), ..Config::default() };
    assert_eq!(format!("{shown:?}"), format!("{defaults:?}"));
    assert!(uncommented.contains("\nprofile = \"auto\"") && uncommented.contains("\nlevel = \"info\""));
}

#[test]
fn relative_paths_count_from_the_file() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("shoal.toml");
    std::fs::write(&path, "drives = [\"d1\", \"/abs\"]\nkey_file = \"k\"\n").expect("written");
    let config = Config::load(&path).expect("right");
    assert_eq!(config.drives, [folder.path().join("d1"), PathBuf::from("/abs")]);
    assert_eq!(config.key_file, Some(folder.path().join("k")));
}

#[test]
fn sizes_are_bytes_or_units() {
    let size =
        |value: &str| Config::parse(&format!("drives = [\"a\"]\nmemory = {value}\n")).map(|c| c.memory.0);
    assert_eq!(size("33554432"), Ok(32 << 20));
    assert_eq!(size("\"32 MiB\""), Ok(32 << 20));
    assert_eq!(size("\"1GiB\""), Ok(1 << 30));
    assert!(size("\"32 MB\"").is_err(), "decimal units are not guessed");
    assert!(size("-1").is_err());
    assert!(size("\"99999999999999999999 GiB\"").is_err());
}
