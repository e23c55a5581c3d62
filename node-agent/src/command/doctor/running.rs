//! The node itself, through its socket: does it run, is it ready, whom does it see?

use std::path::PathBuf;

use admin_api::types::{DriveList, NodeInfo, NodeList, Readiness, Status};
use grid_types::DriveState;
use http::Method;

use super::Findings;
use super::drives::PATIENCE;
use crate::client::{AdminAddress, AdminClient, ClientError};
use crate::config::Config;
use crate::node::SOCKET_FILE;

/// What a node that runs says.
pub struct Running {
    /// Members as it sees them.
    pub nodes: Vec<NodeInfo>,
}

/// `None` where it does not run.
pub async fn look(config: &Config, findings: &mut Findings) -> Option<Running> {
    let (client, readiness) = ask(config, findings).await?;
    for reason in &readiness.reasons {
        findings.trouble("readiness", format!("{reason}{}", advice(reason)));
    }
    let asked = client.call::<Status>(Method::GET, "/v1/status");
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(status)) => tell(&status, findings),
        // Why not was told above.
        _ if !readiness.ready => findings.note("node", "it runs, and cannot say more while it is not ready"),
        Ok(Err(error)) => findings.trouble("node", format!("it runs and does not say how it is: {error}")),
        Err(_) => findings.trouble("node", "it runs and does not say how it is: see its log, and restart it"),
    }
    drives(&client, findings).await;
    let nodes = client.call::<NodeList>(Method::GET, "/v1/nodes");
    let nodes = match tokio::time::timeout(PATIENCE, nodes).await {
        Ok(Ok(list)) => list.nodes,
        Ok(Err(error)) => {
            findings.trouble("members", format!("they cannot be listed: {error}"));
            Vec::new()
        }
        Err(_) => {
            findings.trouble("members", "they cannot be listed: the node does not answer; see its log");
            Vec::new()
        }
    };
    quorum(&nodes, findings);
    Some(Running { nodes })
}

fn tell(status: &Status, findings: &mut Findings) {
    findings.ok(
        "node",
        format!("runs release {}, up {} s, as {}", status.version, status.uptime_seconds, status.node),
    );
    if status.readiness.ready {
        findings.ok("readiness", format!("serves reads and writes; {}", status.promise));
    }
    if status.segments_unrecoverable > 0 {
        findings.trouble(
            "objects",
            format!(
                "{} segments have too few good chunks to be read: bring back the drives or nodes that are away; \
                 `shoal drive list` and `shoal node list` name them",
                status.segments_unrecoverable
            ),
        );
    }
    if status.segments_incomplete > 0 {
        findings.note(
            "objects",
            format!(
                "{} segments lack chunks; repair works on them (`shoal job list`)",
                status.segments_incomplete
            ),
        );
    }
    super::clock::of_node(status, findings);
    for warning in &status.warnings {
        findings.note("node", warning.clone());
    }
}

/// Metadata takes writes while more than half of the voters run.
fn quorum(nodes: &[NodeInfo], findings: &mut Findings) {
    let voters: Vec<&NodeInfo> = nodes.iter().filter(|node| node.votes).collect();
    let (away, there): (Vec<&NodeInfo>, Vec<&NodeInfo>) =
        voters.iter().partition(|node| node.state == "down");
    if voters.is_empty() {
        return;
    }
    let counted = format!("{} of {} voters run", there.len(), voters.len());
    if there.len() * 2 > voters.len() {
        return findings.ok("quorum", counted);
    }
    let away: Vec<&str> = away.iter().map(|node| node.name.as_str()).collect();
    findings.trouble(
        "quorum",
        format!("{counted}, and the metadata needs more than half: start {}", away.join(", ")),
    );
}

fn advice(reason: &str) -> &'static str {
    if reason.starts_with("metadata:") {
        "; a majority of the voters must run: `shoal node list` on any of them says who is away; start those"
    } else {
        ""
    }
}

async fn drives(client: &AdminClient, findings: &mut Findings) {
    const CHECK: &str = "drives";
    let list = match client.call::<DriveList>(Method::GET, "/v1/drives").await {
        Ok(list) => list,
        Err(error) => return findings.trouble(CHECK, format!("the drives cannot be listed: {error}")),
    };
    for drive in list.drives {
        let what = drive.problem.unwrap_or_else(|| "no reason was told".to_owned());
        match drive.state {
            DriveState::Active if drive.locked => {
                findings.note(CHECK, format!("{}: is locked; `shoal drive unlock` ends that", drive.path));
            }
            DriveState::Active | DriveState::Removed => {}
            DriveState::Waiting => findings.note(CHECK, format!("{}: is not in service yet", drive.path)),
            DriveState::Draining => findings.note(CHECK, format!("{}: its chunks move away", drive.path)),
            DriveState::Suspect | DriveState::Failing | DriveState::Foreign => {
                findings.trouble(CHECK, format!("{}: {what}", drive.path));
            }
        }
        if drive.corruptions > 0 {
            findings.note(
                CHECK,
                format!(
                    "{}: {} frames did not match their hash since the start; repair mends them, but look at the disk's SMART \
                     values",
                    drive.path, drive.corruptions
                ),
            );
        }
    }
}

async fn ask(config: &Config, findings: &mut Findings) -> Option<(AdminClient, Readiness)> {
    const CHECK: &str = "node";
    let sockets: Vec<PathBuf> = match &config.socket {
        Some(socket) => vec![socket.clone()],
        None => config.drives.iter().map(|drive| drive.join(SOCKET_FILE)).collect(),
    };
    for socket in sockets.into_iter().filter(|socket| socket.exists()) {
        let Ok(client) = AdminClient::new(&AdminAddress::Socket(socket.clone())) else { continue };
        match tokio::time::timeout(PATIENCE, client.readiness()).await {
            Ok(Ok(readiness)) => return Some((client, readiness)),
            Ok(Err(ClientError::Connect { source, .. }))
                if source.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Ok(Err(ClientError::Connect { source, .. }))
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                findings.trouble(
                    CHECK,
                    format!(
                        "{} is not open to this user: run `shoal doctor` as the node's user, or as root",
                        socket.display()
                    ),
                );
                return None;
            }
            Ok(Err(error)) => {
                findings.trouble(CHECK, format!("it runs and does not say how it is: {error}"));
            }
            Err(_) => findings.trouble(
                CHECK,
                format!("it does not answer at {}: see its log, and restart it", socket.display()),
            ),
        }
    }
    findings.note(CHECK, "it does not run (or not with this configuration); `shoal serve` starts it");
    None
}

#[cfg(test)]
mod tests {
    use admin_api::types::NodeInfo;
    use grid_types::{NodeId, Timestamp};

    use super::{Findings, quorum};

    #[test]
    fn a_lost_majority_is_told_with_the_names_of_who_is_away() {
        let node = |name: &str, state: &str, votes| NodeInfo {
            node: NodeId::from_bytes([1; 16]),
            number: 1,
            name: name.to_owned(),
            addresses: Vec::new(),
            state: state.to_owned(),
            since_seconds: 0,
            here: false,
            votes,
            leads: false,
            drives: 1,
            total_bytes: 0,
            free_bytes: 0,
            added: Timestamp(0),
            clock: None,
        };
        let check = |nodes: &[NodeInfo], trouble: Option<&str>| {
            let mut findings = Findings::default();
            quorum(nodes, &mut findings);
            let told: Vec<&str> = findings.0.iter().map(|finding| finding.message.as_str()).collect();
            assert_eq!(findings.troubles(), usize::from(trouble.is_some()), "{told:?}");
            assert!(trouble.is_none_or(|words| told[0].contains(words)), "{told:?}");
        };
        let (one, two) = (node("one", "alive", true), node("two", "down", true));
        check(&[one.clone(), two.clone(), node("three", "suspect", true)], None);
        check(&[one.clone(), two.clone()], Some("1 of 2 voters run"));
        check(&[one.clone(), two, node("three", "down", true)], Some("start two, three"));
        check(&[one, node("learner", "down", false)], None);
        check(&[], None);
    }
}
