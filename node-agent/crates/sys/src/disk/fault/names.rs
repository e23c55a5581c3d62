//! The names of a simulated disk: what the cache shows, what the medium holds, and the changes between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Content, FileNode, Survival};
use crate::disk::DirEntry;

type DirNode = Arc<Mutex<Dir>>;

#[derive(Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

impl Node {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => Arc::ptr_eq(a, b),
            (Self::Dir(a), Self::Dir(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

#[derive(Default)]
struct Dir {
    current: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

/// A name in a directory.
#[derive(Clone)]
struct Place {
    dir: DirNode,
    name: String,
}

impl Place {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dir, &other.dir) && self.name == other.name
    }
}

/// One unsynced change: a create has no `from`, a remove no `to`, a rename both.
struct Change {
    from: Option<Place>,
    to: Option<Place>,
    node: Node,
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.from.iter().chain(&self.to)
    }

    /// Does it to the medium.
    fn settle(&self) {
        if let Some(from) = &self.from {
            let mut dir = from.dir.lock();
            if dir.durable.get(&from.name).is_some_and(|node| node.is(&self.node)) {
                dir.durable.remove(&from.name);
            }
        }
        if let Some(to) = &self.to {
            to.dir.lock().durable.insert(to.name.clone(), self.node.clone());
        }
    }
}

#[derive(Default)]
pub(super) struct Names {
    root: DirNode,
    /// Oldest first.
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn file(&self, path: &str) -> io::Result<FileNode> {
        match self.node(path)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<FileNode> {
        let to = self.place(path)?;
        if to.dir.lock().current.contains_key(&to.name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = FileNode::default();
        self.change(None, Some(to), Node::File(file.clone()));
        Ok(file)
    }

    /// Returns the file that `to` named before.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<Option<FileNode>> {
        let node = self.node(from)?;
        let (from, to) = (self.place(from)?, self.place(to)?);
        let replaced = to.dir.lock().current.get(&to.name).cloned();
        let replaced = match (replaced, &node) {
            (Some(there), _) if there.is(&node) => return Ok(None),
            (Some(Node::File(file)), Node::File(_)) => Some(file),
            (None, _) => None,
            _ => return Err(io::ErrorKind::IsADirectory.into()),
        };
        self.change(Some(from), Some(to), node);
        Ok(replaced)
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<FileNode> {
        let file = self.file(path)?;
        let from = self.place(path)?;
        self.change(Some(from), None, Node::File(file.clone()));
        Ok(file)
    }

    pub(super) fn create_dir_all(&mut self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            let to = self.place(&path[..end])?;
            let there = to.dir.lock().current.get(&to.name).cloned();
            match there {
                Some(Node::Dir(_)) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.change(None, Some(to), Node::Dir(DirNode::default())),
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(path)?;
        let dir = dir.lock();
        let entry = |(name, node): (&String, &Node)| match node {
            Node::File(file) => DirEntry { name: name.clone(), len: file.lock().len(), is_dir: false },
            Node::Dir(_) => DirEntry { name: name.clone(), len: 0, is_dir: true },
        };
        Ok(dir.current.iter().map(entry).collect())
    }

    /// Makes a directory's changes durable; with a survival, only those that survive, and the rest is forgotten.
    pub(super) fn sync(&mut self, path: &str, failing: Option<Survival<'_>>) -> io::Result<()> {
        let dir = self.dir(path)?;
        // A rename into this directory brings along what happened before to the name that it came from.
        let mut drawn_in: Vec<Place> = Vec::new();
        let mut chosen = BTreeSet::new();
        for (at, change) in self.changes.iter().enumerate().rev() {
            let mut places = change.places();
            if places.any(|place| Arc::ptr_eq(&place.dir, &dir) || drawn_in.iter().any(|p| p.is(place))) {
                chosen.insert(at);
                drawn_in.extend(change.places().cloned());
            }
        }
        let mut at = 0;
        self.changes.retain(|change| {
            let now = chosen.contains(&at);
            at += 1;
            if now && failing.as_ref().is_none_or(Survival::survives) {
                change.settle();
            }
            !now
        });
        Ok(())
    }

    /// The names as the next boot finds them, with the files as it finds them.
    pub(super) fn after_power_cut(&mut self, survival: &Survival<'_>) -> Self {
        for change in self.changes.drain(..) {
            if survival.survives() {
                change.settle();
            }
        }
        let mut files = HashMap::new();
        Self { root: reborn(&self.root, survival, &mut files), changes: Vec::new() }
    }

    /// Bytes charged for all files.
    pub(super) fn used(&self) -> u64 {
        fn of(dir: &DirNode) -> u64 {
            let dir = dir.lock();
            dir.current
                .values()
                .map(|node| match node {
                    Node::File(file) => file.lock().charged(),
                    Node::Dir(dir) => of(dir),
                })
                .sum()
        }
        of(&self.root)
    }

    fn change(&mut self, from: Option<Place>, to: Option<Place>, node: Node) {
        if let Some(from) = &from {
            from.dir.lock().current.remove(&from.name);
        }
        if let Some(to) = &to {
            to.dir.lock().current.insert(to.name.clone(), node.clone());
        }
        self.changes.push(Change { from, to, node });
    }

    fn node(&self, path: &str) -> io::Result<Node> {
        if path.is_empty() {
            return Ok(Node::Dir(self.root.clone()));
        }
        let place = self.place(path)?;
        let node = place.dir.lock().current.get(&place.name).cloned();
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn dir(&self, path: &str) -> io::Result<DirNode> {
        match self.node(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn place(&self, path: &str) -> io::Result<Place> {
        let mut dir = self.root.clone();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return Ok(Place { dir, name: name.to_owned() });
            }
            let next = dir.lock().current.get(name).cloned();
            dir = match next {
                Some(Node::Dir(next)) => next,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            };
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A copy of the durable tree. A file that two surviving names lead to stays one file.
fn reborn(
    dir: &DirNode,
    survival: &Survival<'_>,
    files: &mut HashMap<*const Mutex<Content>, FileNode>,
) -> DirNode {
    let dir = dir.lock();
    let mut entries = BTreeMap::new();
    for (name, node) in &dir.durable {
        let node = match node {
            Node::File(file) => Node::File(
                files
                    .entry(Arc::as_ptr(file))
                    .or_insert_with(|| Arc::new(Mutex::new(file.lock().after_power_cut(survival))))
                    .clone(),
            ),
            Node::Dir(dir) => Node::Dir(reborn(dir, survival, files)),
        };
        entries.insert(name.clone(), node);
    }
    Arc::new(Mutex::new(Dir { current: entries.clone(), durable: entries }))
}
