//! Pinning: reads the lists of Debian's releases, whose signatures are checked, and writes down the newest of every package
//! that a board names.

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

/// What Debian's kernels come in since 7.0; the package `linux-image-VERSION` only names them.
const KERNEL_PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];

/// Pins the newest packages.
#[derive(Args)]
pub struct Lock {
    /// Debian's release, for packages whose name names no other
    #[arg(long, default_value = "trixie")]
    release: String,
    /// Where lists are kept
    #[arg(long, default_value = "target/image/cache/lists")]
    cache: PathBuf,
}

type Stanza = BTreeMap<String, String>;
/// What Debian's packages of one architecture in one release are.
type Stanzas = BTreeMap<String, Stanza>;

/// A release of Debian, as its signed list of lists has it.
struct Release {
    name: String,
    lists: String,
    /// Of the lists, as the archive of all files names it.
    day: String,
}

impl Lock {
    /// Runs to completion.
    pub fn run(&self, boards: &Path) -> Result<(), Failure> {
        // Release → architecture → names of packages, as boards write them.
        let mut wanted: BTreeMap<String, BTreeMap<&str, (Architecture, BTreeSet<String>)>> = BTreeMap::new();
        for name in Board::names(boards)? {
            let board = Board::load(boards, &name)?;
            for package in board.packages() {
                let release = release_of(package).1.unwrap_or(&self.release).to_owned();
                let of_release = wanted.entry(release).or_default();
                let names = of_release.entry(board.architecture.debian());
                names.or_insert((board.architecture, BTreeSet::new())).1.insert(package.to_owned());
            }
        }
        std::fs::create_dir_all(&self.cache)?;
        let (mut pins, mut days): (Vec<Pin>, Vec<String>) = (Vec::new(), Vec::new());
        for (release, architectures) in wanted {
            let release = self.release(release)?;
            for (architecture, names) in architectures.into_values() {
                let stanzas = self.packages(&release, architecture)?;
                for name in names {
                    let fresh: Vec<Pin> =
                        pin(&name, &stanzas)?.into_iter().filter(|pin| !pins.contains(pin)).collect();
                    pins.extend(fresh);
                }
            }
            days.push(release.day);
        }
        // The archive of a day still has what releases had on earlier ones.
        let day = days.into_iter().max().ok_or("no board names a package")?;
        let lock = LockFile { release: self.release.clone(), day, package: pins };
        let path = boards.join(LOCK_FILE);
        let head = "# Written by `just image-lock`. Packages that images are made from, each believed by its hash alone.\n\n";
        std::fs::write(&path, format!("{head}{}", toml::to_string(&lock)?))?;
        println!("{} packages pinned in {}", lock.package.len(), path.display());
        Ok(())
    }

    /// A release, after the signature of its list of lists was checked.
    fn release(&self, name: String) -> Result<Release, Failure> {
        let signed = self.cache.join(format!("{name}-InRelease"));
        fetch(&address(&name, "InRelease"), &signed, None)?;
        let plain = self.cache.join(format!("{name}-Release"));
        let _ = std::fs::remove_file(&plain);
        run(Command::new("gpgv").args(["--keyring", KEYRING, "--output"]).arg(&plain).arg(&signed))?;
        let lists = std::fs::read_to_string(plain)?;
        Ok(Release { day: day_of(&lists)?, name, lists })
    }

    /// All packages of an architecture by name.
    fn packages(&self, release: &Release, architecture: Architecture) -> Result<Stanzas, Failure> {
        let mut stanzas = BTreeMap::new();
        for component in COMPONENTS {
            let path = format!("{component}/binary-{}/Packages.xz", architecture.debian());
            let sha256 =
                hash_of(&release.lists, &path).ok_or_else(|| format!("{} lists no {path}", release.name))?;
            let file = self.cache.join(format!("{}-{}", release.name, path.replace('/', "-")));
            fetch(&address(&release.name, &path), &file, Some(&sha256))?;
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

fn address(release: &str, path: &str) -> String {
    format!("{}/dists/{release}/{path}", mirror())
}

/// A package as boards write it, and the release that it is from, as apt takes it: `NAME/RELEASE`.
fn release_of(package: &str) -> (&str, Option<&str>) {
    package.split_once('/').map_or((package, None), |(name, release)| (name, Some(release)))
}

/// The packages that a stanza depends on, without their versions and alternatives.
fn depends(stanza: &Stanza) -> impl Iterator<Item = &str> {
    let all = stanza.get("Depends").map(String::as_str).unwrap_or_default();
    all.split(',').filter_map(|one| one.split_whitespace().next())
}

/// The packages that hold the files of `name`: itself, or those of the newest kernel that it points to.
fn reals<'a>(name: &'a str, stanzas: &'a Stanzas) -> Vec<&'a str> {
    let Some(kind) = name.strip_prefix("linux-image-") else { return vec![name] };
    let numbered = |one: &&str| one.starts_with("linux-image-") && one.ends_with(&format!("-{kind}"));
    let Some(newest) = stanzas.get(name).and_then(|stanza| depends(stanza).find(numbered)) else {
        return vec![name];
    };
    let version = newest.trim_start_matches("linux-image-");
    let part = |one: &&str| KERNEL_PARTS.iter().any(|part| one.strip_prefix(part) == Some(version));
    let parts: Vec<&str> = stanzas.get(newest).into_iter().flat_map(depends).filter(part).collect();
    if parts.is_empty() { vec![newest] } else { parts }
}

fn pin(package: &str, stanzas: &Stanzas) -> Result<Vec<Pin>, Failure> {
    let pin = |real: &str| -> Result<Pin, Failure> {
        let stanza = stanzas.get(real).ok_or_else(|| format!("Debian has no package {real}"))?;
        let field = |key: &str| {
            stanza.get(key).cloned().ok_or_else(|| format!("the list of packages gives no {key} of {real}"))
        };
        Ok(Pin {
            name: package.to_owned(),
            real: (real != package).then(|| real.to_owned()),
            architecture: field("Architecture")?,
            version: field("Version")?,
            source: field("Source").unwrap_or_else(|_| real.to_owned()),
            path: field("Filename")?,
            sha256: field("SHA256")?,
        })
    };
    reals(release_of(package).0, stanzas).into_iter().map(pin).collect()
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

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
