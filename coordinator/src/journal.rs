//! Jobs on disk, so that a coordinator that died goes on where it stood.
//!
//! A job is two files of the folder `jobs`: `N.job` has its sentences and concepts until it ends, `N.events` its spec and
//! everything that happened to it but progress. Both are runs of frames, `[length: 4][crc32: 4][payload]`; what a crash left
//! of the last frame is cut off. A job is acknowledged when both files are on the disk. `N.once` marks a job that ends
//! with the command that asked for it, `N.cancelled` one that somebody stopped.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lode_domain::{
    event::{JobEvent, JobSpec, JobState},
    id::JobId,
    job::Job,
};
use lode_proto::convert::{
    event_from_bytes, event_to_bytes, job_from_records, job_to_records, spec_from_bytes, spec_to_bytes,
};

/// Frames of a job's events before the first event: its spec, and the number of its concepts.
const HEAD_FRAMES: usize = 2;
/// Ended jobs that are remembered.
pub(crate) const MOST_ENDED: usize = 1000;
/// A frame beyond this is damage.
const MOST_BYTES: u32 = 256 << 20;

/// A job's files that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub struct JournalError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError { doing, path, source }
}

/// The folder of all jobs.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    /// Whether jobs end with this process.
    once: bool,
}

/// A job as its files tell.
pub(crate) struct Restored {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) concepts: u32,
    pub(crate) events: Vec<JobEvent>,
    pub(crate) log: JobLog,
    /// Why it is not to go on, if it has not ended.
    pub(crate) verdict: Option<(JobState, &'static str)>,
}

impl Restored {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.events.last(), Some(JobEvent::Ended { .. }))
    }
}

impl Journal {
    /// Opens the folder `jobs` of a data folder; `once` if its new jobs end with this process.
    pub(crate) fn open(data_dir: &Path, once: bool) -> Result<Self, JournalError> {
        let dir = data_dir.join("jobs");
        fs::create_dir_all(&dir).map_err(failed("creating", &dir))?;
        Ok(Self { dir, once })
    }

    /// A number above those of all files that are there, readable or not.
    pub(crate) fn next_id(&self) -> Result<u64, JournalError> {
        Ok(self.numbers()?.last().map_or(1, |last| last.0 + 1))
    }

    /// The jobs whose events are there, rising.
    pub(crate) fn numbers(&self) -> Result<Vec<JobId>, JournalError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed("reading", &self.dir))? {
            let path = entry.map_err(failed("reading", &self.dir))?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(number) = number.filter(|_| path.extension().is_some_and(|is| is == "events")) {
                ids.push(JobId(number));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Writes a new job down. It is on the disk when this returns.
    pub(crate) fn create(&self, id: JobId, spec: &JobSpec, job: &Job) -> Result<JobLog, JournalError> {
        let content = self.path(id, "job");
        let mut file = File::create(&content).map_err(failed("creating", &content))?;
        let mut written = Ok(());
        for record in job_to_records(job.clone()) {
            written = written.and_then(|()| file.write_all(&frame(&record)));
        }
        written.and_then(|()| file.sync_all()).map_err(failed("writing", &content))?;

        if self.once {
            let mark = self.path(id, "once");
            File::create(&mark).map_err(failed("creating", &mark))?;
        }
        let events = self.path(id, "events");
        let concepts = (job.concepts.len() as u32).to_le_bytes();
        let head = [frame(&spec_to_bytes(spec)), frame(&concepts)].concat();
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&events);
        let mut file = file.map_err(failed("creating", &events))?;
        file.write_all(&head).and_then(|()| file.sync_all()).map_err(failed("writing", &events))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", &self.dir))?;
        Ok(self.log(id, job.concepts.len() as u32, Some((file, head.len() as u64))))
    }

    fn log(&self, id: JobId, concepts: u32, open: Option<(File, u64)>) -> JobLog {
        JobLog { open: Mutex::new(open), concepts, path: self.path(id, "events"), content: self.path(id, "job") }
    }

    /// A job as its files tell; what cannot be read is told in the log and left alone.
    pub(crate) fn restored(&self, id: JobId) -> Option<Restored> {
        self.read(id)
            .inspect_err(|error| tracing::warn!(job = %id, %error, "a job's record cannot be read and is left alone"))
            .ok()
    }

    fn read(&self, id: JobId) -> Result<Restored, JournalError> {
        let path = self.path(id, "events");
        let malformed = |text: String| failed("reading", &path)(io::Error::other(text));
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed("opening", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("reading", &path))?;
        let (frames, whole) = frames(&bytes);
        if whole < bytes.len() {
            tracing::warn!(job = %id, "the end of a job's record was torn and is cut off");
            file.set_len(whole as u64).map_err(failed("cutting", &path))?;
        }
        let [spec, concepts, events @ ..] = &frames[..] else {
            return Err(malformed("it has no beginning".to_owned()));
        };
        let spec = spec_from_bytes(spec).map_err(|error| malformed(error.to_string()))?;
        let concepts = concepts.as_slice().try_into().map(u32::from_le_bytes);
        let concepts = concepts.map_err(|_| malformed("its number of concepts is none".to_owned()))?;
        let events = events.iter().map(|event| event_from_bytes(event)).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| malformed(error.to_string()))?;
        // Nothing more is written about a job that has ended, and files that can be open are few.
        let has_ended = matches!(events.last(), Some(JobEvent::Ended { .. }));
        let open = match has_ended {
            true => None,
            // Reading went beyond what is left.
            false => Some(OpenOptions::new().append(true).open(&path).map_err(failed("opening", &path))?),
        };
        let log = self.log(id, concepts, open.map(|file| (file, whole as u64)));
        let verdict = if self.path(id, "cancelled").exists() {
            Some((JobState::Cancelled, ""))
        } else if self.path(id, "once").exists() {
            Some((JobState::Failed, "the command that ran it was interrupted"))
        } else {
            None
        };
        Ok(Restored { id, spec, concepts, events, log, verdict })
    }

    fn path(&self, id: JobId, extension: &str) -> PathBuf {
        self.dir.join(format!("{:08}.{extension}", id.0))
    }
}

/// One job's files.
#[derive(Debug)]
pub(crate) struct JobLog {
    /// The events' file and how long its whole frames are, until the job has ended.
    open: Mutex<Option<(File, u64)>>,
    concepts: u32,
    path: PathBuf,
    content: PathBuf,
}

impl JobLog {
    /// Writes an event down. A crash of the process cannot lose it; one of the machine can, and costs what it told of to be
    /// done again. The last one is on the disk when this returns: what the job could be done again from goes with it.
    ///
    /// False if the disk did not take it; the job goes on, and after a restart a little of it would be done again.
    pub(crate) fn append(&self, event: &JobEvent) -> bool {
        let frame = frame(&event_to_bytes(event));
        let mut open = self.open();
        let Some((file, length)) = open.as_mut() else { return false };
        let is_last = matches!(event, JobEvent::Ended { .. });
        let written = file.write_all(&frame).and_then(|()| if is_last { file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                *length += frame.len() as u64;
                true
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "an event of a job could not be written down");
                // Half a frame would hide everything that comes after it.
                if let Err(error) = file.set_len(*length) {
                    tracing::warn!(path = %self.path.display(), %error, "and what was written of it stays");
                    *open = None;
                }
                false
            }
        }
    }

    /// Notes that somebody stopped the job, so that no restart goes on with it.
    pub(crate) fn cancel(&self) {
        let mark = self.path.with_extension("cancelled");
        if let Err(error) = File::create(&mark) {
            tracing::warn!(path = %mark.display(), %error, "that a job was cancelled could not be written down");
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<(File, u64)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's sentences and concepts.
    pub(crate) fn content(&self) -> Result<Job, JournalError> {
        let bytes = fs::read(&self.content).map_err(failed("reading", &self.content))?;
        let (frames, whole) = frames(&bytes);
        let damaged = || failed("reading", &self.content)(io::Error::other("it is damaged; submit the job again"));
        let job = job_from_records(frames).map_err(|_| damaged())?;
        // What is missing at the end would make a smaller job.
        if whole < bytes.len() || job.concepts.len() != self.concepts as usize {
            return Err(damaged());
        }
        Ok(job)
    }

    /// All that was written down of a job that has ended, in order.
    pub(crate) fn events(&self) -> Result<Vec<JobEvent>, JournalError> {
        let bytes = fs::read(&self.path).map_err(failed("reading", &self.path))?;
        let events = frames(&bytes).0.into_iter().skip(HEAD_FRAMES).map(|event| event_from_bytes(&event));
        events
            .collect::<Result<_, _>>()
            .map_err(|error| failed("reading", &self.path)(io::Error::other(error.to_string())))
    }

    /// Removes what only an unfinished job needs.
    pub(crate) fn close(&self) {
        *self.open() = None;
        self.remove_file(&self.content);
        self.remove_file(&self.path.with_extension("once"));
        self.remove_file(&self.path.with_extension("cancelled"));
    }

    /// Forgets the job.
    pub(crate) fn remove(&self) {
        self.close();
        self.remove_file(&self.path);
    }

    fn remove_file(&self, path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a job's file could not be removed");
            }
            _ => {}
        }
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The whole frames at the beginning of `bytes`, and where they end.
fn frames(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut frames, mut rest) = (Vec::new(), bytes);
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let Some(payload) = after.get(..length as usize).filter(|_| length <= MOST_BYTES) else { break };
        if crc32fast::hash(payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            break;
        }
        frames.push(payload.to_vec());
        rest = &after[length as usize..];
    }
    (frames, bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use lode_domain::{concept::Concept, expertise::Recipe, plan::SplitMode};

    use super::*;

    fn job() -> Job {
        let texts = |mark: &str| (0..50).map(|i| format!("{mark}{i}")).collect();
        Job::new(&[Concept { id: "g/c".parse().unwrap(), positive: texts("p"), negative: texts("n") }]).unwrap()
    }

    fn spec() -> JobSpec {
        let (model, recipe) = ("m".parse().unwrap(), Recipe::default());
        JobSpec {
            model,
            recipe,
            limit_per_class: 9,
            seed: 1,
            strict: false,
            split: SplitMode::Auto,
            measures: Default::default(),
        }
    }

    fn event(error: &str) -> JobEvent {
        JobEvent::ConceptFailed { concept: "g/c".parse().unwrap(), error: error.into() }
    }

    fn restore(journal: &Journal) -> Vec<Restored> {
        journal.numbers().unwrap().into_iter().filter_map(|id| journal.restored(id)).collect()
    }

    #[test]
    fn a_job_is_as_it_was_after_a_crash_at_any_byte() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), false).unwrap();
        let log = journal.create(JobId(3), &spec(), &job()).unwrap();
        let begun = fs::metadata(&log.path).unwrap().len();
        let events = [event("one"), event("two")];
        events.iter().for_each(|event| assert!(log.append(event)));
        let whole = fs::read(&log.path).unwrap();
        for cut in begun as usize..=whole.len() {
            fs::write(&log.path, &whole[..cut]).unwrap();
            let [restored] = &restore(&journal)[..] else { panic!("{cut}") };
            assert_eq!((restored.id, restored.concepts, &restored.spec), (JobId(3), 1, &spec()));
            assert_eq!(restored.events, events[..restored.events.len()]);
            assert_eq!(restored.events.len() == 2, cut == whole.len());
            assert_eq!(restored.log.content().unwrap(), job());
            // What comes next stands behind what is whole.
            restored.log.append(&event("later"));
            assert_eq!(restore(&journal)[0].events.last(), Some(&event("later")));
        }
    }

    #[test]
    fn an_unreadable_record_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), false).unwrap();
        journal.create(JobId(1), &spec(), &job()).unwrap();
        let bad = journal.create(JobId(2), &spec(), &job()).unwrap();
        fs::write(&bad.path, b"nothing of ours").unwrap();
        fs::write(dir.path().join("jobs/notes.events"), b"x").unwrap();
        let ids: Vec<JobId> = restore(&journal).iter().map(|job| job.id).collect();
        assert_eq!(ids, [JobId(1)]);
        assert!(bad.path.exists());
        // Its number is not given to another job, and neither is that of a job whose sentences are damaged mined in part.
        assert_eq!(journal.next_id().unwrap(), 3);
        let damaged = journal.create(JobId(4), &spec(), &job()).unwrap();
        let bytes = fs::read(&damaged.content).unwrap();
        fs::write(&damaged.content, &bytes[..bytes.len() - 1]).unwrap();
        assert!(damaged.content().unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn what_ends_with_its_command_and_what_was_cancelled_does_not_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let stays = Journal::open(dir.path(), false).unwrap();
        stays.create(JobId(1), &spec(), &job()).unwrap();
        stays.create(JobId(2), &spec(), &job()).unwrap().cancel();
        Journal::open(dir.path(), true).unwrap().create(JobId(3), &spec(), &job()).unwrap();
        let verdicts: Vec<_> = restore(&stays).iter().map(|job| job.verdict.map(|one| one.0)).collect();
        assert_eq!(verdicts, [None, Some(JobState::Cancelled), Some(JobState::Failed)]);
    }

    /// A pipe takes what is written and has no disk to sync to: the end of a job that power could still take away costs the job
    /// nothing that it could go on from.
    #[test]
    fn an_end_that_is_not_on_the_disk_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let log = Journal::open(dir.path(), false).unwrap().create(JobId(1), &spec(), &job()).unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        *log.open() = Some((File::from(std::os::fd::OwnedFd::from(writer)), 0));
        assert!(log.append(&event("one")));
        assert!(!log.append(&JobEvent::Ended { state: JobState::Done, error: String::new() }));
    }

    #[test]
    fn what_was_written_of_an_ended_job_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = Journal::open(dir.path(), false).unwrap().create(JobId(1), &spec(), &job()).unwrap();
        let events = [event("one"), JobEvent::Ended { state: JobState::Done, error: String::new() }];
        assert!(events.iter().all(|event| log.append(event)));
        log.close();
        assert_eq!(log.events().unwrap(), events);
        log.remove();
        assert!(log.events().is_err());
    }
}
