//! What two attempts at one shard come to.

use lode_domain::{
    cluster::{PROTOCOL_VERSION, WorkerCard},
    concept::Concept,
    event::JobSpec,
    expertise::Recipe,
    plan::SplitMode,
    record::ModelRecord,
    unit::{Layer, LayerName},
};
use lode_proto::Credentials;

use super::*;
use crate::{Config, Limits, Security, Timing};

const SHARD: ShardId = ShardId(0);
const MODEL: ModelHash = ModelHash([1; 32]);

fn concept() -> ConceptId {
    "a/b".parse().unwrap()
}

fn card(url: &str) -> WorkerCard {
    let layers = vec![Layer { name: LayerName::new("h.0.mlp"), units: 4 }];
    let (name, family) = ("demo".parse().unwrap(), "gpt2".into());
    WorkerCard {
        url: url.into(),
        software_version: "0".into(),
        protocol_version: PROTOCOL_VERSION,
        device: "cpu".into(),
        precision: "f32".into(),
        memory_budget: 0,
        tokens_per_second: 10.0,
        sequences: 64,
        model: ModelRecord { name, hash: MODEL, family, context_len: 128, layers },
        chat: None,
    }
}

/// A job of one shard, which runs on two workers.
struct Twice {
    _folder: tempfile::TempDir,
    run: JobRun,
    state: State,
    occupied: Vec<Occupied>,
}

fn twice() -> Twice {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: folder.path().to_owned(),
        grpc: ([127, 0, 0, 1], 0).into(),
        security: Security::default(),
        timing: Timing::default(),
        resume: true,
        limits: Limits::default(),
    };
    let coordinator = Coordinator::open(&config).unwrap();
    let job =
        Job::new(&[Concept { id: concept(), positive: vec!["yes".into()], negative: vec!["no".into()] }]).unwrap();
    let spec = JobSpec {
        model: "demo".parse().unwrap(),
        recipe: Recipe::default(),
        limit_per_class: 1000,
        seed: 0,
        strict: false,
        split: SplitMode::Never,
        measures: Default::default(),
    };
    let handle = coordinator.jobs.open(spec, &job).unwrap();
    let run = JobRun {
        tally: Arc::new(Tally::new(handle.clone())),
        stop: handle.cancel.child_token(),
        spool: Spool::new(folder.path(), handle.id),
        coordinator: coordinator.clone(),
        handle,
        model: MODEL,
    };
    let mut board = Board::default();
    board.add(SHARD, Task::new(Work::Concepts(vec![concept()]), 1, None));
    let mut attempts = BTreeMap::new();
    let mut occupied = Vec::new();
    let registry = &coordinator.registry;
    for (attempt, url) in (0..).zip(["http://127.0.0.1:1", "http://127.0.0.1:2"]) {
        let id = registry.register(card(url), &Credentials::default()).unwrap();
        let worker = registry.with_model(MODEL).into_iter().find(|worker| worker.id == id).unwrap();
        occupied.push(registry.occupy(&worker, run.handle.id, 2).unwrap());
        board.begin(SHARD);
        let meter = Arc::new(Meter::new(run.tally.clone(), SHARD, Load { units: 4, values: UNIT_VALUES }));
        attempts.insert(attempt, Running { shard: SHARD, worker, meter, stop: run.stop.child_token(), verdict: None });
    }
    let (job, precision, ends) = (Arc::new(job), "f32".to_owned(), JoinSet::new());
    let state = State { job, precision, board, split: None, attempts, next_attempt: 2, ends, best_pace: 0.0 };
    Twice { _folder: folder, run, state, occupied }
}

impl Twice {
    /// The attempt that was begun last ends.
    fn end(&mut self, taken: Result<(), IntakeError>) -> Result<(), Fault> {
        let occupied = self.occupied.pop();
        let attempt = self.occupied.len() as u64;
        let ended = Ended { attempt, shard: SHARD, occupied, taken: taken.map(|()| None), broken: None };
        self.run.settle(ended, &mut self.state)
    }
}

fn disk_full() -> Result<(), IntakeError> {
    Err(IntakeError::Own(Fault::internal("no space is left")))
}

#[tokio::test]
async fn a_shard_stays_until_what_was_claimed_is_committed() {
    let mut twice = twice();
    // The first attempt is committing the concept while the second one, which brought it too, ends.
    assert!(twice.run.handle.claim(&concept()));
    twice.end(Ok(())).unwrap();
    assert!(twice.state.board.get(SHARD).is_some());
    // If the commit fails, the job knows why.
    twice.run.handle.unclaim(&concept());
    assert!(twice.end(disk_full()).unwrap_err().message.contains("no space is left"));
}

#[tokio::test]
async fn a_shard_whose_claim_was_given_back_runs_again() {
    let mut twice = twice();
    assert!(twice.run.handle.claim(&concept()));
    twice.end(Ok(())).unwrap();
    twice.run.handle.unclaim(&concept());
    twice.end(Err(IntakeError::Worker(Fault::internal("a block is missing")))).unwrap();
    assert_eq!(twice.state.board.waiting(), 1);
}

#[tokio::test]
async fn one_of_two_attempts_may_not_be_taken() {
    let mut twice = twice();
    twice.end(disk_full()).unwrap();
    let error = String::new();
    twice.run.handle.tell(JobEvent::ConceptFailed { concept: concept(), error });
    twice.end(Ok(())).unwrap();
    assert!(twice.state.board.is_empty());
}
