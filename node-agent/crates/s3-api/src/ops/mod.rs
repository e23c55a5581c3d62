//! The handlers, a file a family of operations.
