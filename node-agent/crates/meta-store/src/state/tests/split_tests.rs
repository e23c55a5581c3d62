//! Splitting without Raft: child and parent together hold what one shard would.
