//! The process: its file descriptors, its allocator, its figures in /proc.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use admin_api::metrics::ProcessSample;
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::runtime::Runtime;

/// glibc gives each thread an arena of its own and keeps what it once held; with two, memory stays near what is used.
const ARENA_VARIABLE: &str = "MALLOC_ARENA_MAX";
const ARENAS: &str = "2";
/// Larger pieces come from the kernel and go back to it at once. The buffers that a body is read into (256 KiB each) are
/// smaller: at a mapping each, one gigabyte of bodies costs 180,000 page faults and as much time as sealing it.
const MMAP_VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";
const MMAP_BYTES: &str = "1048576";
/// What the heap keeps at its top when it shrinks: the read buffers of a few busy connections.
const TRIM_VARIABLE: &str = "MALLOC_TRIM_THRESHOLD_";
const TRIM_BYTES: &str = "4194304";
/// Ticks a second of /proc/self/stat: USER_HZ, 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Threads of a runtime that may block at once: SQLite readers, files, syncs.
const BLOCKING_THREADS_MAX: usize = 64;
/// A blocking thread without work goes after this time, and its stack with it.
const BLOCKING_THREAD_IDLE: Duration = Duration::from_secs(10);

/// A runtime whose threads bear this name, one for each processor.
pub fn runtime(name: &str) -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(name)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREAD_IDLE)
        .build()
}

/// Raises the soft limit of open files to the hard one: one connection, chunk or pack each takes one.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// Keys are in memory: no core file, and no debugger of another process. Lost at `exec`.
pub fn forbid_core_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(%error, "a crash may write a core file, which holds keys");
    }
}

/// Starts this program again in its place (same process id) with the allocator told to be frugal; glibc reads that
/// from the environment before `main` alone. Returns at once where it was told already, or cannot be.
pub fn restart_with_frugal_allocator() {
    if !cfg!(target_env = "gnu") || std::env::var_os(ARENA_VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    // `exec` returns only where it failed: then this process goes on as it is.
    let _ = std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(ARENA_VARIABLE, ARENAS)
        .env(MMAP_VARIABLE, MMAP_BYTES)
        .env(TRIM_VARIABLE, TRIM_BYTES)
        .exec();
}

/// Figures of this process; zeros where /proc does not say. Blocks shortly.
pub fn sample(uptime: Duration) -> ProcessSample {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    ProcessSample {
        resident_bytes: field("VmRSS") << 10,
        resident_peak_bytes: field("VmHWM") << 10,
        open_fds: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        fds_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        cpu_seconds: cpu_seconds(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default()),
        threads: field("Threads"),
        uptime_seconds: uptime.as_secs_f64(),
    }
}

/// Fields 14 and 15 of /proc/self/stat, after the name in parentheses, which may hold anything.
fn cpu_seconds(stat: &str) -> f64 {
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Set by whoever starts nodes as its children: they end with it, however it ends.
pub const DIE_WITH_PARENT_VARIABLE: &str = "SHOAL_DIE_WITH_PARENT";

/// Asks for SIGTERM when the parent dies, where the parent wants that.
pub fn die_with_parent_if_told() {
    if std::env::var_os(DIE_WITH_PARENT_VARIABLE).is_some()
        && let Err(error) =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
    {
        tracing::warn!(%error, "this node will not end with the process that started it");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn a_crash_writes_no_core_file_and_the_process_still_knows_itself() {
        super::forbid_core_dumps();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert!(super::sample(std::time::Duration::ZERO).resident_bytes > 0);
    }
}
