//! One mirror of the log, and the threads that let all mirrors work at the same time.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use parking_lot::{Condvar, Mutex};
use sys::DiskFile;

use super::format::file_path;
use crate::home::HomeDrive;

/// Open files that a mirror keeps for readers.
const OPEN_FILES_MAX: usize = 8;
/// Zeros are written in pieces of so many bytes.
const ZEROS_BYTES: usize = 256 << 10;
/// Where a file waits for its first use.
pub(crate) const SPARE_PATH: &str = "meta/log/spare";

/// A file of full length that may be used next: zeros, or what an earlier use left.
#[derive(Default)]
enum Spare {
    #[default]
    None,
    /// Somebody writes its zeros.
    Building,
    /// Its path.
    Ready(String),
}

/// A drive that carries the log.
pub(crate) struct Mirror {
    pub drive: HomeDrive,
    /// The file that is written now.
    current: Mutex<Option<Arc<dyn DiskFile>>>,
    spare: Mutex<Spare>,
    spare_built: Condvar,
    readers: Mutex<BTreeMap<u32, Arc<dyn DiskFile>>>,
}

impl Mirror {
    pub(crate) fn new(drive: HomeDrive) -> Arc<Self> {
        Arc::new(Self {
            drive,
            current: Mutex::default(),
            spare: Mutex::default(),
            spare_built: Condvar::new(),
            readers: Mutex::default(),
        })
    }

    /// Goes on writing a file that is there.
    pub(crate) fn resume(&self, file: u64) -> io::Result<()> {
        *self.current.lock() = Some(self.drive.disk.open(&file_path(file))?);
        Ok(())
    }

    /// Sees to it that a file of full length is ready; `StorageFull` where there is no room.
    pub(crate) fn prepare_spare(&self, file_bytes: u64) -> io::Result<()> {
        {
            let mut spare = self.spare.lock();
            while matches!(*spare, Spare::Building) {
                self.spare_built.wait(&mut spare);
            }
            if matches!(*spare, Spare::Ready(_)) {
                return Ok(());
            }
            *spare = Spare::Building;
        }
        let built = self.build_spare(file_bytes);
        let done = if built.is_ok() { Spare::Ready(SPARE_PATH.to_owned()) } else { Spare::None };
        *self.spare.lock() = done;
        self.spare_built.notify_all();
        built
    }

    /// Is no spare there nor on its way?
    fn lacks_spare(&self) -> bool {
        matches!(*self.spare.lock(), Spare::None)
    }

    fn build_spare(&self, file_bytes: u64) -> io::Result<()> {
        let disk = &self.drive.disk;
        match disk.remove(SPARE_PATH) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create_new(SPARE_PATH)?;
        let written = file.reserve(file_bytes).and_then(|()| write_zeros(&*file, file_bytes));
        if written.is_err() {
            // What is left of it would only take room; the next attempt removes it, too.
            let _ = disk.remove(SPARE_PATH);
        }
        written
    }

    /// Begins a new file with the spare. Its name is durable before this returns; its bytes are not.
    pub(crate) fn begin_file(&self, file: u64) -> io::Result<()> {
        let path = file_path(file);
        let disk = &self.drive.disk;
        {
            // Locked until the spare has its new name: a builder that comes late would remove it under its old one.
            let mut spare = self.spare.lock();
            let Spare::Ready(ready) = std::mem::take(&mut *spare) else {
                return Err(io::Error::other("no spare log file"));
            };
            disk.rename(&ready, &path)?;
        }
        *self.current.lock() = Some(disk.open(&path)?);
        disk.sync_dir(super::format::LOG_DIR, "log: new file")
    }

    /// Writes a batch into the current file and syncs it.
    pub(crate) fn write_batch(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.current.lock().clone().ok_or_else(|| io::Error::other("no log file is open"))?;
        file.write_all_at(offset, bytes)?;
        file.sync_data("log: batch")
    }

    /// A file holds nothing live any more: it becomes the spare, or goes. Failing costs room alone: the next open
    /// removes what is left over.
    pub(crate) fn retire(&self, file: u32) {
        self.readers.lock().remove(&file);
        let path = file_path(u64::from(file));
        let mut spare = self.spare.lock();
        if matches!(*spare, Spare::None) {
            *spare = Spare::Ready(path);
        } else if let Err(error) = self.drive.disk.remove(&path) {
            tracing::warn!(drive = %self.drive.id, path, %error, "a log file cannot be removed");
        }
    }

    /// Reads into `buf`.
    pub(crate) fn read(&self, file: u32, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let known = self.readers.lock().get(&file).cloned();
        let handle = match known {
            Some(handle) => handle,
            None => {
                let handle = self.drive.disk.open_read(&file_path(u64::from(file)))?;
                let mut readers = self.readers.lock();
                if readers.len() >= OPEN_FILES_MAX {
                    readers.pop_first();
                }
                readers.insert(file, handle.clone());
                handle
            }
        };
        handle.read_exact_at(offset, buf)
    }
}

/// Fills a file with zeros, so that later syncs have no block to allocate and no length to store.
pub(crate) fn write_zeros(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = 0;
    while at < len {
        let piece = usize::try_from(len - at).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        file.write_all_at(at, &zeros[..piece])?;
        file.start_writeback(at, piece as u64);
        at += piece as u64;
    }
    Ok(())
}

type Job = Box<dyn FnOnce(&Mirror) + Send>;

/// A mirror with a thread of its own.
struct Worker {
    mirror: Arc<Mirror>,
    /// Taken to end the thread.
    jobs: Option<SyncSender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Builds a spare, now and then.
    builder: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Worker {
    fn start(mirror: Arc<Mirror>) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(1);
        let own = mirror.clone();
        let thread = std::thread::Builder::new().name("meta-log-mirror".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&own);
            }
        })?;
        Ok(Self { mirror, jobs: Some(jobs), thread: Some(thread), builder: Mutex::default() })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.thread.take().into_iter().chain(self.builder.lock().take()) {
            // A panic of the thread has been reported by its hook.
            let _ = thread.join();
        }
    }
}

/// The mirrors in service.
pub(crate) struct Mirrors {
    workers: Vec<Worker>,
}

/// A mirror that failed at a job.
pub(crate) struct Failure {
    pub mirror: Arc<Mirror>,
    pub error: io::Error,
}

impl Mirrors {
    pub(crate) fn start(mirrors: Vec<Arc<Mirror>>) -> io::Result<Self> {
        Ok(Self { workers: mirrors.into_iter().map(Worker::start).collect::<io::Result<_>>()? })
    }

    /// Has spares built where there are none, so that the next file begins without a wait. What fails here fails again,
    /// and is reported, when the spare is needed.
    pub(crate) fn build_spares(&self, file_bytes: u64) {
        for worker in &self.workers {
            let mut builder = worker.builder.lock();
            let busy = builder.as_ref().is_some_and(|thread| !thread.is_finished());
            if busy || !worker.mirror.lacks_spare() {
                continue;
            }
            let mirror = worker.mirror.clone();
            let build = move || drop(mirror.prepare_spare(file_bytes));
            *builder = std::thread::Builder::new().name("meta-log-spare".to_owned()).spawn(build).ok();
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Mirror>> {
        self.workers.iter().map(|worker| worker.mirror.clone()).collect()
    }

    pub(crate) fn add(&mut self, mirror: Arc<Mirror>) -> io::Result<()> {
        self.workers.push(Worker::start(mirror)?);
        Ok(())
    }

    pub(crate) fn remove(&mut self, gone: &[Arc<Mirror>]) {
        self.workers.retain(|worker| !gone.iter().any(|mirror| Arc::ptr_eq(mirror, &worker.mirror)));
    }

    /// Runs `job` on all mirrors at the same time, the first one on this thread; returns those that failed.
    pub(crate) fn each<F>(&self, job: F) -> Vec<Failure>
    where
        F: Fn(&Mirror) -> io::Result<()> + Send + Sync + 'static,
    {
        let Some((first, others)) = self.workers.split_first() else { return Vec::new() };
        let job = Arc::new(job);
        let (answer, answers) = sync_channel(others.len());
        let mut results: Vec<Option<io::Result<()>>> = others.iter().map(|_| None).collect();
        for (at, worker) in others.iter().enumerate() {
            let (job, answer) = (job.clone(), answer.clone());
            let run: Job = Box::new(move |mirror| {
                // The receiver waits for every answer.
                let _ = answer.send((at, job(mirror)));
            });
            if worker.jobs.as_ref().is_none_or(|jobs| jobs.send(run).is_err()) {
                results[at] = Some(Err(io::Error::other("the thread of this mirror has died")));
            }
        }
        drop(answer);
        let own = job(&first.mirror);
        while let Ok((at, result)) = answers.recv() {
            results[at] = Some(result);
        }
        let own = std::iter::once((first, Some(own)));
        own.chain(others.iter().zip(results))
            .filter_map(|(worker, result)| {
                let died = || Err(io::Error::other("the thread of this mirror has died"));
                let error = result.unwrap_or_else(died).err()?;
                Some(Failure { mirror: worker.mirror.clone(), error })
            })
            .collect()
    }
}
