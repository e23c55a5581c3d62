//! Writes tar archives in the form "ustar" (POSIX.1-1988), and packs them. Owners by number, one time for all, sorted by path:
//! the same tree gives the same bytes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::Failure;

const BLOCK_BYTES: usize = 512;
/// Longer ones need the header's prefix, which nothing here needs.
const PATH_BYTES_MAX: usize = 99;
/// What a size of eleven octal digits can say.
const CONTENT_BYTES_MAX: usize = 0o77_777_777_777;

/// One entry.
struct Entry {
    mode: u32,
    owner: u32,
    /// Nothing: a folder.
    content: Option<Vec<u8>>,
}

/// A tree by path, without first slashes.
pub struct Tree {
    prefix: &'static str,
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// An empty one, whose paths begin with `prefix` in the archive: Debian's say `./`.
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, entries: BTreeMap::new() }
    }

    /// A folder of a user; those above it are root's.
    pub fn folder(&mut self, path: &str, mode: u32, owner: u32) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry { mode, owner, content: None });
    }

    /// A file of root's; folders above it come by themselves.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry { mode, owner: 0, content: Some(content.into()) });
    }

    /// All files with their content.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().filter_map(|(path, entry)| Some((path.as_str(), entry.content.as_deref()?)))
    }

    /// The archive, everything in it changed `seconds` after 1970.
    pub fn archive(&self, seconds: u64) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        if !self.prefix.is_empty() {
            out.extend(header(self.prefix, &Entry { mode: 0o755, owner: 0, content: None }, seconds)?);
        }
        for (path, entry) in &self.entries {
            let end = if entry.content.is_none() { "/" } else { "" };
            out.extend(header(&format!("{}{path}{end}", self.prefix), entry, seconds)?);
            out.extend_from_slice(entry.content.as_deref().unwrap_or_default());
            out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        out.resize(out.len() + 2 * BLOCK_BYTES, 0);
        Ok(out)
    }

    fn above(&mut self, path: &str) {
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/') {
            let made = || Entry { mode: 0o755, owner: 0, content: None };
            self.entries.entry(folder.to_owned()).or_insert_with(made);
            above = folder;
        }
    }
}

fn header(path: &str, entry: &Entry, seconds: u64) -> Result<[u8; BLOCK_BYTES], Failure> {
    let length = entry.content.as_ref().map_or(0, Vec::len);
    if path.len() > PATH_BYTES_MAX || length > CONTENT_BYTES_MAX {
        return Err(format!("{path}: its name or its content is too long for an archive").into());
    }
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, &format!("{:07o}", entry.mode));
    put(108, &format!("{:07o}", entry.owner));
    put(116, &format!("{:07o}", entry.owner));
    put(124, &format!("{length:011o}"));
    put(136, &format!("{seconds:011o}"));
    put(148, "        "); // the sum counts itself as spaces
    put(156, if entry.content.is_none() { "5" } else { "0" });
    put(257, "ustar\x0000");
    let name = if entry.owner == 0 { "root" } else { "shoal" };
    put(265, name);
    put(297, name);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Packs by a program that every Debian has, which writes neither name nor time.
pub fn pack(program: &str, options: &[&str], content: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut child = Command::new(program)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("running {program}: {error}: install it"))?;
    let mut input = child.stdin.take().ok_or_else(|| format!("{program} takes no input"))?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(content));
        let output = child.wait_with_output();
        let panicked = |_| std::io::Error::other(format!("the thread that feeds {program} panicked"));
        writer.join().map_err(panicked)??;
        output
    })?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{program} failed").into()) }
}

/// Seconds since 1970 that everything in a package was changed at: `SOURCE_DATE_EPOCH`, else the time of the commit.
pub fn source_date() -> Result<u64, Failure> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text
            .parse()
            .map_err(|_| format!("$SOURCE_DATE_EPOCH is `{text}`: write seconds since 1970").into());
    }
    let help = "set $SOURCE_DATE_EPOCH to seconds since 1970";
    let asked = Command::new("git").args(["log", "-1", "--format=%ct"]).output();
    let asked = asked.map_err(|error| format!("asking git for the commit's time: {error}: {help}"))?;
    let text = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    text.parse().map_err(|_| format!("git knows no time of the commit: {help}").into())
}
