//! A loaded model: what it is, the responses of its units, the logits of its next token.

use std::{path::Path, sync::Arc};

use candle_core::Device;
use lode_domain::{
    chat::ChatTemplate,
    id::ModelHash,
    intervention::Intervention,
    pooling::Pooling,
    unit::{BadUnitSpace, UnitSpace},
};

use crate::{
    LoadOptions, ModelError, chat,
    config::Config,
    decoder::Decoder,
    error::Result,
    family::Family,
    force::{Conditions, Forcing},
    options::label,
    prepared::{BatchShape, Prepared},
    responses::{Capture, Responses},
    rows::{OwnKeys, Rows},
    steer::Steer,
    text::Text,
    weights::Weights,
};

/// A causal language model with a hook at every linear of every block.
pub struct Model {
    decoder: Decoder,
    space: Arc<UnitSpace>,
    text: Text,
    chat: Option<ChatTemplate>,
    hash: ModelHash,
    family: &'static str,
    parameters: u64,
    device: Device,
}

impl Model {
    /// Loads a Hugging Face folder: `config.json`, `tokenizer.json` and safetensors, in one file or in shards.
    ///
    /// # Errors
    /// If anything is missing, unknown, malformed or not finite; the message names it.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let path = folder.join("config.json");
        let config = Config::read(&path)?;
        let family = Family::of(&config)?;
        let text = Text::load(folder)?;
        let chat = chat::read(folder)?;
        let device = options.open()?;
        let (mut weights, hash) = Weights::load(folder, options, device.clone())?;
        let (decoder, layers) = family.assemble(&config, &mut weights)?;
        let space = UnitSpace::new(layers)
            .map_err(|error: BadUnitSpace| ModelError::BadJson { path, problem: error.to_string() })?;
        let parameters = weights.parameters();
        Ok(Self { decoder, space: Arc::new(space), text, chat, hash, family: family.name, parameters, device })
    }

    /// All units, layers in forward order.
    pub fn unit_space(&self) -> &Arc<UnitSpace> {
        &self.space
    }

    /// The identity of the model's content: BLAKE3 over config, tokenizer and tensors, however these are sharded. A control
    /// has one of its own.
    pub fn hash(&self) -> ModelHash {
        self.hash
    }

    /// The architecture, as `model_type` names it: `gpt2`.
    pub fn family(&self) -> &str {
        self.family
    }

    /// Longest text in tokens.
    pub fn context_len(&self) -> usize {
        self.text.context_len()
    }

    /// Number of token ids.
    pub fn vocab_len(&self) -> usize {
        self.text.vocab_len()
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Where the model runs: `cpu (2 threads)`, `cuda:0`.
    pub fn device_label(&self) -> String {
        label(&self.device)
    }

    /// The tokenizer side.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// How many rows the batches of this model have.
    pub fn batch_shape(&self) -> BatchShape {
        BatchShape::new(self.context_len())
    }

    /// Responses of all units to the sentences of one batch, `[sentence, unit]`, in one forward pass without the head.
    ///
    /// A sentence's responses are the same bits whatever batch it is in and wherever it stands there.
    ///
    /// # Errors
    /// If the sentences are no batch as [`pack`](crate::pack) makes them, or a response is not finite.
    pub fn responses(&self, batch: &[&Prepared], pooling: Pooling) -> Result<Responses> {
        let shape = self.batch_shape();
        let tokens = batch.iter().map(|sentence| sentence.len()).sum();
        let height = batch.first().map_or(shape.short, |sentence| shape.rows(sentence.len()));
        if tokens > height || batch.iter().any(|sentence| shape.rows(sentence.len()) != height) {
            return Err(ModelError::BadBatch { tokens, rows: height });
        }
        let mut capture = Capture::new(Arc::clone(&self.space), pooling, batch);
        if !batch.is_empty() {
            let mut rows = Rows::default();
            for sentence in batch {
                rows.push(&sentence.ids, 0, rows.len(), sentence.visible);
            }
            if !self.decoder.head.is_packed() {
                rows.fill(height);
            }
            self.decoder.forward(&rows, &mut OwnKeys, &mut capture)?;
        }
        capture.finish()
    }

    /// Logits of the token after `prompt`, `[token]`, under `interventions`.
    ///
    /// # Errors
    /// If the prompt is empty and the model has no token to begin a text with, if it leaves no room for a token or
    /// holds an unknown one, or if an intervention names a unit that the model does not have.
    pub fn next_logits(&self, prompt: &[u32], interventions: &[Intervention]) -> Result<Vec<f32>> {
        let prompt = self.check_prompt(prompt.to_vec())?;
        let conditions = Arc::new(Conditions::of(&self.space, interventions)?);
        let mut steer = Steer::default();
        steer.force.add(&mut Forcing::new(conditions, prompt.len()), 0, 0, prompt.len());
        let mut rows = Rows::default();
        rows.push(&prompt, 0, 0, prompt.len());
        let x = self.decoder.forward(&rows, &mut OwnKeys, &mut steer)?;
        let last = (prompt.len() - 1) as u32;
        Ok(self.decoder.logits(&x, &[last])?.get(0)?.to_vec1()?)
    }

    /// The prompt to run: as given if it fits, the start token if it is empty.
    pub(crate) fn check_prompt(&self, prompt: Vec<u32>) -> Result<Vec<u32>> {
        let prompt = self.text.or_start(prompt)?;
        let limit = self.context_len() - 1;
        if prompt.len() > limit {
            return Err(ModelError::PromptTooLong { tokens: prompt.len(), limit });
        }
        match prompt.iter().find(|&&token| token as usize >= self.vocab_len()) {
            Some(&token) => Err(ModelError::UnknownToken { token, vocab: self.vocab_len() }),
            None => Ok(prompt),
        }
    }

    /// How the model wants conversations written out, if it was made for them.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};
    use lode_domain::pooling::Tokens;

    use super::*;
    use crate::parts::linear::Linear;

    /// With a head that no residual stream fits, mining goes on as if nothing were wrong, and a next token cannot be had.
    #[test]
    fn mining_never_computes_the_head() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cases/gpt2/model");
        let options = LoadOptions { device: crate::DeviceChoice::Cpu, ..LoadOptions::default() };
        let mut model = Model::load(&folder, &options).unwrap();
        let sentence = model.text().prepare("we bake bread", Tokens::Own).unwrap().unwrap();
        let whole = model.responses(&[&sentence], Pooling::Max).unwrap();
        assert!(model.next_logits(&[1, 2], &[]).is_ok());

        let misfit = Tensor::zeros((1, 1), DType::F32, &model.device).unwrap();
        model.decoder.head = Linear::new(misfit, None, None).unwrap();
        assert!(model.next_logits(&[1, 2], &[]).is_err(), "the head is what was broken");
        assert_eq!(model.responses(&[&sentence], Pooling::Max).unwrap(), whole);
    }
}
