//! One picture of all drives: this node's own, as their watcher sees them, and those of the others, as they say of
//! themselves. Whoever changes either sees it in the picture when the call returns.

use grid_types::{DriveId, DriveSnapshot, GridSnapshot};
use parking_lot::Mutex;
use segment_store::GridView;

/// What both sides last said, and what was published of it.
pub struct Picture {
    published: GridView,
    sides: Mutex<Sides>,
}

#[derive(Default)]
struct Sides {
    own: GridSnapshot,
    others: Vec<DriveSnapshot>,
    others_have_aes: bool,
    epoch: u64,
}

impl Picture {
    /// A grid of this node alone so far, shown to whoever holds `published`.
    pub fn new(published: GridView) -> Self {
        let sides = Sides { others_have_aes: true, ..Sides::default() };
        Self { published, sides: Mutex::new(sides) }
    }

    /// This node's drives, as last told.
    pub fn own(&self) -> GridSnapshot {
        self.sides.lock().own.clone()
    }

    /// This node's drives changed.
    pub fn set_own(&self, own: GridSnapshot) {
        self.change(|sides| sides.own = own);
    }

    /// The drives of all other members, and whether all of those have AES instructions.
    pub fn set_others(&self, others: Vec<DriveSnapshot>, have_aes: bool) {
        self.change(|sides| {
            sides.others = others;
            sides.others_have_aes = have_aes;
        });
    }

    /// Drives that writes had to leave behind, since the last call; those of other nodes are theirs to judge.
    pub fn take_slow_drives(&self) -> Vec<DriveId> {
        let slow = self.published.take_slow_drives();
        let sides = self.sides.lock();
        slow.into_iter().filter(|id| sides.own.drive(*id).is_some()).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Sides)) {
        let mut sides = self.sides.lock();
        change(&mut sides);
        let mut drives = sides.own.drives.clone();
        drives.extend(sides.others.iter().filter(|other| sides.own.drive(other.id).is_none()).cloned());
        drives.sort_by_key(|drive| drive.id);
        let all_have_aes = sides.own.all_have_aes && sides.others_have_aes;
        let known = self.published.load();
        if sides.epoch == 0 || known.drives != drives || known.all_have_aes != all_have_aes {
            sides.epoch += 1;
            self.published.publish(GridSnapshot { epoch: sides.epoch, drives, all_have_aes });
        }
    }
}

#[cfg(test)]
mod tests {
    use grid_types::{DriveId, DriveSnapshot, DriveState, FailureDomain, GridSnapshot, NodeId, Score};
    use segment_store::GridView;

    use super::Picture;

    fn drive(number: u8, node: u8, state: DriveState) -> DriveSnapshot {
        DriveSnapshot {
            id: DriveId::from_bytes([number; 16]),
            node: NodeId::from_bytes([node; 16]),
            file_system: FailureDomain(number.to_string()),
            state,
            read_score: Score::BEST,
            write_score: Score::BEST,
            total_bytes: 1,
            free_bytes: 1,
        }
    }

    #[test]
    fn both_sides_are_seen_at_once_and_a_node_knows_its_own_drives_best() {
        let view = GridView::default();
        let picture = Picture::new(view.clone());
        picture.set_own(GridSnapshot {
            epoch: 9,
            drives: vec![drive(2, 1, DriveState::Active)],
            all_have_aes: true,
        });
        assert_eq!((view.load().drives.len(), view.load().all_have_aes), (1, true));
        let before = view.load().epoch;
        picture.set_others(vec![drive(1, 2, DriveState::Suspect), drive(2, 2, DriveState::Failing)], false);
        let seen = view.load();
        assert_eq!(seen.drives, [drive(1, 2, DriveState::Suspect), drive(2, 1, DriveState::Active)]);
        assert!(!seen.all_have_aes && seen.epoch > before);
        picture.set_others(vec![drive(1, 2, DriveState::Suspect)], false);
        assert_eq!(view.load().epoch, seen.epoch, "nothing changed");
    }
}
