//! Nodes of the simulation: replicas that apply a log in batches, give birth to children, and start from older images.

use std::collections::BTreeMap;
use std::sync::Arc;

use grid_types::ShardId;

use super::super::fixture::{CACHE_BYTES, Children, Machine};
use super::ROOT;
use crate::state::{Body, Entry, Reply, ShardFile, Storage, Writer};

/// What a replica is started from: bytes of the file, and how many entries they cover.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) at: usize,
}

/// One replica of one shard.
pub(super) struct Seat {
    pub(super) machine: Machine,
    /// Entries applied.
    pub(super) at: usize,
    pub(super) images: Vec<Image>,
}

/// One node: its replicas, and which children were born there.
pub(super) struct Node {
    pub(super) children: Arc<Children>,
    pub(super) seats: BTreeMap<ShardId, Seat>,
}

pub(super) type Logs = BTreeMap<ShardId, Vec<Vec<u8>>>;

pub(super) fn restore(image: &Image, children: &Arc<Children>) -> Machine {
    let mut chunks = vec![image.bytes.as_ref()].into_iter();
    let next = || Ok(chunks.next());
    Machine::of_file(ShardFile::restore(Storage::Memory, next, CACHE_BYTES, children.clone()).unwrap())
}

pub(super) fn image_of(machine: &Machine, at: usize) -> Image {
    let mut chunks = machine.file.image().unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        bytes.extend(chunk);
    }
    Image { bytes: Arc::new(bytes), at }
}

impl Node {
    pub(super) fn new(base: &Image) -> Self {
        let children = Arc::new(Children::default());
        let seat = Seat { machine: restore(base, &children), at: 0, images: vec![base.clone()] };
        Self { children, seats: BTreeMap::from([(ROOT, seat)]) }
    }

    /// Applies the next `count` entries as one batch. A child that was handed its range is born, or the node dies first.
    pub(super) fn apply(&mut self, logs: &Logs, shard: ShardId, count: usize, dies: bool) -> Vec<Reply> {
        let seat = self.seats.get_mut(&shard).unwrap();
        let log = &logs[&shard];
        let end = log.len().min(seat.at + count);
        let entries: Vec<Entry<'_>> = (seat.at as u64..)
            .zip(&log[seat.at..end])
            .map(|(index, bytes)| Entry { index, log_id: b"id", body: Body::Proposal(bytes) })
            .collect();
        let replies = seat.machine.file.apply(&entries).unwrap();
        seat.at = end;
        let finished: Vec<(ShardId, Writer)> = logs
            .keys()
            .filter(|child| !self.children.born.lock().contains(child))
            .filter_map(|child| Some((*child, seat.machine.file.writer().take_finished(*child)?)))
            .collect();
        let dies = dies && !finished.is_empty();
        for (child, writer) in finished.into_iter().filter(|_| !dies) {
            let file = ShardFile::from_writer(Storage::Memory, CACHE_BYTES, writer);
            let image = image_of(&Machine::of_file(file), 0);
            // As a new run opens it: with this node's children.
            let machine = restore(&image, &self.children);
            self.children.born.lock().push(child);
            self.seats.insert(child, Seat { machine, at: 0, images: vec![image] });
        }
        if dies {
            self.restart(shard, 0);
        }
        replies
    }

    /// Begins anew from one of the images of a shard.
    pub(super) fn restart(&mut self, shard: ShardId, image: usize) {
        let seat = self.seats.get_mut(&shard).unwrap();
        let image = seat.images[image % seat.images.len()].clone();
        seat.machine = restore(&image, &self.children);
        seat.at = image.at;
    }
}

/// Rows of all tables as text, with drive lists in place of their numbers: a replica numbers the lists of a child in the
/// order in which it copied them, and keeps some that it copied in vain.
pub(super) fn rows(machine: &Machine) -> Vec<String> {
    let mut lines: Vec<String> = machine
        .dump()
        .into_iter()
        .filter(|line| {
            !["place", "place_drive", "segment"].iter().any(|t| line.starts_with(&format!("{t}: ")))
        })
        .collect();
    let segments = machine.file.read(|view| {
        let mut statement = view.connection.prepare(
            "SELECT owner, part, number, s.id, incomplete, moved, row, drives,
                 (SELECT group_concat(hex(drive)) FROM (SELECT drive FROM place_drive d
                     WHERE d.place = p.id ORDER BY drive))
             FROM segment s LEFT JOIN place p ON p.id = s.place ORDER BY owner, part, number",
        )?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let values: Vec<String> =
                (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap())).collect();
            lines.push(format!("segment: {}", values.join(" ")));
        }
        Ok(lines)
    });
    lines.extend(segments.unwrap_or_else(|_| panic!("segments cannot be read")));
    lines
}
