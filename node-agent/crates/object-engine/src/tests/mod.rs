//! The engine over real metadata, segments and drives in temporary directories.

mod bucket;
mod copy;
mod get;
mod list;
mod multipart;
mod put;
mod rebuild;
mod rig;
