//! The two small HTTP clients of the command line: the operator's door, and signed S3 for the self-test and for backups.

mod admin;
mod s3;
mod transport;

#[cfg(test)]
mod s3_tests;

pub use admin::{AdminAddress, AdminClient, segment};
#[cfg(test)]
use s3::S3Call;
pub use s3::{S3Client, amz_date};
pub use transport::{AnswerStream, ClientError, Target};
