//! The one table of operations. A row: name, method, path, who may, what it does, handler. The dashboard and the CLI
//! add rows here and nowhere else.

use futures_util::future::BoxFuture;
use http::Method;

use crate::api::{Answer, Call};
use crate::{AdminApi, AdminError, ops};

/// Who may call a row over TCP. Over the Unix socket everybody who can open it may call everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody: says nothing that an attacker wants.
    Public,
    /// The bearer of the operator key.
    Operator,
}

/// A handler's future.
pub type Handling<'a> = BoxFuture<'a, Result<Answer, AdminError>>;

/// One row.
pub struct Operation {
    /// Its name; labels metrics.
    pub name: &'static str,
    /// The method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// What it does, for people.
    pub purpose: &'static str,
    /// The handler.
    pub handler: for<'a> fn(&'a AdminApi, Call) -> Handling<'a>,
}

macro_rules! row {
    ($name:literal, $method:ident, $path:literal, $access:ident, $purpose:literal, $handler:path) => {
        Operation {
            name: $name,
            method: Method::$method,
            path: $path,
            access: Access::$access,
            purpose: $purpose,
            handler: |api, call| Box::pin($handler(api, call)),
        }
    };
}

/// Every operation there is.
pub static OPERATIONS: &[Operation] = &[
    row!(
        "Page",
        GET,
        "/",
        Public,
        "The status page; it asks for the operator key itself",
        ops::page::document
    ),
    row!("PageScript", GET, "/page.js", Public, "Its script", ops::page::script),
    row!("PageStyle", GET, "/page.css", Public, "Its looks", ops::page::style),
    row!("PageIcon", GET, "/icon.svg", Public, "Its icon", ops::page::icon),
    row!("Live", GET, "/health/live", Public, "The process runs", ops::health::live),
    row!(
        "Ready",
        GET,
        "/health/ready",
        Public,
        "200 = can serve GET and PUT now, else 503",
        ops::health::ready
    ),
    row!("Metrics", GET, "/metrics", Operator, "Figures as Prometheus text", ops::health::metrics),
    row!("ListOperations", GET, "/v1/operations", Operator, "This table", ops::status::operations),
    row!("Status", GET, "/v1/status", Operator, "The node at a glance", ops::status::status),
    row!("ShowClock", GET, "/v1/clock", Operator, "Which time it has, and by whose word", ops::clock::show),
    row!("SetClock", POST, "/v1/clock", Operator, "The operator vouches for the time", ops::clock::set),
    row!(
        "ListDrives",
        GET,
        "/v1/drives",
        Operator,
        "Drives, missing and foreign ones too",
        ops::drives::list
    ),
    row!("AddDrive", POST, "/v1/drives", Operator, "Makes a folder a drive", ops::drives::add),
    row!(
        "AdoptDrive",
        POST,
        "/v1/drives/adopt",
        Operator,
        "Takes over a drive of a node that is gone",
        ops::drives::adopt
    ),
    row!(
        "ReplaceDrive",
        POST,
        "/v1/drives/{id}/replace",
        Operator,
        "Retires a drive, another folder takes its place",
        ops::drives::replace
    ),
    row!("LockDrive", POST, "/v1/drives/{id}/lock", Operator, "No new chunks there", ops::drives::lock),
    row!("UnlockDrive", POST, "/v1/drives/{id}/unlock", Operator, "Ends a lock", ops::drives::unlock),
    row!(
        "DrainDrive",
        POST,
        "/v1/drives/{id}/drain",
        Operator,
        "Its chunks move away, it leaves",
        ops::drives::drain
    ),
    row!("VerifyDrive", POST, "/v1/drives/{id}/verify", Operator, "Reads every chunk", ops::drives::verify),
    row!("ListNodes", GET, "/v1/nodes", Operator, "Members of the grid", ops::nodes::list),
    row!(
        "RemoveNode",
        DELETE,
        "/v1/nodes/{id}",
        Operator,
        "Takes a member out of the grid, for good",
        ops::nodes::remove
    ),
    row!(
        "ContinueWithout",
        POST,
        "/v1/nodes/{id}/continue-without",
        Operator,
        "Goes on without the other one of two nodes, which is lost",
        ops::nodes::continue_without
    ),
    row!("Locate", POST, "/v1/locate", Operator, "Where the chunks of an object are", ops::nodes::locate),
    row!(
        "ShowPairing",
        GET,
        "/v1/pairing",
        Operator,
        "The node that waits to be paired here",
        ops::pairing::show
    ),
    row!(
        "ConfirmPairing",
        POST,
        "/v1/pairing/confirm",
        Operator,
        "Makes the waiting node a member",
        ops::pairing::confirm
    ),
    row!(
        "RefusePairing",
        POST,
        "/v1/pairing/refuse",
        Operator,
        "Sends the waiting node away",
        ops::pairing::refuse
    ),
    row!("ListTickets", GET, "/v1/tickets", Operator, "Tickets without secrets", ops::tickets::list),
    row!(
        "CreateTicket",
        POST,
        "/v1/tickets",
        Operator,
        "Lets new nodes join; shown once",
        ops::tickets::create
    ),
    row!(
        "DeleteTicket",
        DELETE,
        "/v1/tickets/{id}",
        Operator,
        "Nobody joins with it any more",
        ops::tickets::delete
    ),
    row!(
        "ListEnrolments",
        GET,
        "/v1/enrolments",
        Operator,
        "Keys of nodes that may join",
        ops::enrolments::list
    ),
    row!(
        "CreateEnrolment",
        POST,
        "/v1/enrolments",
        Operator,
        "Lets the node with this key join",
        ops::enrolments::create
    ),
    row!(
        "DeleteEnrolment",
        DELETE,
        "/v1/enrolments/{node}",
        Operator,
        "The node with that key joins no more",
        ops::enrolments::delete
    ),
    row!("ListJobs", GET, "/v1/jobs", Operator, "Background workers", ops::jobs::list),
    row!(
        "PauseJob",
        POST,
        "/v1/jobs/{name}/pause",
        Operator,
        "Waits after the item at hand",
        ops::jobs::pause
    ),
    row!("ResumeJob", POST, "/v1/jobs/{name}/resume", Operator, "Goes on", ops::jobs::resume),
    row!("RunJob", POST, "/v1/jobs/{name}/run", Operator, "Begins a round now", ops::jobs::run),
    row!("ListKeys", GET, "/v1/keys", Operator, "Access keys without secrets", ops::keys::list),
    row!(
        "CreateKey",
        POST,
        "/v1/keys",
        Operator,
        "Makes an access key, shows its secret once",
        ops::keys::create
    ),
    row!("ShowRootKey", GET, "/v1/root-key", Operator, "Generations of the root key", ops::keys::root_key),
    row!(
        "RotateRootKey",
        POST,
        "/v1/root-key/rotate",
        Operator,
        "A new root key; all is sealed anew",
        ops::keys::rotate_root_key
    ),
    row!("EnableKey", POST, "/v1/keys/{id}/enable", Operator, "Accepts a key again", ops::keys::enable),
    row!("DisableKey", POST, "/v1/keys/{id}/disable", Operator, "Refuses a key", ops::keys::disable),
    row!("DeleteKey", DELETE, "/v1/keys/{id}", Operator, "Deletes a key", ops::keys::delete),
    row!(
        "ListQuarantine",
        GET,
        "/v1/quarantine",
        Operator,
        "What a rebuild of the metadata could not place",
        ops::quarantine::list
    ),
    row!(
        "ReleaseQuarantined",
        POST,
        "/v1/quarantine/release",
        Operator,
        "Makes quarantined segments an object",
        ops::quarantine::release
    ),
    row!(
        "DeleteQuarantined",
        POST,
        "/v1/quarantine/delete",
        Operator,
        "Deletes quarantined segments",
        ops::quarantine::delete
    ),
    row!(
        "TakeBackup",
        POST,
        "/v1/backup",
        Operator,
        "Metadata and keys as one sealed file",
        ops::backup::take
    ),
    row!(
        "RenewOperatorKey",
        POST,
        "/v1/operator-key",
        Operator,
        "A new operator key; the old one ends",
        ops::keys::renew_operator_key
    ),
];

/// What the table says of a path and a method.
pub enum Found<'p> {
    /// This row, with the value of each `{…}`, in order.
    Row(&'static Operation, Vec<&'p str>),
    /// The path exists with these other methods.
    OtherMethods(Vec<&'static Method>),
    /// No row has this path.
    Nothing,
}

/// Finds the row for a request; HEAD is answered like GET, and the door keeps the body back. `path` is
/// percent-encoded, as sent.
pub fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    let mut others = Vec::new();
    for row in OPERATIONS {
        if let Some(parameters) = parameters_of(row.path, path) {
            if row.method == *method || (*method == Method::HEAD && row.method == Method::GET) {
                return Found::Row(row, parameters);
            }
            others.push(&row.method);
        }
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
}

fn parameters_of<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut parameters = Vec::new();
    let mut given = path.split('/');
    for wanted in pattern.split('/') {
        let segment = given.next()?;
        if wanted.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            parameters.push(segment);
        } else if wanted != segment {
            return None;
        }
    }
    given.next().is_none().then_some(parameters)
}
