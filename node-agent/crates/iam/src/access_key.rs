//! Access keys and the callers they prove.

use grid_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Is it accepted?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKeyState {
    /// Yes.
    Active,
    /// No, by order.
    Disabled,
}

/// An access key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The public id, 3 to 128 of `[A-Za-z0-9._-]`.
    pub id: String,
    /// The user it acts for.
    pub user: String,
    /// Accepted?
    pub state: AccessKeyState,
    /// When it was made.
    pub created: Timestamp,
}

/// A proven caller, as the front door hands it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// No credentials were sent.
    Anonymous,
    /// A signature proved this key.
    Key(AccessKey),
}
