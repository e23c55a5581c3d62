//! Emptying files that are mostly dead.

use grid_types::ShardId;

use super::super::LogError;
use super::super::format::Kind;
use super::super::index::{GroupIndex, Place};
use super::{FileInfo, Pending, Writer};

/// A file of which no more than one part in so many lives may be emptied.
const SPARSE_PART: u64 = 4;

impl Writer {
    /// Where the log is spread over many files, writes again what lives in a file that is mostly dead, so that groups
    /// which are idle for long do not pin one file each.
    pub(super) fn empty_sparse_file(&mut self) -> Result<(), LogError> {
        if self.files.len() as u64 <= self.shared.config.files_spread_max {
            return Ok(());
        }
        let sparse = |(file, info): &(&u64, &FileInfo)| {
            **file != self.file && info.live > 0 && info.live * SPARSE_PART <= info.entries
        };
        let Some(file) = self.files.iter().find(sparse).and_then(|(file, _)| u32::try_from(*file).ok())
        else {
            return Ok(());
        };
        let living: Vec<(ShardId, u64, Place)> = self.shared.with_groups(|groups, _| {
            let of = |(group, index): (&ShardId, &GroupIndex)| {
                let group = *group;
                index.in_file(file).map(move |(index, place)| (group, index, place)).collect::<Vec<_>>()
            };
            groups.iter().flat_map(of).collect()
        });
        for (group, index, from) in living {
            let moved = self
                .shared
                .read_place(group, index, from)
                .and_then(|payload| self.push(Kind::Moved, group, index, &payload));
            match moved {
                Ok(to) => self.pending.push(Pending::Moved { group, index, from, to }),
                Err(error @ LogError::Stopped { .. }) => return Err(error),
                Err(error) => {
                    // The file stays, which costs room alone.
                    tracing::warn!(file, %group, index, %error, "a sparse log file cannot be emptied");
                    break;
                }
            }
        }
        self.flush_all()
    }
}
