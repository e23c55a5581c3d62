//! Limits and settings of the engine.

use std::collections::BTreeMap;

use grid_types::ProfileChoice;

/// Limits and settings; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The profile of STANDARD.
    pub profile: ProfileChoice,
    /// Other storage classes and their profiles (`REDUCED_REDUNDANCY`, own names).
    pub storage_classes: BTreeMap<String, ProfileChoice>,
    /// Bodies up to here live in the metadata row.
    pub inline_bytes_max: u64,
    /// The smallest part that is not the last.
    pub part_bytes_min: u64,
    /// The largest single PUT or part.
    pub put_bytes_max: u64,
    /// The largest object.
    pub object_bytes_max: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            profile: ProfileChoice::Auto,
            storage_classes: BTreeMap::new(),
            inline_bytes_max: grid_types::INLINE_BYTES_MAX_DEFAULT,
            part_bytes_min: 5 << 20,
            put_bytes_max: 5 << 30,
            object_bytes_max: 50 << 40,
        }
    }
}
