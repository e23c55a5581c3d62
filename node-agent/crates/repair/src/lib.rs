//! Background workers that keep the promise: finds lost, rotten, badly placed chunks; rebuilds, scrubs, reaps, drains.
//!
//! Invariants: imports neither object-engine nor keyring: works on ciphertext alone; reap is a command, a chunk goes
//! only after every shard declared its segment dead; every worker is named, listable, pausable, throttled and resumable.
