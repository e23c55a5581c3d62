//! Limits of writing and reading segments.

use grid_types::Cipher;

/// Limits of writing and reading segments; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct SegmentConfig {
    /// Seal new segments with this, whatever the CPUs say.
    pub cipher_override: Option<Cipher>,
    /// A chunk further behind than this is cut off.
    pub lag_frames_max: usize,
    /// Write with fewer than 2 writable domains in a grid of 2 or more; counted and shown as "at risk".
    pub accept_degraded: bool,
    /// Stripes read ahead of the consumer.
    pub read_ahead_stripes: usize,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self { cipher_override: None, lag_frames_max: 4, accept_degraded: false, read_ahead_stripes: 4 }
    }
}
