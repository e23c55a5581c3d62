//! `shoal flash`: puts an image onto a card, stick or drive, with the board's configuration and ticket.

mod download;

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use disk_image::seed::Seed;
use flash::disks::{Disk, Kernel};
use flash::image::Image;
use flash::write::{Order, Phase, flash};
use serde_json::json;
use sys::{Random, RealRandom};

use super::{Failure, human_bytes};

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Puts an image onto a card, stick or drive. Without a disk it lists what could be flashed.
#[derive(Args)]
pub struct Flash {
    /// The whole disk, /dev/sdX or /dev/mmcblkX, or a file that stands for one; everything on it is lost
    #[arg(value_name = "DISK", requires = "image")]
    disk: Option<PathBuf>,
    /// The image, as it is or packed with zstd; an https:// or http:// address is downloaded first
    #[arg(long, value_name = "FILE|URL", requires = "disk")]
    image: Option<String>,
    /// What the image's SHA-256 must be [default: the line in the .sha256 file beside it]
    #[arg(long, value_name = "HEX", requires = "disk")]
    sha256: Option<String>,
    /// A shoal.toml for the board
    #[arg(long, value_name = "FILE", requires = "disk")]
    config: Option<PathBuf>,
    /// A file with a join ticket for the board
    #[arg(long, value_name = "FILE", requires = "disk")]
    ticket_file: Option<PathBuf>,
    /// The disk's serial, as the list shows it: permission to erase a disk that is not empty
    #[arg(long, requires = "disk")]
    serial: Option<String>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl Flash {
    /// Runs to completion.
    pub async fn run(self) -> Result<(), Failure> {
        let kernel = Kernel::running()?;
        let (Some(path), Some(image)) = (&self.disk, &self.image) else { return self.list(&kernel) };
        let disk = kernel.at(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.permit(&disk)?;
        let seed = self.seed()?;
        let mut shown = Shown::new(!self.json);
        let downloaded = if download::is_address(image) {
            let mut progress = |done, all| shown.progress("downloading", done, all);
            Some(download::download(image, self.sha256.as_deref(), &mut progress).await?)
        } else {
            None
        };
        let sha256 = downloaded.as_ref().map(|image| image.sha256.as_str()).or(self.sha256.as_deref());
        let image = Image::open(downloaded.as_ref().map_or(Path::new(image), |image| &image.path))?;
        image.verify(sha256, &mut |done, all| shown.progress("checking", done, all))?;
        let (image_bytes, image_sha256) = image.measure(|done| shown.progress("measuring", done, done))?;
        // Exclusive: the kernel refuses where something took the disk into use meanwhile.
        let flags = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or_default();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&disk.path)
            .map_err(|error| format!("{}: {error}", disk.path.display()))?;
        let mut nonce = [0; 16];
        RealRandom.fill(&mut nonce);
        let order = Order { image_bytes, image_sha256, disk_bytes: disk.bytes, seed: seed.as_ref(), nonce };
        flash(&order, &mut *image.content()?, &mut file, &mut |phase, done, all| {
            let word = match phase {
                Phase::Capacity => "trying the capacity",
                Phase::Write => "writing",
                Phase::Verify => "reading back",
            };
            shown.progress(word, done, all);
        })?;
        shown.end();
        if self.json {
            return super::print_json(
                &json!({ "disk": disk.path, "bytes": image_bytes, "seed": seed.is_some() }),
            );
        }
        println!("{}: {} written and read back.", disk.path.display(), human_bytes(image_bytes));
        println!("Put it into the board and switch it on.");
        Ok(())
    }

    fn list(&self, kernel: &Kernel) -> Result<(), Failure> {
        let disks = kernel.disks()?;
        if self.json {
            let rows: Vec<_> = disks
                .iter()
                .map(|disk| {
                    json!({
                        "path": disk.path, "model": disk.model, "serial": disk.serial, "bytes": disk.bytes,
                        "removable": disk.removable, "in_use": disk.in_use, "contents": disk.contents,
                    })
                })
                .collect();
            return super::print_json(&json!({ "disks": rows }));
        }
        for disk in &disks {
            println!(
                "{:<14} {:>9}  {:<24} serial {:<20} {}{}",
                disk.path.display(),
                human_bytes(disk.bytes),
                disk.model,
                disk.serial,
                disk.in_use.as_deref().or(disk.contents.as_deref()).unwrap_or("empty"),
                if disk.removable { "" } else { "; built in" }
            );
        }
        if !disks.iter().any(|disk| disk.removable) {
            println!("No card or stick is there: put one in.");
        }
        println!("Flash one:  shoal flash /dev/NAME --image shoal-BOARD.img.zst");
        Ok(())
    }

    /// Nothing is erased that somebody did not name.
    fn permit(&self, disk: &Disk) -> Result<(), Failure> {
        let name = disk.path.display();
        if let Some(why) = &disk.in_use {
            return Err(format!("{name} is in use: {why}").into());
        }
        let risk = match (&disk.contents, disk.removable) {
            (None, true) => return Ok(()),
            (Some(contents), _) => format!("{name} is not empty ({contents})"),
            (None, false) => format!("{name} is built into this computer"),
        };
        let size = human_bytes(disk.bytes);
        let given = match &self.serial {
            Some(serial) => serial.clone(),
            None if std::io::stdin().is_terminal() && !self.json => {
                print!(
                    "{risk}: {}, {size}, serial {}.\nType its serial to erase it: ",
                    disk.model, disk.serial
                );
                std::io::stdout().flush()?;
                let mut line = String::new();
                std::io::stdin().read_line(&mut line)?;
                line.trim().to_owned()
            }
            None => {
                return Err(format!("{risk}; to erase it, say --serial {}", disk.serial).into());
            }
        };
        if given == disk.serial {
            return Ok(());
        }
        Err(format!("`{given}` is not the serial of {name}: nothing was written").into())
    }

    fn seed(&self) -> Result<Option<Seed>, Failure> {
        let read = |path: &Option<PathBuf>| match path {
            Some(path) => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|error| -> Failure { format!("{}: {error}", path.display()).into() }),
            None => Ok(None),
        };
        let seed = Seed { config: read(&self.config)?, ticket: read(&self.ticket_file)? };
        if let Some(config) = &seed.config {
            toml::from_str::<toml::Table>(config).map_err(|error| format!("the configuration: {error}"))?;
        }
        if let Some(ticket) = &seed.ticket {
            ticket.trim().parse::<membership::Ticket>()?;
        }
        Ok((seed.config.is_some() || seed.ticket.is_some()).then_some(seed))
    }
}

/// Progress with rate and time left: one line that is written over, where a person looks on.
struct Shown {
    wanted: bool,
    word: &'static str,
    began: Instant,
    last: Instant,
}

impl Shown {
    fn new(wanted: bool) -> Self {
        let now = now();
        Self { wanted: wanted && std::io::stderr().is_terminal(), word: "", began: now, last: now }
    }

    fn progress(&mut self, word: &'static str, done: u64, all: u64) {
        if !self.wanted {
            return;
        }
        let now = now();
        if self.word != word {
            (self.word, self.began) = (word, now);
        } else if done < all && now - self.last < PROGRESS_EVERY {
            return;
        }
        self.last = now;
        let seconds = (now - self.began).as_secs_f64().max(0.001);
        let rate = done as f64 / seconds;
        let left = (all.saturating_sub(done)) as f64 / rate.max(1.0);
        let percent = done * 100 / all.max(1);
        eprint!("\r{word}: {percent} %, {}/s, {left:.0} s left        ", human_bytes(rate as u64));
    }

    fn end(&self) {
        if self.wanted {
            eprintln!();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a person looks on: no test moves this clock")]
fn now() -> Instant {
    Instant::now()
}
