//! The board's LED: what it says without a screen. The kernel blinks it, so that it goes on while init is busy. Source: Linux,
//! Documentation/leds/leds-class.rst and drivers/leds/trigger/ledtrig-timer.c.

use std::path::{Path, PathBuf};

/// Where the kernel shows LEDs.
pub const CLASS: &str = "/sys/class/leds";

/// What the LED says; docs/boards.md explains it to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It starts, or joins its grid.
    Starting,
    /// It waits for somebody: to be paired, or for a drive.
    Waiting,
    /// S3 answers.
    Ready,
    /// Something is wrong; it tries again.
    Trouble,
    /// It may be unplugged.
    Off,
}

impl Sign {
    /// Milliseconds on and off; a zero holds the other state.
    const fn rhythm(self) -> (u32, u32) {
        match self {
            Self::Starting => (500, 500),
            Self::Waiting => (100, 1_900),
            Self::Ready => (1, 0),
            Self::Trouble => (100, 100),
            Self::Off => (0, 1),
        }
    }
}

/// The LED, where the board has one.
#[derive(Debug, Clone, Default)]
pub struct Led {
    folder: Option<PathBuf>,
}

impl Led {
    /// The first of these names that the kernel shows below `class`.
    pub fn find(class: &Path, names: &[String]) -> Self {
        Self { folder: names.iter().map(|name| class.join(name)).find(|folder| folder.is_dir()) }
    }

    /// Says it. A LED that does not obey is nobody's trouble: the console says the same.
    pub fn show(&self, sign: Sign) {
        let Some(folder) = &self.folder else { return };
        let put = |name: &str, value: &str| std::fs::write(folder.join(name), value).is_ok();
        let (on, off) = sign.rhythm();
        if on > 0 && off > 0 && put("trigger", "timer") {
            put("delay_on", &on.to_string());
            put("delay_off", &off.to_string());
            return;
        }
        put("trigger", "none");
        let bright = std::fs::read_to_string(folder.join("max_brightness")).unwrap_or_default();
        put("brightness", if on > 0 { bright.trim() } else { "0" });
    }
}
