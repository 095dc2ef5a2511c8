//! The model folder in Hugging Face's layout: `config.json`, `model.safetensors` and the tokenizer's two files.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tokenizers::Tokenizer;

use crate::{
    error::{DemoError, Result},
    file,
    gpt2::{Gpt2, Gpt2Config},
    tokenizer::END_OF_TEXT,
};

/// Tensors by Hugging Face name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Writes the model folder; weights are stored as f16.
pub fn write(folder: &Path, config: &Gpt2Config, tensors: &Tensors, tokenizer: &Tokenizer) -> Result<()> {
    file::write_json(&folder.join("config.json"), config)?;
    tokenizer.save(folder.join("tokenizer.json"), true)?;
    let tokenizer_config = json!({
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": false,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "model_max_length": config.n_positions,
    });
    file::write_json(&folder.join("tokenizer_config.json"), &tokenizer_config)?;
    let halves = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), tensor.to_dtype(DType::F16)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    // transformers refuses a file whose metadata does not name its framework
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    let bytes = safetensors::serialize(halves, metadata)
        .map_err(|error| candle_core::Error::Msg(format!("cannot serialise the weights: {error}")))?;
    // a reader never sees half a file: checkpoints are written while others may be loading
    let partial = folder.join("model.safetensors.partial");
    file::write(&partial, bytes)?;
    let path = folder.join("model.safetensors");
    std::fs::rename(&partial, &path).map_err(|source| DemoError::File { path, source })
}

/// Reads a model folder back, weights widened to f32.
pub fn read(folder: &Path) -> Result<(Gpt2, Tokenizer)> {
    let config: Gpt2Config = file::read_json(&folder.join("config.json"))?;
    let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
    let model = Gpt2::new(&config, |name| match tensors.get(name) {
        Some(tensor) => Ok(tensor.to_dtype(DType::F32)?),
        None => Err(DemoError::MissingTensor { name: name.to_owned() }),
    })?;
    Ok((model, Tokenizer::from_file(folder.join("tokenizer.json"))?))
}
