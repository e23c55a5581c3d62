//! The two small HTTP clients of the command line: the operator's door, and signed S3 for the self-test.

mod admin;
mod s3;
mod transport;

#[cfg(test)]
mod s3_tests;

pub use admin::{AdminAddress, AdminClient, segment};
pub use s3::{S3Client, amz_date};
pub use transport::{ClientError, Target};
