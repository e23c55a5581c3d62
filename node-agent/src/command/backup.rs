//! `shoal backup`: metadata and keys to a file or to any S3.

use std::path::PathBuf;
use std::time::Duration;

use admin_api::types::TakeBackup;
use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use keyring::{PassphraseCost, PassphraseKey};
use serde_json::json;
use sys::{Clock, Random, RealClock, RealRandom};

use super::admin_options::AdminOptions;
use super::{Failure, human_bytes};
use crate::backup::{
    Backup as Reading, BackupError, BackupPlace, Decoder, HEAD_BYTES, Head, Record, S3Options, Summary,
    derive, passphrase_from,
};
use crate::client::{AnswerStream, amz_date};

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Copies metadata and keys to a file or to any S3.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Backup {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    take: Take,
}

#[derive(Subcommand)]
enum BackupCommand {
    /// Reads a backup and says whether it is whole; with its passphrase, also whether it is authentic
    Verify(Verify),
}

#[derive(Args)]
struct Take {
    /// A file that does not exist yet, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "FILE|s3://...")]
    to: Option<String>,
    /// A file whose first line is the passphrase; without it the backup opens for nobody
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    s3: S3Options,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
struct Verify {
    /// The file, or s3://BUCKET/KEY
    #[arg(value_name = "FILE|s3://...")]
    backup: String,
    /// A file whose first line is the passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    s3: S3Options,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Cut short, it leaves no file; parts of an upload to S3 may stay, for its rules to remove.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Some(BackupCommand::Verify(verify)) => verify.run().await,
            None => self.take.run().await,
        }
    }
}

impl Take {
    async fn run(self) -> Result<(), Failure> {
        let to = self.to.as_deref().ok_or("name where it goes: --to FILE or --to s3://BUCKET/PREFIX")?;
        let file = self
            .passphrase_file
            .as_deref()
            .ok_or("name a file with the passphrase: --passphrase-file FILE")?;
        let passphrase = passphrase_from(file)?;
        let place = BackupPlace::parse(to, &self.s3)?;
        let client = self.admin.client()?;
        let (cost, salt) = (PassphraseCost::default(), RealRandom.id());
        let key = derive(passphrase, salt, cost).await??;
        let order = TakeBackup {
            salt: HEXLOWER.encode(&salt),
            key: HEXLOWER.encode(key.expose()),
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
        };
        let mut answer = client.order_stream("/v1/backup", &order).await?;
        let mut first = Vec::new();
        while first.len() < HEAD_BYTES {
            first.extend_from_slice(&answer.next().await?.ok_or("the node sent no backup")?);
        }
        let (head, _) = first.split_first_chunk::<HEAD_BYTES>().ok_or("the node sent no backup")?;
        let place = place.for_head(&Head::decode(head).map_err(sent)?);
        let mut sink = place.create().await?;
        let copied =
            copy(&mut answer, &first, &key, !self.admin.json, async |bytes| Ok(sink.write(bytes).await?));
        let (summary, head, shards) = match copied.await {
            Ok(done) => done,
            Err(failure) => {
                sink.abandon().await;
                return Err(failure);
            }
        };
        sink.finish().await?;
        if self.admin.json {
            return super::print_json(&json!({
                "backup": place.name(),
                "bytes": summary.bytes,
                "grid": head.grid,
                "stamp": amz_date(head.stamp),
                "shards": shards,
            }));
        }
        println!(
            "{}: metadata and keys of grid {} as of {}, {} shards, {}. Objects' bytes are not in it.",
            place.name(),
            head.grid,
            amz_date(head.stamp),
            shards,
            human_bytes(summary.bytes)
        );
        println!("Keep the passphrase elsewhere: without it the backup opens for nobody.");
        Ok(())
    }
}

/// The node does what a damaged disk might.
fn sent(error: BackupError) -> Failure {
    format!("what the node sent {error}").into()
}

/// Hands all bytes on, and verifies them on the way: a backup that cannot be read is none.
async fn copy(
    answer: &mut AnswerStream,
    first: &[u8],
    key: &PassphraseKey,
    progress: bool,
    mut write: impl AsyncFnMut(&bytes::Bytes) -> Result<(), Failure>,
) -> Result<(Summary, Head, usize), Failure> {
    let (head, rest) = first.split_first_chunk::<HEAD_BYTES>().ok_or("the node sent no backup")?;
    let mut decoder = Decoder::new(head, Some(key));
    let (mut shards, mut known, mut bytes) = (0, 0, first.len() as u64);
    let clock = RealClock;
    let mut told = clock.since_boot();
    decoder.push(rest);
    write(&bytes::Bytes::copy_from_slice(first)).await?;
    loop {
        while let Some(record) = decoder.next().map_err(sent)? {
            match record {
                Record::Manifest(manifest) => known = manifest.shards.len(),
                Record::ImageEnd => shards += 1,
                _ => {}
            }
        }
        if progress && clock.since_boot().saturating_sub(told) >= PROGRESS_EVERY {
            told = clock.since_boot();
            eprintln!("{} copied, {shards} of {known} shards", human_bytes(bytes));
        }
        let Some(next) = answer.next().await? else { break };
        bytes += next.len() as u64;
        decoder.push(&next);
        write(&next).await?;
    }
    let head = Head::decode(head).map_err(sent)?;
    Ok((decoder.finish().map_err(sent)?, head, shards))
}

impl Verify {
    async fn run(self) -> Result<(), Failure> {
        let place = BackupPlace::parse(&self.backup, &self.s3)?;
        let passphrase = self.passphrase_file.as_deref().map(passphrase_from).transpose()?;
        let backup = Reading::open(&place, passphrase.as_ref().map(|line| line.as_slice())).await?;
        let head = backup.head;
        let (summary, contents) = backup.verify(|_, _| {}).await?;
        let stamp = amz_date(head.stamp);
        if self.json {
            return super::print_json(&json!({
                "backup": place.name(),
                "bytes": summary.bytes,
                "grid": head.grid,
                "stamp": stamp,
                "authentic": summary.authentic,
                "release": contents.as_ref().map(|contents| &contents.manifest.release),
                "node": contents.as_ref().map(|contents| contents.manifest.node),
                "shards": contents.as_ref().map(|contents| contents.manifest.shards.len()),
            }));
        }
        match contents {
            Some(contents) => println!(
                "{}: whole and authentic: grid {} as of {stamp}, {} shards, {}, written by release {} on node {}",
                place.name(),
                head.grid,
                contents.manifest.shards.len(),
                human_bytes(summary.bytes),
                contents.manifest.release,
                contents.manifest.node
            ),
            None => println!(
                "{}: every byte is as it was written: grid {} as of {stamp}, {}. With --passphrase-file it can be said \
                 whether it opens, and is authentic",
                place.name(),
                head.grid,
                human_bytes(summary.bytes)
            ),
        }
        Ok(())
    }
}
