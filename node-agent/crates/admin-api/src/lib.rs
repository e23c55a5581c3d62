//! The operator's door: one declarative table of operations, JSON over a Unix socket (mode 0600, no further proof) and
//! over HTTP or HTTPS with an operator key. Metrics, health, and the status page. The CLI and the page use nothing else.
//!
//! Invariants: knows the node through the `Node` trait alone; every operation is a row of `table::OPERATIONS`; all but
//! the health rows and the page's static files want a proof over TCP; the page changes nothing and runs no script but its own; the operator key is stored as a hash and compared in constant time; requests
//! and answers are bounded.

mod answer_body;
mod api;
mod error;
pub mod metrics;
mod node;
mod operator_key;
mod ops;
pub mod table;
pub mod types;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod page_tests;

pub use answer_body::{AnswerBody, ByteStream};
pub use api::{AdminApi, AdminDoor, REQUEST_BYTES_MAX, Trust};
pub use error::{AdminError, ErrorReply};
pub use metrics::{DriveSample, Metrics, NodeSample};
pub use node::Node;
pub use operator_key::{OperatorKey, OperatorKeyHash};
