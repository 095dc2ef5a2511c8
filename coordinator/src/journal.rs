//! Jobs on disk, so that a coordinator that died goes on where it stood.
//!
//! A job is two files of the folder `jobs`: `N.job` has its sentences and concepts until it ends, `N.events` its spec and
//! everything that happened to it but progress. Both are runs of frames, `[length: 4][crc32: 4][payload]`; what a crash left
//! of the last frame is cut off. A job is acknowledged when both files are on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use lode_domain::{
    event::{JobEvent, JobSpec},
    id::JobId,
    job::Job,
};
use lode_proto::convert::{
    event_from_bytes, event_to_bytes, job_from_records, job_to_records, spec_from_bytes, spec_to_bytes,
};

/// Ended jobs that are remembered.
const MOST_ENDED: usize = 1000;
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
}

/// A job as its files tell.
pub(crate) struct Restored {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) concepts: u32,
    pub(crate) events: Vec<JobEvent>,
    pub(crate) log: JobLog,
}

impl Restored {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.events.last(), Some(JobEvent::Ended { .. }))
    }
}

impl Journal {
    /// Opens the folder `jobs` of a data folder.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, JournalError> {
        let dir = data_dir.join("jobs");
        fs::create_dir_all(&dir).map_err(failed("creating", &dir))?;
        Ok(Self { dir })
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

        let events = self.path(id, "events");
        let concepts = (job.concepts.len() as u32).to_le_bytes();
        let head = [frame(&spec_to_bytes(spec)), frame(&concepts)].concat();
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&events);
        let mut file = file.map_err(failed("creating", &events))?;
        file.write_all(&head).and_then(|()| file.sync_all()).map_err(failed("writing", &events))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", &self.dir))?;
        Ok(JobLog { file: Mutex::new(file), path: events, content })
    }

    /// All jobs, by id; the oldest that have ended are forgotten. What cannot be read is told in the log and left alone.
    pub(crate) fn restore(&self) -> Result<Vec<Restored>, JournalError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed("reading", &self.dir))? {
            let path = entry.map_err(failed("reading", &self.dir))?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(number) = number.filter(|_| path.extension().is_some_and(|is| is == "events")) {
                ids.push(JobId(number));
            }
        }
        ids.sort_unstable();
        let mut restored = Vec::new();
        for id in ids {
            match self.read(id) {
                Ok(job) => restored.push(job),
                Err(error) => tracing::warn!(job = %id, %error, "a job's record cannot be read and is left alone"),
            }
        }
        let ended = restored.iter().filter(|job| job.has_ended()).count();
        let mut surplus = ended.saturating_sub(MOST_ENDED);
        restored.retain(|job| {
            let forgotten = job.has_ended() && surplus > 0;
            if forgotten {
                surplus -= 1;
                job.log.remove();
            }
            !forgotten
        });
        Ok(restored)
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
        // Reading went beyond what is left.
        let file = OpenOptions::new().append(true).open(&path).map_err(failed("opening", &path))?;
        let [spec, concepts, events @ ..] = &frames[..] else {
            return Err(malformed("it has no beginning".to_owned()));
        };
        let spec = spec_from_bytes(spec).map_err(|error| malformed(error.to_string()))?;
        let concepts = concepts.as_slice().try_into().map(u32::from_le_bytes);
        let concepts = concepts.map_err(|_| malformed("its number of concepts is none".to_owned()))?;
        let events = events.iter().map(|event| event_from_bytes(event)).collect::<Result<_, _>>();
        let events = events.map_err(|error| malformed(error.to_string()))?;
        let log = JobLog { file: Mutex::new(file), path, content: self.path(id, "job") };
        Ok(Restored { id, spec, concepts, events, log })
    }

    fn path(&self, id: JobId, extension: &str) -> PathBuf {
        self.dir.join(format!("{:08}.{extension}", id.0))
    }
}

/// One job's files.
#[derive(Debug)]
pub(crate) struct JobLog {
    file: Mutex<File>,
    path: PathBuf,
    content: PathBuf,
}

impl JobLog {
    /// Writes an event down. A crash of the process cannot lose it; one of the machine can, and costs what it told of to be
    /// done again.
    pub(crate) fn append(&self, event: &JobEvent) {
        let frame = frame(&event_to_bytes(event));
        let written = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame);
        if let Err(error) = written {
            // The job goes on: after a restart a little of it would be done again.
            tracing::warn!(path = %self.path.display(), %error, "an event of a job could not be written down");
        }
    }

    /// The job's sentences and concepts.
    pub(crate) fn content(&self) -> Result<Job, JournalError> {
        let bytes = fs::read(&self.content).map_err(failed("reading", &self.content))?;
        let (frames, _) = frames(&bytes);
        job_from_records(frames).map_err(|error| failed("reading", &self.content)(io::Error::other(error)))
    }

    /// Removes what only an unfinished job needs.
    pub(crate) fn close(&self) {
        self.remove_file(&self.content);
    }

    fn remove(&self) {
        self.remove_file(&self.path);
        self.remove_file(&self.content);
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
    use lode_domain::{concept::Concept, event::JobState, expertise::Recipe, plan::SplitMode};

    use super::*;

    fn job() -> Job {
        let texts = |mark: &str| (0..50).map(|i| format!("{mark}{i}")).collect();
        Job::new(&[Concept { id: "g/c".parse().unwrap(), positive: texts("p"), negative: texts("n") }]).unwrap()
    }

    fn spec() -> JobSpec {
        let (model, recipe) = ("m".parse().unwrap(), Recipe::default());
        JobSpec { model, recipe, limit_per_class: 9, seed: 1, strict: false, split: SplitMode::Auto }
    }

    fn event(error: &str) -> JobEvent {
        JobEvent::ConceptFailed { concept: "g/c".parse().unwrap(), error: error.into() }
    }

    #[test]
    fn a_job_is_as_it_was_after_a_crash_at_any_byte() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let log = journal.create(JobId(3), &spec(), &job()).unwrap();
        let begun = fs::metadata(&log.path).unwrap().len();
        let events = [event("one"), event("two")];
        events.iter().for_each(|event| log.append(event));
        let whole = fs::read(&log.path).unwrap();
        for cut in begun as usize..=whole.len() {
            fs::write(&log.path, &whole[..cut]).unwrap();
            let [restored] = &journal.restore().unwrap()[..] else { panic!("{cut}") };
            assert_eq!((restored.id, restored.concepts, &restored.spec), (JobId(3), 1, &spec()));
            assert_eq!(restored.events, events[..restored.events.len()]);
            assert_eq!(restored.events.len() == 2, cut == whole.len());
            assert_eq!(restored.log.content().unwrap(), job());
            // What comes next stands behind what is whole.
            restored.log.append(&event("later"));
            assert_eq!(journal.restore().unwrap()[0].events.last(), Some(&event("later")));
        }
    }

    #[test]
    fn an_unreadable_record_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.create(JobId(1), &spec(), &job()).unwrap();
        let bad = journal.create(JobId(2), &spec(), &job()).unwrap();
        fs::write(&bad.path, b"nothing of ours").unwrap();
        fs::write(dir.path().join("jobs/notes.events"), b"x").unwrap();
        let ids: Vec<JobId> = journal.restore().unwrap().iter().map(|job| job.id).collect();
        assert_eq!(ids, [JobId(1)]);
        assert!(bad.path.exists());
    }

    #[test]
    fn ended_jobs_are_small_and_not_kept_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        for number in 0..MOST_ENDED as u64 + 3 {
            let log = journal.create(JobId(number), &spec(), &job()).unwrap();
            log.append(&JobEvent::Ended { state: JobState::Done, error: String::new() });
            log.close();
            assert!(!log.content.exists());
        }
        let restored = journal.restore().unwrap();
        assert_eq!((restored.len(), restored[0].id), (MOST_ENDED, JobId(3)));
        assert_eq!(fs::read_dir(dir.path().join("jobs")).unwrap().count(), MOST_ENDED);
    }
}
