//! The members as the metadata sees them: who lives, who is fit to lead. Pure.

use std::time::Duration;

use grid_types::{NodeId, Score};
use membership::{GridView, Liveness, Member, MemberList, MemberView};
use meta_store::MetaMember;
use meta_store::home::MIRRORS_WANTED;

/// A member that is down for so long is replaced as a voter where another one can take its place.
const VOTER_GRACE: Duration = Duration::from_secs(30);

/// Before anybody was heard.
pub(super) fn unheard(list: &MemberList) -> Vec<MetaMember> {
    list.current().map(|member| MetaMember::healthy(member.number, member.node)).collect()
}

/// As `me` sees them at `now` (since boot).
pub(super) fn heard(list: &MemberList, me: NodeId, view: &GridView, now: Duration) -> Vec<MetaMember> {
    let seen = |member: &Member| {
        let heard = view.members.get(&member.node);
        let liveness = heard.filter(|_| member.node != me).map(|heard| (heard.liveness, heard.since));
        MetaMember {
            number: member.number,
            node: member.node,
            alive: liveness.is_none_or(|(liveness, since)| {
                liveness != Liveness::Down || now.saturating_sub(since) < VOTER_GRACE
            }),
            suspected: liveness.is_some_and(|(liveness, _)| liveness != Liveness::Alive),
            score: fitness(member, heard),
        }
    };
    list.current().map(seen).collect()
}

/// The worst of as many of its best drives as its log is mirrored on: a write is acknowledged by all of them.
fn fitness(member: &Member, heard: Option<&MemberView>) -> Score {
    if !member.has_drives {
        return Score::LOCKED;
    }
    let drives = heard.and_then(|heard| heard.state.as_ref()).map_or(&[][..], |state| &state.drives);
    if drives.is_empty() {
        // Not told yet.
        return Score::BEST;
    }
    let mut scores: Vec<Score> =
        drives.iter().filter(|drive| drive.state.writable()).map(|drive| drive.write_score).collect();
    scores.sort_unstable_by(|left, right| right.cmp(left));
    scores.into_iter().take(MIRRORS_WANTED).next_back().unwrap_or(Score::LOCKED)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grid_types::{DriveId, DriveSnapshot, DriveState, FailureDomain, GridId, Timestamp};
    use membership::{NewMember, NodeState};

    use super::*;

    fn new(has_drives: bool, key: u8) -> NewMember {
        NewMember {
            public_key: vec![key; 32],
            name: String::new(),
            addresses: Vec::new(),
            has_aes: true,
            has_drives,
            added: Timestamp(0),
        }
    }

    /// The third has no drives.
    fn list() -> MemberList {
        let list = MemberList::found(GridId::from_bytes([1; 16]), [0; 32], new(true, 1)).unwrap();
        list.with(new(true, 2)).unwrap().with(new(false, 3)).unwrap()
    }

    fn told(
        node: NodeId,
        liveness: Liveness,
        since: u64,
        drives: &[(DriveState, u8)],
    ) -> (NodeId, MemberView) {
        let drives = (0u8..).zip(drives).map(|(number, (state, score))| DriveSnapshot {
            id: DriveId::from_bytes([number; 16]),
            node,
            file_system: FailureDomain(number.to_string()),
            state: *state,
            read_score: Score::BEST,
            write_score: Score::new(*score),
            total_bytes: 1,
            free_bytes: 1,
        });
        let state = NodeState { drives: drives.collect(), ..NodeState::new(node, Timestamp(0)) };
        (node, MemberView { liveness, since: Duration::from_secs(since), state: Some(Arc::new(state)) })
    }

    fn scores(drives: &[(DriveState, u8)]) -> u8 {
        let list = list();
        let first = list.members[0].node;
        let members = [told(first, Liveness::Alive, 0, drives)].into();
        heard(&list, first, &GridView { epoch: 1, members }, Duration::ZERO)[0].score.get()
    }

    #[test]
    fn a_node_is_as_fit_as_the_worst_mirror_of_its_log() {
        const ACTIVE: DriveState = DriveState::Active;
        assert_eq!(scores(&[(ACTIVE, 50)]), 50);
        assert_eq!(scores(&[(ACTIVE, 10), (ACTIVE, 90), (ACTIVE, 80), (ACTIVE, 70)]), 70, "three of four");
        assert_eq!(scores(&[(ACTIVE, 60), (DriveState::Failing, 10)]), 60, "what is not written to");
        assert_eq!(scores(&[(DriveState::Draining, 90)]), 0);
        assert_eq!(scores(&[]), 100, "it has not said yet");
        let witness = &unheard(&list())[2];
        assert_eq!((witness.number, witness.alive), (3, true));
        let list = list();
        assert_eq!(
            heard(&list, list.members[0].node, &GridView::default(), Duration::ZERO)[2].score,
            Score::LOCKED
        );
    }

    #[test]
    fn who_was_silent_is_suspected_at_once_and_dead_later() {
        let list = list();
        let nodes: Vec<NodeId> = list.current().map(|member| member.node).collect();
        let members = [
            told(nodes[0], Liveness::Down, 0, &[]),
            told(nodes[1], Liveness::Down, 100, &[]),
            told(nodes[2], Liveness::Suspect, 100, &[]),
        ];
        let view = GridView { epoch: 1, members: members.into() };
        let seen = |now| {
            let members = heard(&list, nodes[0], &view, Duration::from_secs(now));
            members.iter().map(|member| (member.alive, member.suspected)).collect::<Vec<_>>()
        };
        assert_eq!(seen(129), [(true, false), (true, true), (true, true)], "this node never doubts itself");
        assert_eq!(seen(130), [(true, false), (false, true), (true, true)]);
    }
}
