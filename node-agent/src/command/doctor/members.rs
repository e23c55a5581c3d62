//! The other members: who is away, who can be reached, whose clock is another one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use membership::MemberList;
use rpc::{NodeKey, dial_stranger};
use sys::{Clock, RealClock};
use tokio::task::JoinSet;

use super::Findings;
use super::running::Running;
use crate::client::Target;
use crate::config::Config;
use crate::identity::NodeFile;

const CHECK: &str = "members";
/// An address that does not answer for so long is not reachable.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// More than this between two clocks is trouble, seconds.
const CLOCKS_APART_MAX: u64 = 5;

/// One member, by what it is known from.
struct Known {
    node: grid_types::NodeId,
    name: String,
    addresses: Vec<SocketAddr>,
    /// The node here takes it for away already.
    away: bool,
}

/// Looks who is away, and knocks at the door for nodes of every other member.
pub async fn look(
    identity: &NodeFile,
    list: Option<&MemberList>,
    running: Option<&Running>,
    findings: &mut Findings,
) {
    if let Some(list) = list
        && list.member(identity.node).is_none()
    {
        findings.trouble(
            CHECK,
            "this node was taken out of its grid: empty its drives and join with a new ticket (`shoal join`), or leave it off",
        );
        return;
    }
    let known = match running {
        Some(running) => told_by_node(running, findings),
        None => of_list(identity, list),
    };
    let Ok((key, _)) = NodeKey::generate() else { return };
    let mut reached = 0;
    let count = known.len();
    for member in known {
        let answers = knock(&key, &member).await;
        let open = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
        reached += usize::from(open > 0);
        let closed: Vec<String> = answers
            .iter()
            .filter_map(|(address, answer)| answer.as_ref().err().map(|why| format!("{address} ({why})")))
            .collect();
        match (open, member.away) {
            // Said already, with more words.
            (0, true) => {}
            (0, false) if member.addresses.is_empty() => {
                findings.note(CHECK, format!("{}: no address of it is known", member.name));
            }
            (0, false) => findings.trouble(
                CHECK,
                format!(
                    "{} cannot be reached at {}: is it running, and does a firewall let the port of [rpc] pass?",
                    member.name,
                    closed.join(", ")
                ),
            ),
            (_, true) => findings.trouble(
                CHECK,
                format!("{} answers here and is taken for away: see its log, and its clock", member.name),
            ),
            (_, false) if !closed.is_empty() => findings.note(
                CHECK,
                format!("{} is reached, but not at {}", member.name, closed.join(", ")),
            ),
            _ => {}
        }
    }
    match count {
        0 => findings.ok(CHECK, "this node is the only one"),
        _ if reached == count => findings.ok(CHECK, format!("all {count} others are reached")),
        _ => {}
    }
}

fn told_by_node(running: &Running, findings: &mut Findings) -> Vec<Known> {
    let mut known = Vec::new();
    for node in running.nodes.iter().filter(|node| !node.here) {
        let name = format!("node {} ({})", node.name, node.node);
        match node.state.as_str() {
            "down" => findings.trouble(
                CHECK,
                format!(
                    "{name} is down for {} s: start it; if it is gone for good, `shoal node remove {}`",
                    node.since_seconds, node.node
                ),
            ),
            "suspect" => {
                findings.note(CHECK, format!("{name} did not answer lately; look again in a minute"))
            }
            _ => {}
        }
        known.push(Known {
            node: node.node,
            name,
            addresses: node.addresses.iter().filter_map(|address| address.parse().ok()).collect(),
            away: node.state == "down",
        });
    }
    known
}

fn of_list(identity: &NodeFile, list: Option<&MemberList>) -> Vec<Known> {
    let others = list.into_iter().flat_map(MemberList::current).filter(|member| member.node != identity.node);
    others
        .map(|member| Known {
            node: member.node,
            name: format!("node {} ({})", member.name, member.node),
            addresses: member.addresses.clone(),
            away: false,
        })
        .collect()
}

/// Asks every address at once; whoever answers must prove the member's key.
async fn knock(key: &NodeKey, member: &Known) -> Vec<(SocketAddr, Result<(), String>)> {
    let mut asking = JoinSet::new();
    for address in member.addresses.clone() {
        let (key, node) = (key.clone(), member.node);
        asking.spawn(async move {
            let answer = match dial_stranger(address, &key, ANSWER_PATIENCE).await {
                Ok(stranger) if stranger.peer() == node => Ok(()),
                Ok(stranger) => Err(format!("node {} is there", stranger.peer())),
                Err(error) => Err(error.to_string()),
            };
            (address, answer)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(address, _)| *address);
    answers
}

/// Compares this host's clock with what the S3 doors of others say, where they have the port that this node has.
pub async fn clocks(config: &Config, list: Option<&MemberList>, findings: &mut Findings) {
    let port = config.s3.listen.port();
    if port == 0 {
        return;
    }
    let mut compared = 0;
    for member in list.into_iter().flat_map(MemberList::current) {
        for address in &member.addresses {
            let host = address.ip();
            let Some(there) = date_of(host, port).await else { continue };
            let here = RealClock.now().as_secs();
            let apart = here.abs_diff(there);
            if apart > CLOCKS_APART_MAX {
                findings.trouble(
                    "clock",
                    format!(
                        "{apart} s apart from that of node {} at {host}: let NTP set both; S3 requests are refused when a clock is \
                         15 minutes off",
                        member.name
                    ),
                );
            }
            compared += 1;
            break;
        }
    }
    if compared > 0 {
        findings.ok("clock", format!("compared with {compared} nodes' doors"));
    }
}

/// Seconds since 1970 by the `Date` of an answer, whatever the answer is.
async fn date_of(host: std::net::IpAddr, port: u16) -> Option<u64> {
    let target = Target::Tcp { host: host.to_string(), port };
    let request = Request::builder()
        .method(Method::GET)
        .uri("/")
        .header(header::HOST, target.authority())
        .body(Full::new(Bytes::new()))
        .ok()?;
    let answer = tokio::time::timeout(ANSWER_PATIENCE, target.send(request)).await.ok()?.ok()?;
    let date = httpdate::parse_http_date(answer.headers().get(header::DATE)?.to_str().ok()?).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}
