//! The chunks of one write attempt: opened on their drives, fed stripe by stripe at the pace of the ack set, synced.
//!
//! Invariant: an entry is `None` from the moment its drive failed, was cut off or was never found; no frame reaches it
//! again, and the row will not name it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::{ChunkError, ChunkHeader};
use codec::{FRAME_HASH_BYTES, FrameHasher};
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use grid_types::{
    ChunkKey, DriveId, DriveState, ErrorCode, FailureDomain, GridSnapshot, Profile, ProfileChoice, SegmentId,
};
use placement::{Domains, ack_set_domains, ack_set_reached};
use tokio::time::{Instant, timeout};

use crate::SegmentError;
use crate::remote::DriveWriter;
use crate::store::Shared;

/// The open chunks of one attempt.
pub(crate) struct ChunkSet {
    shared: Arc<Shared>,
    pub id: SegmentId,
    pub profile: Profile,
    chunks: Vec<Option<OpenChunk>>,
    domains_in_grid: usize,
    failure: Option<Failure>,
    /// Time spent waiting with the window shut.
    waited: Duration,
}

struct OpenChunk {
    drive: DriveId,
    domain: FailureDomain,
    hasher: FrameHasher,
    writer: DriveWriter,
    /// Time that this segment's ack set spent waiting for this chunk.
    blamed: Duration,
}

/// The first thing that went wrong, for the error that the caller sees.
#[derive(Clone)]
struct Failure {
    cause: String,
    code: ErrorCode,
}

/// What an attempt needs to know.
pub(crate) struct SetSpec {
    pub choice: ProfileChoice,
    pub small: bool,
    /// What the choice comes to as long as no drive refuses.
    pub expected: Profile,
    /// All but the chunk key and the profile.
    pub header: ChunkHeader,
    /// Plaintext bytes at most.
    pub plain_len_max: u64,
}

impl ChunkSet {
    /// Chooses drives and opens chunks on them. A drive that refuses is left out of the picture and all is chosen
    /// anew, so each round knows at least one drive less; the chunks opened in vain leave nothing behind.
    /// `refused` are drives that failed an earlier attempt.
    pub async fn begin(
        shared: &Arc<Shared>,
        id: SegmentId,
        spec: &SetSpec,
        refused: &mut Refused,
    ) -> Result<Self, SegmentError> {
        let current = shared.grid.load();
        loop {
            let changed;
            let grid = if refused.drives.is_empty() {
                &*current
            } else {
                changed = refused.without_them(&current);
                &changed
            };
            match Self::try_begin(shared, id, spec, grid, refused).await {
                Ok(Some(set)) => return Ok(set),
                Ok(None) => {}
                // The drives' own words say more than what is missing without them.
                Err(error) => return Err(refused.explain(id, error)),
            }
        }
    }

    /// One round; `None` where a drive refused.
    async fn try_begin(
        shared: &Arc<Shared>,
        id: SegmentId,
        spec: &SetSpec,
        grid: &GridSnapshot,
        refused: &mut Refused,
    ) -> Result<Option<Self>, SegmentError> {
        let profile = if refused.drives.is_empty() {
            spec.expected
        } else {
            placement::profile_for(spec.choice, spec.small, grid, shared.config.accept_degraded)?
        };
        let near = shared.drives.own();
        let placement =
            placement::place_near(profile, grid, near, &[], &mut |below| shared.random.below(below))?;
        let layout =
            codec::SegmentLayout::new(spec.plain_len_max, profile.data_chunks(), spec.header.block_packets);
        let domains = Domains::new(grid);
        let begins = (0u8..).zip(&placement.drives).map(|(index, drive)| {
            let chunk = ChunkKey { segment: id, index };
            let header = ChunkHeader { chunk, profile, ..spec.header.clone() };
            let domain = drive.and_then(|id| grid.drive(id)).map(|drive| domains.of(drive));
            let handle = drive.and_then(|id| shared.drives.drive(id));
            async move {
                let (Some(drive), Some(domain)) = (*drive, domain) else { return Ok(None) };
                let Some(handle) = handle else {
                    let cause = format!("drive {drive} is neither on this node nor on one that is known");
                    return Err((drive, Failure { cause, code: ErrorCode::NoSuchDrive }));
                };
                match handle.begin(header, layout.chunk_payload_len()).await {
                    Ok(writer) => Ok(Some(OpenChunk {
                        drive,
                        domain,
                        hasher: FrameHasher::new(chunk),
                        writer,
                        blamed: Duration::ZERO,
                    })),
                    Err(error) => Err((drive, Failure { code: error.code(), cause: error.to_string() })),
                }
            }
        });
        let mut chunks = Vec::with_capacity(profile.total_chunks());
        let before = refused.drives.len();
        for begun in join_all(begins).await {
            match begun {
                Ok(chunk) => chunks.push(chunk),
                Err((drive, failure)) => refused.note(drive, failure),
            }
        }
        if refused.drives.len() > before {
            return Ok(None);
        }
        let domains_in_grid = domains.in_grid();
        Ok(Some(Self {
            shared: shared.clone(),
            id,
            profile,
            chunks,
            domains_in_grid,
            failure: None,
            waited: Duration::ZERO,
        }))
    }

    /// Hands out one stripe: `blocks[i]` is the block of chunk i (for copies, one block for all). Returns when each
    /// chunk has taken its frame or been given up; fails when those left cannot make an ack set.
    pub async fn push(&mut self, frame: u64, blocks: &[Bytes]) -> Result<(), SegmentError> {
        let stall = self.shared.config.stall_max;
        let mut taken: Vec<FailureDomain> = Vec::with_capacity(self.chunks.len());
        let mut failed: Vec<(usize, Failure)> = Vec::new();
        let mut waiting: Vec<usize> = Vec::new();
        {
            let lag = Lag { waited: &mut self.waited, patience: self.shared.config.lag_patience };
            let mut blamed: Vec<Duration> = Vec::with_capacity(self.chunks.len());
            let mut pushes = FuturesUnordered::new();
            for (index, chunk) in self.chunks.iter_mut().enumerate() {
                blamed.push(chunk.as_ref().map_or(Duration::ZERO, |chunk| chunk.blamed));
                let Some(chunk) = chunk else { continue };
                let block = blocks[index.min(blocks.len() - 1)].clone();
                let hash: [u8; FRAME_HASH_BYTES] = chunk.hasher.hash(frame, &block);
                waiting.push(index);
                pushes.push(async move {
                    let result = chunk.writer.write_frame(hash, vec![block]).await;
                    (index, chunk.domain.clone(), result)
                });
            }
            while !pushes.is_empty() {
                let enough = ack_set_reached(self.profile, &taken, self.domains_in_grid);
                let begun = Instant::now();
                let next = timeout(if enough { lag.step() } else { stall }, pushes.next()).await;
                if enough {
                    let waited = begun.elapsed();
                    *lag.waited += waited;
                    let mut guilty = false;
                    for index in &waiting {
                        blamed[*index] += waited;
                        guilty |= lag.guilty(blamed[*index]);
                    }
                    if guilty && next.is_err() {
                        break;
                    }
                } else if next.is_err() {
                    break;
                }
                let Ok(Some((index, domain, result))) = next else { continue };
                waiting.retain(|other| *other != index);
                match result {
                    Ok(()) => taken.push(domain),
                    Err(error) => {
                        let failure = Failure { code: error.code(), cause: error.to_string() };
                        failed.push((index, failure));
                    }
                }
            }
            drop(pushes);
            for (chunk, blamed) in self.chunks.iter_mut().zip(blamed) {
                if let Some(chunk) = chunk {
                    chunk.blamed = blamed;
                }
            }
        }
        for (index, failure) in failed {
            self.give_up(index, failure);
        }
        for index in waiting {
            self.cut_off(index, "is slower than the others");
        }
        self.check_reachable()
    }

    /// Frames that a chunk may hold before it writes one: the window must be wider, or nothing would ever move.
    pub fn frames_held_max(&self) -> usize {
        self.chunks.iter().flatten().map(|chunk| chunk.writer.frames_held_max()).max().unwrap_or(0)
    }

    /// Chunks that alone keep the window shut: they hold the most frames while the others make an ack set. Empty when
    /// the ack set itself is what is waited for.
    pub fn laggards(&self) -> Vec<usize> {
        let queued =
            |index: usize| self.chunks[index].as_ref().map_or(0, |chunk| chunk.writer.queued_frames());
        let all = 0..self.chunks.len();
        let most = all.clone().map(queued).max().unwrap_or(0);
        if most == 0 {
            return Vec::new();
        }
        let (laggards, others): (Vec<usize>, Vec<usize>) = all.partition(|index| queued(*index) == most);
        let others: Vec<FailureDomain> = others
            .into_iter()
            .filter_map(|index| self.chunks[index].as_ref().map(|chunk| chunk.domain.clone()))
            .collect();
        if ack_set_reached(self.profile, &others, self.domains_in_grid) { laggards } else { Vec::new() }
    }

    /// Books time that was spent with the window shut because of these chunks, and cuts off those that it was too much
    /// for. True when something was cut off.
    pub fn blame(&mut self, laggards: &[usize], waited: Duration) -> bool {
        self.waited += waited;
        let patience = self.shared.config.lag_patience;
        let mut cut = false;
        for index in laggards {
            let Some(chunk) = self.chunks[*index].as_mut() else { continue };
            chunk.blamed += waited;
            if (Lag { waited: &mut self.waited, patience }).guilty(chunk.blamed) {
                self.cut_off(*index, "is slower than the others");
                cut = true;
            }
        }
        cut
    }

    /// How long to wait before looking anew at who is slow.
    pub fn lag_step(&self) -> Duration {
        lag_step(self.shared.config.lag_patience)
    }

    fn cut_off(&mut self, index: usize, why: &str) {
        if let Some(drive) = self.chunks[index].as_ref().map(|chunk| chunk.drive) {
            let again = self.shared.grid.slow.note(drive);
            tracing::warn!(segment = %self.id, index, %drive, again, "chunk cut off: its drive {why}");
            let cause = format!("drive {drive} {why}");
            self.give_up(index, Failure { cause, code: ErrorCode::DriveFailed });
        }
    }

    fn give_up(&mut self, index: usize, failure: Failure) {
        tracing::debug!(segment = %self.id, index, cause = failure.cause, "chunk given up");
        self.chunks[index] = None;
        self.failure.get_or_insert(failure);
    }

    fn check_reachable(&self) -> Result<(), SegmentError> {
        let alive: Vec<FailureDomain> =
            self.chunks.iter().flatten().map(|chunk| chunk.domain.clone()).collect();
        if ack_set_reached(self.profile, &alive, self.domains_in_grid) {
            return Ok(());
        }
        Err(self.too_few(0))
    }

    /// The error of an attempt that cannot be acknowledged.
    pub fn too_few(&self, synced: usize) -> SegmentError {
        too_few(self.id, self.profile, self.failure.clone(), synced)
    }

    /// Drives whose chunks were given up, for the next attempt.
    pub fn lost_drives(&self, placed: &[Option<DriveId>]) -> Vec<DriveId> {
        placed
            .iter()
            .zip(&self.chunks)
            .filter(|(_, chunk)| chunk.is_none())
            .filter_map(|(id, _)| *id)
            .collect()
    }

    /// Chunk index → drive, of the chunks that are open.
    pub fn drives(&self) -> Vec<Option<DriveId>> {
        self.chunks.iter().map(|chunk| chunk.as_ref().map(|chunk| chunk.drive)).collect()
    }

    /// Syncs all chunks. Returns index → drive of those synced: an ack set, and of the others those that came within
    /// the grace. Dropping the future removes what was synced, since no row will name it.
    pub async fn finish(
        mut self,
        plain_len: u64,
        footer: &[u8],
    ) -> Result<Vec<Option<DriveId>>, (SegmentError, Vec<DriveId>)> {
        let config = self.shared.config.clone();
        let begun = Instant::now();
        let chunks = std::mem::take(&mut self.chunks);
        let mut synced: Vec<Option<DriveId>> = vec![None; chunks.len()];
        let mut domains: Vec<FailureDomain> = Vec::with_capacity(chunks.len());
        let mut failed_drives = Vec::new();
        let mut unsettled: Vec<DriveId> = chunks.iter().flatten().map(|chunk| chunk.drive).collect();
        let mut guard = Unpublished::new(self.shared.clone(), self.id);
        for (index, chunk) in chunks.into_iter().enumerate() {
            let Some(OpenChunk { drive, domain, writer, .. }) = chunk else { continue };
            let finish = writer.finish(plain_len, footer.to_vec());
            guard.finishing.push(Box::pin(async move { (index, drive, domain, finish.await) }));
        }
        while !guard.finishing.is_empty() {
            let enough = ack_set_reached(self.profile, &domains, self.domains_in_grid);
            let limit = if enough {
                begun.elapsed().clamp(config.finish_grace_min, config.finish_grace_max)
            } else {
                config.stall_max
            };
            let Ok(Some((index, drive, domain, result))) = timeout(limit, guard.finishing.next()).await
            else {
                break;
            };
            unsettled.retain(|other| *other != drive);
            match result {
                Ok(()) => {
                    synced[index] = Some(drive);
                    guard.synced.push((ChunkKey { segment: self.id, index: index as u8 }, drive));
                    domains.push(domain);
                }
                Err(error) => {
                    tracing::debug!(segment = %self.id, index, %drive, %error, "chunk not synced");
                    failed_drives.push(drive);
                    if matches!(error, ChunkError::Unreachable { .. }) {
                        // It may be there although nobody said so: removed with the others if the attempt fails.
                        guard.synced.push((ChunkKey { segment: self.id, index: index as u8 }, drive));
                    }
                    self.failure.get_or_insert(Failure { code: error.code(), cause: error.to_string() });
                }
            }
        }
        for drive in unsettled {
            let again = self.shared.grid.slow.note(drive);
            tracing::warn!(segment = %self.id, %drive, again, "chunk left behind: its drive did not sync in time");
            let cause = format!("drive {drive} did not sync in time");
            self.failure.get_or_insert(Failure { cause, code: ErrorCode::DriveFailed });
            failed_drives.push(drive);
        }
        if ack_set_reached(self.profile, &domains, self.domains_in_grid) {
            guard.publish();
            return Ok(synced);
        }
        let count = domains.len();
        Err((too_few(self.id, self.profile, self.failure.clone(), count), failed_drives))
    }
}

fn too_few(segment: SegmentId, profile: Profile, failure: Option<Failure>, synced: usize) -> SegmentError {
    let failure = failure.unwrap_or(Failure {
        cause: "no drive took the chunks".to_owned(),
        code: ErrorCode::InsufficientDomains,
    });
    let needed = ack_set_domains(profile);
    SegmentError::AckSet { segment, synced, needed, cause: failure.cause, code: failure.code }
}

/// Who is to blame for waiting: a chunk is cut off once the ack set has waited for it for more than the patience, and
/// that was most of all waiting. Drives of one speed are late in turns, and none of them is to blame.
struct Lag<'a> {
    waited: &'a mut Duration,
    patience: Duration,
}

impl Lag<'_> {
    fn guilty(&self, blamed: Duration) -> bool {
        blamed >= self.patience && blamed * 4 >= *self.waited * 3
    }

    fn step(&self) -> Duration {
        lag_step(self.patience)
    }
}

fn lag_step(patience: Duration) -> Duration {
    patience.clamp(Duration::from_millis(1), Duration::from_millis(100))
}

type Finishing = BoxFuture<'static, (usize, DriveId, FailureDomain, Result<(), ChunkError>)>;

/// Chunks that are synced or about to be while no row names them. Dropped without `publish`, it waits for the syncs
/// in the background and removes the chunks; what a crash leaves is the reaper's.
struct Unpublished {
    shared: Arc<Shared>,
    segment: SegmentId,
    finishing: FuturesUnordered<Finishing>,
    /// Those synced, and those of which nobody knows.
    synced: Vec<(ChunkKey, DriveId)>,
    published: bool,
}

impl Unpublished {
    fn new(shared: Arc<Shared>, segment: SegmentId) -> Self {
        Self { shared, segment, finishing: FuturesUnordered::new(), synced: Vec::new(), published: false }
    }

    /// The row will name what is synced; stragglers are reaped.
    fn publish(mut self) {
        self.published = true;
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if self.published || (self.synced.is_empty() && self.finishing.is_empty()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, segment) = (self.shared.clone(), self.segment);
        let mut finishing = std::mem::take(&mut self.finishing);
        let mut synced = std::mem::take(&mut self.synced);
        runtime.spawn(async move {
            while let Some((index, drive, _, result)) = finishing.next().await {
                if matches!(result, Ok(()) | Err(ChunkError::Unreachable { .. })) {
                    synced.push((ChunkKey { segment, index: index as u8 }, drive));
                }
            }
            for (chunk, drive) in synced {
                if let Some(drive) = shared.drives.drive(drive)
                    && let Err(error) = drive.remove(vec![chunk]).await
                {
                    tracing::warn!(%chunk, %error, "a chunk of a failed write stays until it is reaped");
                }
            }
        });
    }
}

/// Drives that refused chunks of this segment, with what they said.
#[derive(Default)]
pub(crate) struct Refused {
    drives: Vec<(DriveId, Failure)>,
}

impl Refused {
    fn note(&mut self, drive: DriveId, failure: Failure) {
        tracing::debug!(%drive, cause = failure.cause, "drive refused a chunk");
        self.drives.push((drive, failure));
    }

    /// Drives that failed during an attempt, so that the next one goes elsewhere.
    pub fn note_failed(&mut self, drives: impl IntoIterator<Item = DriveId>, error: &SegmentError) {
        for drive in drives {
            self.note(drive, Failure { cause: error.to_string(), code: error.code() });
        }
    }

    /// The picture without them: full where they said so, away otherwise.
    fn without_them(&self, grid: &GridSnapshot) -> GridSnapshot {
        let mut grid = grid.clone();
        for drive in &mut grid.drives {
            match self.drives.iter().find(|(id, _)| *id == drive.id) {
                Some((_, Failure { code: ErrorCode::StorageFull, .. })) => drive.free_bytes = 0,
                Some(_) if drive.state == DriveState::Active => drive.state = DriveState::Suspect,
                _ => {}
            }
        }
        grid
    }

    fn explain(&self, segment: SegmentId, error: SegmentError) -> SegmentError {
        match (&error, self.drives.first()) {
            (
                SegmentError::Placement(placement::PlacementError::InsufficientDomains { needed, .. }),
                Some((_, first)),
            ) => SegmentError::AckSet {
                segment,
                synced: 0,
                needed: *needed,
                cause: first.cause.clone(),
                code: first.code,
            },
            _ => error,
        }
    }
}
