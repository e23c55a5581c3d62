//! The first steps of init, and the last.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::console::Console;
use crate::facts::Module;

/// Files in memory, agent's log and DHCP's answers, are few.
const RUN_OPTIONS: &std::ffi::CStr = c"mode=0755,size=16m";
const TMP_OPTIONS: &std::ffi::CStr = c"mode=1777,size=32m";

/// Mounts what every Linux program expects.
pub fn mount_basics() -> io::Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (kind, target, options) in [
        ("proc", "/proc", None),
        ("sysfs", "/sys", None),
        ("devtmpfs", "/dev", None),
        ("tmpfs", "/run", Some(RUN_OPTIONS)),
        ("tmpfs", "/tmp", Some(TMP_OPTIONS)),
    ] {
        match mount(kind, target, kind, quiet, options) {
            // The kernel may have mounted /dev itself.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(io::Error::other(format!("{target} cannot be mounted: {error}"))),
        }
    }
    std::fs::create_dir_all("/run/shoal")
}

/// Loads the modules of the image. What a board lacks the hardware for is none of its troubles.
pub fn load_modules(modules: &[Module], console: &Console) {
    for module in modules {
        if let Err(error) = load(module) {
            console.say(&format!("module {}: {error}", module.name));
        }
    }
}

fn load(module: &Module) -> io::Result<()> {
    let file = File::open(Path::new("/usr/lib/modules").join(format!("{}.ko", module.name)))?;
    let parameters = CString::new(module.parameters.as_str())?;
    match finit_module(&file, &parameters, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::NODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// No clock of an image shows a time before its packages were made. Returns whether it was moved.
pub fn clock_floor(not_before: i64) -> io::Result<bool> {
    if clock_gettime(ClockId::Realtime).tv_sec >= not_before {
        return Ok(false);
    }
    clock_settime(ClockId::Realtime, Timespec { tv_sec: not_before, tv_nsec: 0 })?;
    Ok(true)
}

/// What the console is told of memory and of the card, `/dev/mmcblk0`, whose life is counted in bytes written.
pub fn vitals(card: Option<&Path>) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut told = match memory_in_use(&read("/proc/meminfo")) {
        Some((used, all)) => format!("{} of {} MiB of memory are in use", used >> 10, all >> 10),
        None => "the use of memory is not known".to_owned(),
    };
    if let Some(name) = card.and_then(Path::file_name)
        && let Some(bytes) = bytes_written(&read(&format!("/sys/block/{}/stat", name.display())))
    {
        told.push_str(&format!("; {} KiB were written to the card since it was powered on", bytes >> 10));
    }
    told
}

/// KiB in use and in all, of /proc/meminfo.
pub fn memory_in_use(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let all = field("MemTotal:")?;
    Some((all.checked_sub(field("MemAvailable:")?)?, all))
}

/// Of /sys/block/DISK/stat: its seventh field counts sectors of 512 bytes (Documentation/block/stat.rst of Linux).
pub fn bytes_written(text: &str) -> Option<u64> {
    text.split_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(512)
}

/// A word of the kernel's command line: `shoal.slot=a` → `a` for `shoal.slot`.
pub fn command_line_word(key: &str) -> Option<String> {
    let line = std::fs::read_to_string("/proc/cmdline").ok()?;
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
}

/// How a board stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The power button.
    PowerOff,
    /// Starts again.
    Restart,
}

/// Everything is unmounted by now. Returns only where the kernel refuses.
pub fn stop(how: Stop) -> io::Error {
    rustix::fs::sync();
    let command = match how {
        Stop::PowerOff => RebootCommand::PowerOff,
        Stop::Restart => RebootCommand::Restart,
    };
    match reboot(command) {
        Ok(()) => io::Error::other("the kernel came back"),
        Err(error) => error.into(),
    }
}
