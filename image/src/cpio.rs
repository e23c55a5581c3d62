//! Writes an initramfs: a cpio archive in the form "newc". Source: Linux, Documentation/driver-api/early-userspace/
//! buffer-format.rst. Owners are root, times are zero, inode numbers count: the same tree gives the same bytes.

use std::collections::BTreeMap;

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// Names and contents end at multiples of this.
const PAD: usize = 4;

/// One entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file with its mode.
    File { content: Vec<u8>, executable: bool },
    /// A symbolic link.
    Link { to: String },
    /// A character device.
    Device { major: u32, minor: u32 },
}

/// A tree by path, without first slashes; folders above an entry come by themselves.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// Puts an entry in, over one that is there.
    pub fn put(&mut self, path: &str, entry: Entry) {
        let path = path.trim_start_matches('/');
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/') {
            self.entries.entry(folder.to_owned()).or_insert(Entry::Folder);
            above = folder;
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// A program.
    pub fn program(&mut self, path: &str, content: Vec<u8>) {
        self.put(path, Entry::File { content, executable: true });
    }

    /// A file.
    pub fn file(&mut self, path: &str, content: Vec<u8>) {
        self.put(path, Entry::File { content, executable: false });
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.put(path, Entry::Link { to: to.to_owned() });
    }

    /// The archive.
    pub fn archive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut inode = 0;
        for (path, entry) in &self.entries {
            inode += 1;
            match entry {
                Entry::Folder => append(&mut out, inode, path, 0o040_755, &[], (0, 0)),
                Entry::File { content, executable } => {
                    let mode = if *executable { 0o100_755 } else { 0o100_644 };
                    append(&mut out, inode, path, mode, content, (0, 0));
                }
                Entry::Link { to } => append(&mut out, inode, path, 0o120_777, to.as_bytes(), (0, 0)),
                Entry::Device { major, minor } => {
                    append(&mut out, inode, path, 0o020_600, &[], (*major, *minor));
                }
            }
        }
        append(&mut out, 0, TRAILER, 0, &[], (0, 0));
        out
    }
}

fn append(out: &mut Vec<u8>, inode: u32, name: &str, mode: u32, content: &[u8], device: (u32, u32)) {
    // inode, mode, user, group, links, time, length, device major and minor, own major and minor, name length, checksum
    let length = content.len() as u32;
    let fields = [inode, mode, 0, 0, 1, 0, length, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
    out.extend_from_slice(MAGIC.as_bytes());
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(PAD), 0);
}
