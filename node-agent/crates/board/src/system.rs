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
