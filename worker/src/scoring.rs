//! Scoring: how probable given continuations are, in packed batches between the steps of generation.

use std::{collections::VecDeque, sync::Arc};

use lode_domain::{
    guide::Reader,
    likelihood::{ResolvedScore, ScoredContinuation, ScoredPassage},
};
use lode_model::{Answer, Conditions, Model, ModelError, Passage, Question, pack};
use lode_proto::Fault;
use tokio::sync::oneshot;

use crate::{
    device::Device,
    fault::{device_died, of_model},
    metrics,
};

/// What a request's passages come to on the device.
pub(crate) struct ScoreTask {
    /// Texts to run, each once.
    passages: Vec<Passage>,
    question: Question,
    /// Passages of each batch that is left; the last is the next.
    batches: Vec<Vec<usize>>,
    /// What is asked of each passage, `[passage][asked]`, empty until it has run.
    found: Vec<Answer>,
    answer: oneshot::Sender<Result<Vec<Answer>, Fault>>,
}

/// Scores a request's passages; `[passage][continuation]`.
///
/// # Errors
/// If a passage cannot be tokenised or does not fit the context, or an intervention names a unit that the model does not have.
pub(crate) async fn score(
    model: &Arc<Model>,
    device: &Device,
    request: ResolvedScore,
) -> Result<Vec<ScoredPassage>, Fault> {
    let (answer, answered) = oneshot::channel();
    let own = model.clone();
    let prepared = tokio::task::spawn_blocking(move || prepare(&own, request, answer)).await;
    let (task, places) = prepared.map_err(|error| Fault::internal(format!("tokenising failed: {error}")))??;
    device.score(task)?;
    let found = answered.await.map_err(|_| device_died())??;
    let continuation = |place: Place| {
        let answer = &found[place.passage];
        let log_probabilities = answer.log_probabilities[place.first..place.first + place.tokens.len()].to_vec();
        metrics::TOKENS_SCORED.add(place.tokens.len() as u64);
        ScoredContinuation { tokens: place.tokens, log_probabilities, residual: answer.residual.clone() }
    };
    Ok(places.into_iter().map(|passage| passage.into_iter().map(continuation).collect()).collect())
}

/// Where a continuation's answers are.
struct Place {
    passage: usize,
    first: usize,
    tokens: Vec<u32>,
}

/// Tokenises and packs; continuations of a prompt that differ in their last token only share a run.
fn prepare(
    model: &Model,
    request: ResolvedScore,
    answer: oneshot::Sender<Result<Vec<Answer>, Fault>>,
) -> Result<(ScoreTask, Vec<Vec<Place>>), Fault> {
    let conditions = Arc::new(Conditions::of(model.unit_space(), &request.interventions).map_err(of_model)?);
    let guide = request.guide.map(|guide| Reader::new(guide).map(Arc::new)).transpose().map_err(Fault::invalid)?;
    let question = Question { conditions, guide, residual: request.residual };
    model.check_question(&question).map_err(of_model)?;
    let mut passages: Vec<Passage> = Vec::new();
    let mut places = Vec::new();
    for (number, asked) in (1..).zip(&request.passages) {
        let own = passages.len();
        let mut places_of = Vec::new();
        for continuation in &asked.continuations {
            let bad = |error: ModelError| Fault::invalid(format!("passage {number}, `{continuation}`: {error}"));
            let passage = Passage::new(model.text(), &asked.prompt, continuation).map_err(bad)?;
            let tokens = passage.asked().iter().map(|asked| asked.token).collect();
            let shared = (own..passages.len()).find_map(|at| Some((at, passages[at].take_over(&passage)?)));
            let (passage, first) = shared.unwrap_or_else(|| {
                passages.push(passage);
                (passages.len() - 1, 0)
            });
            places_of.push(Place { passage, first, tokens });
        }
        places.push(places_of);
    }
    let mut batches = pack(&passages, &model.batch_shape());
    batches.reverse();
    let found = vec![Answer::default(); passages.len()];
    Ok((ScoreTask { passages, question, batches, found, answer }, places))
}

/// Requests under way on the device; they take turns.
#[derive(Default)]
pub(crate) struct Scoring {
    waiting: VecDeque<ScoreTask>,
}

impl Scoring {
    /// Whether there is nothing to score.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self, task: ScoreTask) {
        self.waiting.push_back(task);
    }

    /// Runs one batch of the request whose turn it is.
    pub(crate) fn step(&mut self, model: &Model) {
        let Some(mut task) = self.waiting.pop_front() else { return };
        // Nobody waits any more.
        if task.answer.is_closed() {
            return;
        }
        if let Some(batch) = task.batches.pop() {
            let members: Vec<&Passage> = batch.iter().map(|&number| &task.passages[number]).collect();
            match model.answer(&members, &task.question) {
                Ok(found) => batch.iter().zip(found).for_each(|(&number, found)| task.found[number] = found),
                Err(error) => return tell(task.answer, Err(of_model(error))),
            }
        }
        if task.batches.is_empty() {
            return tell(task.answer, Ok(task.found));
        }
        self.waiting.push_back(task);
    }
}

fn tell(answer: oneshot::Sender<Result<Vec<Answer>, Fault>>, said: Result<Vec<Answer>, Fault>) {
    // Whoever asked may be gone.
    let _ = answer.send(said);
}
