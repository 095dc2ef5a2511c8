//! Likelihoods: log probabilities of given tokens after given ones, under interventions and a guide; and the residual stream meanwhile.

use std::{borrow::Borrow, ops::Range, sync::Arc};

use candle_core::{Result as TensorResult, Tensor};
use lode_domain::guide::Reader;

use crate::{
    ModelError,
    error::Result,
    force::{Conditions, Forcing},
    guide::Guiding,
    hook::Hook,
    model::Model,
    prepared::Prepared,
    rows::{OwnKeys, Rows},
    steer::Steer,
    text::Text,
};

/// Rows whose logits are held at a time: `[row, token]` of a large vocabulary is 25 MB.
const HEAD_ROWS: usize = 64;

/// A token whose probability is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The position that it would follow.
    pub after: u32,
    /// Its id.
    pub token: u32,
}

/// A text, ready to be run, and what is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    prepared: Prepared,
    prompt_len: usize,
    asked: Vec<Asked>,
}

impl Borrow<Prepared> for Passage {
    fn borrow(&self) -> &Prepared {
        &self.prepared
    }
}

impl Passage {
    /// `continuation` after `prompt`: the tokens of both without the last, and the question after each how probable the
    /// next of the continuation is.
    ///
    /// Both are tokenised as one text; the continuation's tokens are those after what it shares with the prompt alone, without
    /// special tokens at the end. An empty prompt is the token that begins a text.
    ///
    /// # Errors
    /// If the tokenizer cannot handle the text, the continuation has no token, the prompt is empty and the model has no token
    /// to begin with, or both do not fit the context.
    pub fn new(text: &Text, prompt: &str, continuation: &str) -> Result<Self> {
        let alone = text.encode(prompt)?.ids;
        let whole = text.encode(&format!("{prompt}{continuation}"))?;
        let own = whole.own.iter().rposition(|own| *own).map_or(0, |last| last + 1);
        let mut ids = whole.ids;
        ids.truncate(own);
        let shared = ids.iter().zip(&alone).take_while(|(a, b)| a == b).count();
        let continued = ids.split_off(shared);
        let mut ids = text.or_start(ids)?;
        let prompt_len = ids.len();
        ids.extend(&continued);
        // The last token is asked for and never run.
        if continued.is_empty() || ids.pop().is_none() {
            return Err(ModelError::EmptyContinuation);
        }
        if ids.len() > text.context_len() {
            return Err(ModelError::PassageTooLong { tokens: ids.len(), limit: text.context_len() });
        }
        let asked = (prompt_len as u32 - 1..).zip(&continued).map(|(after, &token)| Asked { after, token }).collect();
        let visible = ids.len();
        Ok(Self { prepared: Prepared { ids, counted: Vec::new(), visible }, prompt_len, asked })
    }

    /// What is asked, in the order of the answers.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Asks of this text what is asked of `other`, if it is the same text: then one run answers both. Gives the place of the
    /// first answer.
    pub fn take_over(&mut self, other: &Self) -> Option<usize> {
        let is_same = self.prepared.ids == other.prepared.ids && self.prompt_len == other.prompt_len;
        is_same.then(|| {
            let place = self.asked.len();
            self.asked.extend(&other.asked);
            place
        })
    }
}

/// What all passages of a request are asked under.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is forced.
    pub conditions: Arc<Conditions>,
    /// What weighs the next tokens.
    pub guide: Option<Arc<Reader>>,
    /// The blocks after which the residual stream is asked for, ascending.
    pub residual: Vec<u32>,
}

/// What a passage comes to.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Answer {
    /// Natural log probabilities `[asked]`, of the full softmax at temperature 1, or of what the guide makes of it. NaN where the logits
    /// are not finite.
    pub log_probabilities: Vec<f32>,
    /// Where it was asked for, the mean of the residual stream over the continuation's tokens that were run, `[block, width]`; empty if
    /// none was.
    pub residual: Vec<f32>,
}

impl Model {
    /// Checks that the model can be asked this.
    ///
    /// # Errors
    /// If it lacks one of the blocks.
    pub fn check_question(&self, question: &Question) -> Result<()> {
        let blocks = self.decoder().blocks.len();
        match question.residual.iter().find(|&&block| block as usize >= blocks) {
            Some(&block) => Err(ModelError::UnknownBlock { block, blocks }),
            None => Ok(()),
        }
    }

    /// What the passages of one batch come to, in one forward pass.
    ///
    /// A passage's values are the same bits whatever batch it is in and wherever it stands there.
    ///
    /// # Errors
    /// If the passages are no batch as [`pack`](crate::pack) makes them.
    pub fn answer(&self, batch: &[&Passage], question: &Question) -> Result<Vec<Answer>> {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let shape = self.batch_shape();
        let height = shape.rows(first.prepared.len());
        let tokens = batch.iter().map(|passage| passage.prepared.len()).sum();
        if tokens > height || batch.iter().any(|passage| shape.rows(passage.prepared.len()) != height) {
            return Err(ModelError::BadBatch { tokens, rows: height });
        }
        let mut rows = Rows::default();
        let mut looking = Looking {
            steer: Steer::default(),
            blocks: &question.residual,
            spans: Vec::new(),
            means: vec![Vec::new(); batch.len()],
        };
        // Row and token of everything asked, passage by passage.
        let mut asked: Vec<(u32, u32)> = Vec::new();
        let mut starts = Vec::with_capacity(batch.len());
        for passage in batch {
            let start = rows.len();
            starts.push(start);
            rows.push(&passage.prepared.ids, 0, start, passage.prepared.visible);
            let mut forcing = Forcing::new(Arc::clone(&question.conditions), passage.prompt_len);
            looking.steer.force.add(&mut forcing, start, 0, passage.prepared.len());
            looking.spans.push(start + passage.prompt_len.min(passage.prepared.len())..start + passage.prepared.len());
            asked.extend(passage.asked.iter().map(|asked| (start as u32 + asked.after, asked.token)));
        }
        if !self.decoder().head.is_packed() {
            rows.fill(height);
        }
        let x = self.decoder().forward(&rows, &mut OwnKeys, &mut looking)?;
        let mut chosen: Vec<u32> = asked.iter().map(|(row, _)| *row).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let mut guides: Vec<Option<Guiding>> = batch.iter().map(|_| question.guide.clone().map(Guiding::new)).collect();
        let mut found = vec![f32::NAN; asked.len()];
        for some in chosen.chunks(HEAD_ROWS) {
            let mut logits = self.decoder().logits(&x, some)?.to_vec2::<f32>()?;
            for (row, logits) in some.iter().zip(&mut logits) {
                let number = starts.partition_point(|&start| start <= *row as usize) - 1;
                if let Some(guide) = &mut guides[number] {
                    let read = *row as usize - starts[number] + 1;
                    *logits = guide.weigh(logits, &batch[number].prepared.ids[..read]);
                }
            }
            let wanted = asked.iter().zip(&mut found).filter_map(|(asked, found)| {
                let place = some.binary_search(&asked.0).ok()?;
                Some((place, asked.1 as usize, found))
            });
            let norms: Vec<f64> = logits.iter().map(|row| log_sum_exp(row)).collect();
            for (place, token, found) in wanted {
                // What a guide ruled out has no probability at all.
                let is_out = question.guide.is_some() && logits[place][token] == f32::MIN;
                let own = (f64::from(logits[place][token]) - norms[place]) as f32;
                *found = if is_out { f32::NEG_INFINITY } else { own };
            }
        }
        let mut found = found.into_iter();
        let mut means = looking.means.into_iter();
        let answer = |passage: &&Passage| Answer {
            log_probabilities: found.by_ref().take(passage.asked.len()).collect(),
            residual: means.next().unwrap_or_default(),
        };
        Ok(batch.iter().map(answer).collect())
    }
}

/// The hook: it forces, and takes the means of the residual stream after some blocks.
struct Looking<'q> {
    steer: Steer,
    blocks: &'q [u32],
    /// Rows of each passage that count.
    spans: Vec<Range<usize>>,
    /// `[passage][block, width]`, of the blocks that were run.
    means: Vec<Vec<f32>>,
}

impl Hook for Looking<'_> {
    fn after(&mut self, layer: usize, output: Tensor) -> TensorResult<Tensor> {
        self.steer.after(layer, output)
    }

    fn stream(&mut self, block: usize, x: &Tensor) -> TensorResult<()> {
        if self.blocks.contains(&(block as u32)) {
            for (means, span) in self.means.iter_mut().zip(&self.spans) {
                means.extend(mean(x, span)?);
            }
        }
        Ok(())
    }
}

/// The mean of rows `span` of `x` `[row, width]`, each number added up in the rows' order; empty of none.
fn mean(x: &Tensor, span: &Range<usize>) -> TensorResult<Vec<f32>> {
    if span.is_empty() {
        return Ok(Vec::new());
    }
    let rows = x.narrow(0, span.start, span.len())?.to_vec2::<f32>()?;
    let mut sums = vec![0.0; x.dim(1)?];
    for row in &rows {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    Ok(sums.into_iter().map(|sum| (sum / rows.len() as f64) as f32).collect())
}

/// ln of the sum of exp; NaN if a logit is not finite.
fn log_sum_exp(logits: &[f32]) -> f64 {
    if logits.iter().any(|logit| !logit.is_finite()) {
        return f64::NAN;
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    f64::from(largest) + sum.ln()
}
