//! The chunks of one write attempt: opened on their drives, fed stripe by stripe at the pace of the ack set, synced.
//!
//! Invariant: an entry is `None` from the moment its drive failed, was cut off or was never found; no frame reaches it
//! again, and the row will not name it.
//!
//! An attempt that has lost its ack set goes on as long as what is left decodes, where its caller can write the segment
//! once more from that, and drives for it are there (`rescue`). It is never acknowledged as it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::{ChunkError, ChunkHeader};
use codec::{FRAME_HASH_BYTES, FrameHasher};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use grid_types::{
    ChunkKey, DriveId, ErrorCode, FailureDomain, GridSnapshot, Profile, ProfileChoice, SegmentId,
};
use placement::{Domains, ack_set_domains};
use tokio::time::{Instant, timeout};

use crate::SegmentError;
use crate::goal::Goal;
use crate::refused::{Failure, Refused};
use crate::remote::DriveWriter;
use crate::store::Shared;
use crate::unpublished::Unpublished;

/// The open chunks of one attempt.
pub(crate) struct ChunkSet {
    shared: Arc<Shared>,
    pub id: SegmentId,
    pub profile: Profile,
    chunks: Vec<Option<OpenChunk>>,
    goal: Goal,
    /// Drives whose chunks were given up.
    pub lost: Refused,
    /// Time spent waiting with the window shut.
    waited: Duration,
}

/// An attempt that cannot be acknowledged.
pub(crate) struct Failed {
    pub error: SegmentError,
    /// Index → drive of what was synced all the same.
    pub synced: Vec<Option<DriveId>>,
    pub lost: Refused,
    /// Removes what was synced, when it is dropped.
    pub unpublished: Unpublished,
}

struct OpenChunk {
    drive: DriveId,
    domain: FailureDomain,
    hasher: FrameHasher,
    writer: DriveWriter,
    /// Time that this segment's ack set spent waiting for this chunk.
    blamed: Duration,
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
    /// May the attempt go on without an ack set, because its caller writes the segment once more from what is left?
    pub rescuable: bool,
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
            let grid = if refused.is_empty() {
                &*current
            } else {
                changed = refused.without_them(&current);
                &changed
            };
            match Self::try_begin(shared, id, spec, grid, refused).await {
                Ok(Some(set)) => return Ok(set),
                Ok(None) => {}
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
        let profile = if refused.is_empty() {
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
        let before = refused.len();
        for begun in join_all(begins).await {
            match begun {
                Ok(chunk) => chunks.push(chunk),
                Err((drive, failure)) => refused.note(drive, failure),
            }
        }
        if refused.len() > before {
            return Ok(None);
        }
        Ok(Some(Self {
            shared: shared.clone(),
            id,
            profile,
            chunks,
            goal: Goal {
                shared: shared.clone(),
                profile,
                domains_in_grid: domains.in_grid(),
                choice: spec.choice,
                small: spec.small,
                rescuable: spec.rescuable,
                rescuing: false,
            },
            lost: Refused::default(),
            waited: Duration::ZERO,
        }))
    }

    /// Hands out one stripe: `blocks[i]` is the block of chunk i (for copies, one block for all). Returns when each
    /// chunk has taken its frame or been given up; fails when those left cannot make an ack set.
    pub async fn push(&mut self, frame: u64, blocks: &[Bytes]) -> Result<(), SegmentError> {
        let config = &self.shared.config;
        let mut taken: Vec<FailureDomain> = Vec::with_capacity(self.chunks.len());
        let mut failed: Vec<(usize, Failure)> = Vec::new();
        let mut waiting: Vec<(usize, DriveId)> = Vec::new();
        {
            let lag = Lag { waited: &mut self.waited, patience: config.lag_patience };
            let mut blamed: Vec<Duration> = Vec::with_capacity(self.chunks.len());
            let mut pushes = FuturesUnordered::new();
            for (index, chunk) in self.chunks.iter_mut().enumerate() {
                blamed.push(chunk.as_ref().map_or(Duration::ZERO, |chunk| chunk.blamed));
                let Some(chunk) = chunk else { continue };
                let block = blocks[index.min(blocks.len() - 1)].clone();
                let hash: [u8; FRAME_HASH_BYTES] = chunk.hasher.hash(frame, &block);
                waiting.push((index, chunk.drive));
                pushes.push(async move {
                    let result = chunk.writer.write_frame(hash, vec![block]).await;
                    (index, chunk.domain.clone(), result)
                });
            }
            // How long nothing has moved while an ack set is waited for.
            let mut stood = Duration::ZERO;
            while !pushes.is_empty() {
                let enough = self.goal.reached(&taken);
                let stuck = if stood < config.stuck_max { config.stuck_max } else { config.stall_max };
                let patience = if enough { lag.step() } else { stuck.saturating_sub(stood) };
                let begun = Instant::now();
                let next = timeout(patience, pushes.next()).await;
                if enough {
                    let waited = begun.elapsed();
                    *lag.waited += waited;
                    let mut guilty = false;
                    for (index, _) in &waiting {
                        blamed[*index] += waited;
                        guilty |= lag.guilty(blamed[*index]);
                    }
                    if guilty && next.is_err() {
                        break;
                    }
                } else if next.is_err() {
                    stood += patience;
                    let stuck: Vec<DriveId> = waiting.iter().map(|(_, drive)| *drive).collect();
                    if stood >= config.stall_max || self.goal.can_be_rescued(taken.len(), &self.lost, &stuck)
                    {
                        break;
                    }
                }
                let Ok(Some((index, domain, result))) = next else { continue };
                stood = Duration::ZERO;
                waiting.retain(|(other, _)| *other != index);
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
        for (index, _) in waiting {
            self.cut_off(index, "is slower than the others");
        }
        self.check_reachable()
    }

    /// Frames that a chunk may hold before it writes one: the window must be wider, or nothing would ever move.
    pub fn frames_held_max(&self) -> usize {
        self.chunks.iter().flatten().map(|chunk| chunk.writer.frames_held_max()).max().unwrap_or(0)
    }

    /// Chunks that alone keep the window shut: they hold the most frames while the others are what is waited for. Empty
    /// when those themselves are waited for.
    pub fn laggards(&self) -> Vec<usize> {
        let (laggards, others) = self.behind();
        if self.goal.reached(&others) { laggards } else { Vec::new() }
    }

    /// Nothing has moved for too long, and the ack set cannot do without those who hold it up: they are cut off, where the
    /// segment can be written once more without them. True when something was cut off.
    pub fn cut_off_stuck(&mut self) -> bool {
        let (stuck, others) = self.behind();
        let drives: Vec<DriveId> =
            stuck.iter().filter_map(|index| self.chunks[*index].as_ref()).map(|chunk| chunk.drive).collect();
        if drives.is_empty() || !self.goal.can_be_rescued(others.len(), &self.lost, &drives) {
            return false;
        }
        for index in stuck {
            self.cut_off(index, "is stuck");
        }
        self.check_reachable().is_ok()
    }

    /// Chunks with the most frames that are not written yet, and the domains of the others; none where there are no such
    /// frames.
    fn behind(&self) -> (Vec<usize>, Vec<FailureDomain>) {
        let queued =
            |index: usize| self.chunks[index].as_ref().map_or(0, |chunk| chunk.writer.queued_frames());
        let all = 0..self.chunks.len();
        let most = all.clone().map(queued).max().unwrap_or(0);
        let (behind, others): (Vec<usize>, Vec<usize>) =
            all.partition(|index| most > 0 && queued(*index) == most);
        let domain = |index: usize| self.chunks[index].as_ref().map(|chunk| chunk.domain.clone());
        (behind, others.into_iter().filter_map(domain).collect())
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
        if let Some(chunk) = self.chunks[index].take() {
            self.lost.note(chunk.drive, failure);
        }
    }

    /// Is what is waited for still to be had? An ack set that is lost for good gives way to what decodes.
    fn check_reachable(&mut self) -> Result<(), SegmentError> {
        let alive: Vec<FailureDomain> =
            self.chunks.iter().flatten().map(|chunk| chunk.domain.clone()).collect();
        if self.goal.reached(&alive) {
            return Ok(());
        }
        if self.goal.can_be_rescued(alive.len(), &self.lost, &[]) {
            let cause = self.lost.first().map_or("", |failure| failure.cause.as_str());
            tracing::warn!(segment = %self.id, profile = %self.profile, cause, "its drives make no ack set any more: it goes on, to be written once more");
            self.goal.rescuing = true;
            return Ok(());
        }
        Err(self.too_few(0))
    }

    /// The error of an attempt that cannot be acknowledged.
    pub fn too_few(&self, synced: usize) -> SegmentError {
        let Failure { cause, code } = self.lost.first().cloned().unwrap_or(Failure {
            cause: "no drive took the chunks".to_owned(),
            code: ErrorCode::InsufficientDomains,
        });
        SegmentError::AckSet { segment: self.id, synced, needed: ack_set_domains(self.profile), cause, code }
    }

    /// Syncs all chunks. Returns index → drive of those synced: an ack set, and of the others those that came within
    /// the grace. Dropping the future removes what was synced, since no row will name it; so does dropping the failure.
    pub async fn finish(
        mut self,
        plain_len: u64,
        footer: &[u8],
    ) -> Result<Vec<Option<DriveId>>, Box<Failed>> {
        let config = self.shared.config.clone();
        let begun = Instant::now();
        let chunks = std::mem::take(&mut self.chunks);
        let mut synced: Vec<Option<DriveId>> = vec![None; chunks.len()];
        let mut domains: Vec<FailureDomain> = Vec::with_capacity(chunks.len());
        let mut unsettled: Vec<DriveId> = chunks.iter().flatten().map(|chunk| chunk.drive).collect();
        let mut guard = Unpublished::new(self.shared.clone(), self.id);
        for (index, chunk) in chunks.into_iter().enumerate() {
            let Some(OpenChunk { drive, domain, writer, .. }) = chunk else { continue };
            let finish = writer.finish(plain_len, footer.to_vec());
            guard.finishing.push(Box::pin(async move { (index, drive, domain, finish.await) }));
        }
        while !guard.finishing.is_empty() {
            let limit = if self.goal.reached(&domains) {
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
                    if matches!(error, ChunkError::Unreachable { .. }) {
                        // It may be there although nobody said so: removed with the others if the attempt fails.
                        guard.synced.push((ChunkKey { segment: self.id, index: index as u8 }, drive));
                    }
                    self.lost.note(drive, Failure { code: error.code(), cause: error.to_string() });
                }
            }
        }
        for drive in unsettled {
            let again = self.shared.grid.slow.note(drive);
            tracing::warn!(segment = %self.id, %drive, again, "chunk left behind: its drive did not sync in time");
            let cause = format!("drive {drive} did not sync in time");
            self.lost.note(drive, Failure { cause, code: ErrorCode::DriveFailed });
        }
        if self.goal.is_ack_set(&domains) {
            guard.publish();
            return Ok(synced);
        }
        let error = self.too_few(domains.len());
        Err(Box::new(Failed { error, synced, lost: self.lost, unpublished: guard }))
    }
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
