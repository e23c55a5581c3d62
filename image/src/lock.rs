//! Pinning: reads a Debian release's lists, whose signature is checked, and writes down the newest of every package that a
//! board names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::Failure;
use crate::board::{Architecture, Board};
use crate::packages::{LOCK_FILE, Lock as LockFile, Pin, fetch, mirror, output, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Parts of the archive that boards take packages from.
const COMPONENTS: [&str; 2] = ["main", "non-free-firmware"];

/// Pins the newest packages.
#[derive(Args)]
pub struct Lock {
    /// Debian's release
    #[arg(long, default_value = "trixie")]
    release: String,
    /// Where lists are kept
    #[arg(long, default_value = "target/image/cache/lists")]
    cache: PathBuf,
}

type Stanza = BTreeMap<String, String>;

impl Lock {
    /// Runs to completion.
    pub fn run(&self, boards: &Path) -> Result<(), Failure> {
        let mut wanted: BTreeMap<&'static str, (Architecture, BTreeSet<String>)> = BTreeMap::new();
        for name in Board::names(boards)? {
            let board = Board::load(boards, &name)?;
            let packages = board.packages().into_iter().map(str::to_owned);
            let architecture = board.architecture;
            wanted.entry(architecture.debian()).or_insert((architecture, BTreeSet::new())).1.extend(packages);
        }
        std::fs::create_dir_all(&self.cache)?;
        let release = self.release_file()?;
        let mut pins: Vec<Pin> = Vec::new();
        for (architecture, names) in wanted.values() {
            let stanzas = self.packages(&release, *architecture)?;
            for name in names {
                let pin = pin(name, &stanzas)?;
                if !pins.contains(&pin) {
                    pins.push(pin);
                }
            }
        }
        let lock = LockFile { release: self.release.clone(), day: day_of(&release)?, package: pins };
        let path = boards.join(LOCK_FILE);
        let head = "# Written by `just image-lock`. Packages that images are made from, each believed by its hash alone.\n\n";
        std::fs::write(&path, format!("{head}{}", toml::to_string(&lock)?))?;
        println!("{} packages pinned in {}", lock.package.len(), path.display());
        Ok(())
    }

    fn address(&self, path: &str) -> String {
        format!("{}/dists/{}/{path}", mirror(), self.release)
    }

    /// The signed list of lists, after its signature was checked.
    fn release_file(&self) -> Result<String, Failure> {
        let signed = self.cache.join("InRelease");
        fetch(&self.address("InRelease"), &signed, None)?;
        let plain = self.cache.join("Release");
        let _ = std::fs::remove_file(&plain);
        run(Command::new("gpgv").args(["--keyring", KEYRING, "--output"]).arg(&plain).arg(&signed))?;
        Ok(std::fs::read_to_string(plain)?)
    }

    /// All packages of an architecture by name.
    fn packages(
        &self,
        release: &str,
        architecture: Architecture,
    ) -> Result<BTreeMap<String, Stanza>, Failure> {
        let mut stanzas = BTreeMap::new();
        for component in COMPONENTS {
            let path = format!("{component}/binary-{}/Packages.xz", architecture.debian());
            let sha256 = hash_of(release, &path).ok_or_else(|| format!("the release lists no {path}"))?;
            let file = self.cache.join(path.replace('/', "-"));
            fetch(&self.address(&path), &file, Some(&sha256))?;
            let text = String::from_utf8(output(Command::new("xz").arg("-dc").arg(&file))?)?;
            for stanza in text.split("\n\n").map(parse_stanza) {
                if let Some(name) = stanza.get("Package") {
                    stanzas.insert(name.clone(), stanza);
                }
            }
        }
        Ok(stanzas)
    }
}

fn pin(name: &str, stanzas: &BTreeMap<String, Stanza>) -> Result<Pin, Failure> {
    let get = |name: &str| stanzas.get(name).ok_or_else(|| format!("Debian has no package {name}"));
    let named = get(name)?;
    let points_to = named.get("Depends").filter(|_| name.starts_with("linux-image-")).and_then(|depends| {
        depends.split([',', '|']).filter_map(|part| part.split_whitespace().next()).find(|part| {
            part.starts_with("linux-image-")
                && part.chars().any(|letter| letter.is_ascii_digit())
                && *part != name
        })
    });
    let stanza = points_to.map_or(Ok(named), get)?;
    let field = |key: &str| {
        stanza.get(key).cloned().ok_or_else(|| format!("the list of packages gives no {key} of {name}"))
    };
    Ok(Pin {
        name: name.to_owned(),
        real: points_to.map(str::to_owned),
        architecture: field("Architecture")?,
        version: field("Version")?,
        source: field("Source").unwrap_or_else(|_| stanza["Package"].clone()),
        path: field("Filename")?,
        sha256: field("SHA256")?,
    })
}

fn parse_stanza(text: &str) -> Stanza {
    let fields = text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once(": "));
    fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn hash_of(release: &str, path: &str) -> Option<String> {
    let hashes = release.lines().skip_while(|line| !line.starts_with("SHA256:")).skip(1);
    hashes.take_while(|line| line.starts_with(' ')).find_map(|line| {
        let mut words = line.split_whitespace();
        let hash = words.next()?;
        (words.nth(1)? == path).then(|| hash.to_owned())
    })
}

/// The day of a release file, as the archive of all files names it.
fn day_of(release: &str) -> Result<String, Failure> {
    let date =
        release.lines().find_map(|line| line.strip_prefix("Date: ")).ok_or("the release has no date")?;
    let output = output(Command::new("date").args(["-u", "+%Y%m%dT%H%M%SZ", "-d", date]))?;
    Ok(String::from_utf8(output)?.trim().to_owned())
}
