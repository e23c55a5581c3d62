//! The S3 front door: our own thin layer on hyper, one declarative table of operations.
//!
//! A request passes, in order: addressing (path or virtual-host style) → headers that travel in the query → table
//! (which operation) → signature → `iam` → headers that the operation takes → `Expect: 100-continue` → decoded body →
//! the operation's handler → answer.
//! Whatever is refused before the body is refused without reading it. Errors are AWS's XML.

pub mod address;
pub mod auth;
pub mod body;
mod config;
pub mod error;
mod front;
pub mod ops;
mod query_headers;
pub mod request;
pub mod table;
pub mod xml;

pub use config::S3Config;
pub use error::{S3Error, S3ErrorCode};
pub use front::S3Front;
pub use request::{S3Body, S3Request};

#[cfg(test)]
mod front_tests;
