//! Texts of a model under a condition, and how probable texts are to a model.

use std::time::Duration;

use anyhow::bail;
use futures::StreamExt as _;
use lode_client::{Client, Fault};
use lode_domain::{
    generation::{FinishReason, GenerateEvent, GenerateRequest},
    id::ModelName,
    likelihood::{Passage, ScoreRequest, ScoredPassage},
    sampling::Sampling,
};
use lode_eval::perplexity::Surprise;
use serde::{Deserialize, Serialize};

use super::method::Treatment;

/// How often a call is made again that failed for want of a worker: half a minute in all.
const PATIENCE: u32 = 5;

/// A continuation as the model wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Text {
    /// Number of its prompt.
    pub(super) prompt: usize,
    /// Without the prompt.
    pub(super) text: String,
    /// The forced values drove the model out of its numbers.
    pub(super) broke_off: bool,
}

/// Writes with one model.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) model: ModelName,
    pub(super) sampling: Sampling,
}

impl Writer {
    /// `samples` continuations, dealt out evenly to the prompts, the first ones getting one more where it does not come out
    /// even; the same settings give the same texts.
    pub(super) async fn write(
        &self,
        prompts: &[String],
        treatment: &Treatment,
        samples: u32,
    ) -> anyhow::Result<Vec<Text>> {
        let mut texts = Vec::new();
        let count = prompts.len() as u32;
        for (number, prompt) in prompts.iter().enumerate() {
            let own = samples / count + u32::from((number as u32) < samples % count);
            if own > 0 {
                let request = GenerateRequest {
                    model: self.model.clone(),
                    prompt: format!("{}{prompt}", treatment.instruction),
                    conditions: treatment.conditions.clone(),
                    observe: Vec::new(),
                    sampling: self.sampling.clone(),
                    samples: own,
                    guide: treatment.guide.clone(),
                };
                texts.extend(patiently(|| self.continuations(&request, number)).await?);
            }
        }
        Ok(texts)
    }

    async fn continuations(&self, request: &GenerateRequest, prompt: usize) -> Result<Vec<Text>, Fault> {
        let blank = Text { prompt, text: String::new(), broke_off: false };
        let mut texts = vec![blank; request.samples as usize];
        let mut finished = 0;
        let mut events = self.client.generate(request.clone()).await?;
        while let Some(event) = events.next().await.transpose()? {
            match event {
                GenerateEvent::Token { sample, text, .. } => {
                    if let Some(own) = texts.get_mut(sample as usize) {
                        own.text.push_str(&text);
                    }
                }
                GenerateEvent::Finished { sample, finished: how } => {
                    finished += 1;
                    if let Some(own) = texts.get_mut(sample as usize) {
                        own.broke_off = how.reason == FinishReason::NotFinite;
                    }
                }
            }
        }
        if finished < texts.len() {
            return Err(Fault::unavailable("the cluster ended the stream before the texts were complete"));
        }
        Ok(texts)
    }

    /// How surprising texts are to `model` as it is, after their prompts; nothing for a text without a token, or where the model's
    /// own numbers fail.
    pub(super) async fn surprises(
        &self,
        model: &ModelName,
        prompts: &[String],
        texts: &[Text],
    ) -> anyhow::Result<Vec<Option<Surprise>>> {
        let is_scored = |text: &&Text| !text.text.trim().is_empty();
        let passage =
            |text: &Text| Passage { prompt: prompts[text.prompt].clone(), continuations: vec![text.text.clone()] };
        let passages: Vec<Passage> = texts.iter().filter(is_scored).map(passage).collect();
        let mut scored =
            if passages.is_empty() { Vec::new() } else { self.score(model, &Treatment::default(), passages).await? }
                .into_iter();
        let surprise = |text: &Text| {
            let one = if is_scored(&text) { scored.next() } else { None }?;
            let surprise: Surprise = one.iter().map(|one| Surprise::of(&one.log_probabilities)).collect();
            surprise.nats.is_finite().then_some(surprise)
        };
        Ok(texts.iter().map(surprise).collect())
    }

    /// How probable continuations are under a treatment, `[passage][continuation]`.
    pub(super) async fn score(
        &self,
        model: &ModelName,
        treatment: &Treatment,
        mut passages: Vec<Passage>,
    ) -> anyhow::Result<Vec<ScoredPassage>> {
        passages.iter_mut().for_each(|passage| passage.prompt.insert_str(0, &treatment.instruction));
        let request = ScoreRequest {
            model: model.clone(),
            conditions: treatment.conditions.clone(),
            seed: self.sampling.seed,
            passages,
            guide: treatment.guide.clone(),
            residual: Vec::new(),
        };
        patiently(|| self.client.score(request.clone())).await
    }

    /// What the model as it is makes of texts: their tokens, and the means of the residual stream after `blocks`, ascending.
    pub(super) async fn read(&self, passages: Vec<Passage>, blocks: &[u32]) -> anyhow::Result<Vec<ScoredPassage>> {
        let request = ScoreRequest {
            model: self.model.clone(),
            conditions: Vec::new(),
            seed: self.sampling.seed,
            passages,
            guide: None,
            residual: blocks.to_vec(),
        };
        patiently(|| self.client.score(request.clone())).await
    }
}

/// Calls again after faults that may pass: a long evaluation outlives a worker.
async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, Fault>) -> anyhow::Result<T> {
    let mut failed = 0;
    loop {
        match call().await {
            Ok(done) => return Ok(done),
            Err(fault) if fault.is_retryable() && failed < PATIENCE => {
                tokio::time::sleep(Duration::from_secs(1 << failed)).await;
                failed += 1;
            }
            Err(fault) => bail!(fault),
        }
    }
}
