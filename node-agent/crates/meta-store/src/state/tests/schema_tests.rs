//! Connections as every shard sets them up.

use rusqlite::{Connection, StatementStatus};

use crate::state::schema::{configure, create};

/// What a read binds changes with every call; its plan must not be made anew for that.
#[test]
fn a_cached_statement_keeps_its_plan_when_other_values_are_bound() {
    let connection = Connection::open_in_memory().expect("in memory");
    configure(&connection, 1 << 20).expect("configured");
    create(&connection).expect("tables");
    for sql in [
        "SELECT age, owner, row FROM object WHERE bucket = ?1 AND key = ?2 ORDER BY age",
        "SELECT number FROM segment WHERE owner = ?1 AND (part, number) >= (?1, ?2) ORDER BY part, number LIMIT ?2",
    ] {
        for value in 0..4 {
            let mut statement = connection.prepare_cached(sql).expect("prepared");
            assert!(!statement.exists((value, value)).expect("asked"));
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}, value {value}");
        }
    }
}
