//! One picture of all drives of the grid, from the member list, gossip and this node's own drives. Pure.

use std::collections::BTreeMap;

use grid_types::{DriveEvent, DriveId, DriveSnapshot, DriveState, GridSnapshot, NodeId, Score};

use crate::gossip::{GridView, Liveness};
use crate::member_list::MemberList;

/// The drives of all members: those of this node (`me`) as its own table has them, those of others as they say of themselves,
/// less what their liveness takes away: a suspect's drives take no chunks, those of a node that is down are not read
/// either. Whoever is not in the list has no drives here.
///
/// The epoch is the sum of the three epochs: as long as each of them only grows, it grows with each change of any of them.
pub fn merge(list: &MemberList, view: &GridView, me: NodeId, own: &GridSnapshot) -> GridSnapshot {
    let mut drives: BTreeMap<DriveId, (Liveness, DriveSnapshot)> = BTreeMap::new();
    let mut all_have_aes = own.all_have_aes;
    for member in list.current().filter(|member| member.node != me) {
        let liveness = view.liveness(member.node);
        let state = view.members.get(&member.node).and_then(|member| member.state.as_deref());
        // Drives may have moved to another board since the node joined.
        all_have_aes &= member.has_aes && state.is_none_or(|state| state.has_aes);
        for drive in state.map_or(&[][..], |state| &state.drives) {
            if drive.state == DriveState::Removed || drive.node != member.node {
                continue;
            }
            // A drive that moved is shown by the node that lost it too: the living one has it.
            let better = drives.get(&drive.id).is_none_or(|(known, _)| liveness < *known);
            if better {
                drives.insert(drive.id, (liveness, doubted(drive.clone(), liveness)));
            }
        }
    }
    all_have_aes &= list.member(me).is_none_or(|member| member.has_aes);
    for drive in &own.drives {
        drives.insert(drive.id, (Liveness::Alive, drive.clone()));
    }
    GridSnapshot {
        epoch: list.epoch + view.epoch + own.epoch,
        drives: drives.into_values().map(|(_, drive)| drive).collect(),
        all_have_aes,
    }
}

/// The drive of a node that may be gone.
fn doubted(mut drive: DriveSnapshot, liveness: Liveness) -> DriveSnapshot {
    if liveness == Liveness::Alive {
        return drive;
    }
    // A drive that drains or fails goes on doing so; where it takes no chunks already, nothing changes.
    drive.state = drive.state.after(DriveEvent::Lost).unwrap_or(drive.state);
    drive.write_score = Score::LOCKED;
    if liveness == Liveness::Down {
        drive.read_score = Score::LOCKED;
    }
    drive
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
