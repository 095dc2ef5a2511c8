//! What can go wrong with a model: each error says what, where, and what to do.

use std::path::PathBuf;

use lode_domain::{sampling::BadSampling, unit::UnitName};

/// A model that cannot be loaded or run, or a request that it cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// As the system says.
        source: std::io::Error,
    },
    /// A JSON file that is not what it should be.
    #[error("{}: {problem}", path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key or line.
        problem: String,
    },
    /// An architecture without a file under `src/family/`.
    #[error("{}: model_type `{family}` is not supported; supported are {supported}", path.display())]
    UnsupportedFamily {
        /// The `config.json`.
        path: PathBuf,
        /// Its `model_type`.
        family: String,
        /// What could stand there.
        supported: String,
    },
    /// An option of `config.json` that changes the arithmetic in a way that this crate does not support.
    #[error("{}: {option} is not supported: {reason}", path.display())]
    UnsupportedOption {
        /// The `config.json`.
        path: PathBuf,
        /// The option and its value.
        option: String,
        /// What is supported instead.
        reason: String,
    },
    /// A weights file that is truncated or corrupt.
    #[error("{}: not a whole safetensors file: {problem}; fetch it again", path.display())]
    BadWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor that the architecture needs and no file holds.
    #[error("{}: tensor `{tensor}` is missing; config.json and weights do not belong together", path.display())]
    MissingTensor {
        /// The weights file, or the index of the shards.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor whose shape is not what `config.json` says.
    #[error("{}: tensor `{tensor}` has shape {found:?}, config.json asks for {expected:?}", path.display())]
    WrongShape {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What the architecture needs.
        expected: Vec<usize>,
        /// What the file holds.
        found: Vec<usize>,
    },
    /// A tensor that is not made of floats.
    #[error("{}: tensor `{tensor}` is of type {found}; F16, BF16, F32 and F64 can be loaded", path.display())]
    WrongType {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What the file holds.
        found: String,
    },
    /// NaN or infinity in a weight.
    #[error("{}: tensor `{tensor}` is not finite at element {element} when held as {precision}", path.display())]
    WeightNotFinite {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The first bad element, row-major.
        element: usize,
        /// The number type that weights are held in.
        precision: crate::Precision,
    },
    /// A tokenizer whose ids do not fit the model's embeddings.
    #[error(
        "{}: wrong tokenizer: it produces id {id} (token `{token}`), the model knows ids 0 to {}",
        path.display(), vocab - 1
    )]
    WrongTokenizer {
        /// The `tokenizer.json`.
        path: PathBuf,
        /// The largest id of the tokenizer.
        id: u32,
        /// Its token.
        token: String,
        /// `vocab_size` of the model.
        vocab: usize,
    },
    /// A tokenizer that cannot be read, or a text that it cannot handle.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The `tokenizer.json`.
        path: PathBuf,
        /// As the tokenizer says.
        problem: String,
    },
    /// `--compat selfcond` on a model that cannot do it.
    #[error("the selfcond mode pads to {} tokens with the end token: {problem}", lode_domain::pooling::SELFCOND_LEN)]
    NoSelfcond {
        /// What the model lacks.
        problem: String,
    },
    /// A device that is not there, or not in this build.
    #[error("device {device}: {problem}")]
    Device {
        /// As asked for.
        device: String,
        /// Why it cannot be had, and what to do.
        problem: String,
    },
    /// A number type that the device cannot multiply in.
    #[error("dtype {precision} is not supported on {device}; use {instead}")]
    Precision {
        /// As asked for.
        precision: crate::Precision,
        /// Where.
        device: String,
        /// What works there.
        instead: &'static str,
    },
    /// A batch that has not the one shape that its sentences need.
    #[error("a batch of {tokens} tokens does not fit {rows} rows, or mixes short and long sentences; use `pack`")]
    BadBatch {
        /// Tokens in the batch.
        tokens: usize,
        /// Rows of its shape.
        rows: usize,
    },
    /// A response that is no number.
    #[error(
        "the response of unit {unit} to sentence {sentence} of the batch is not finite; \
         the model overflows in this precision"
    )]
    ResponseNotFinite {
        /// The first such unit.
        unit: UnitName,
        /// The sentence's place in the batch.
        sentence: usize,
    },
    /// A prompt that leaves no room for a token.
    #[error("the prompt has {tokens} tokens; the model's context allows {limit} and one to generate")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Context length minus one.
        limit: usize,
    },
    /// A prompt and a continuation that do not fit together into the context.
    #[error("prompt and continuation have {tokens} tokens; the model's context allows {limit}")]
    PassageTooLong {
        /// Tokens of both, without the last: nothing is asked after it.
        tokens: usize,
        /// The context length.
        limit: usize,
    },
    /// A block that the model does not have.
    #[error("the model has no block {block}: its blocks are 0 to {}", blocks - 1)]
    UnknownBlock {
        /// As asked for.
        block: u32,
        /// Blocks that it has.
        blocks: usize,
    },
    /// Nothing to score.
    #[error("the continuation has no token of its own")]
    EmptyContinuation,
    /// A sequence that no other one has to leave for, and that still does not fit.
    #[error(
        "prompt and continuation need keys and values of {positions} positions, and there is room for {room}: ask for \
         fewer tokens, or give the worker a larger --kv-budget"
    )]
    NoRoom {
        /// Positions that it needs.
        positions: usize,
        /// Positions that there are.
        room: usize,
    },
    /// Nothing to start from.
    #[error("the prompt is empty and the model has no token to begin a text with; give a prompt")]
    EmptyPrompt,
    /// A token id beyond the vocabulary.
    #[error("token id {token} is not in the model's vocabulary of {vocab}")]
    UnknownToken {
        /// As given.
        token: u32,
        /// `vocab_size` of the model.
        vocab: usize,
    },
    /// An intervention on a unit that the model does not have.
    #[error("unit number {unit} is forced, but the model has {units} units")]
    UnknownUnit {
        /// As asked for.
        unit: u32,
        /// How many there are.
        units: usize,
    },
    /// An intervention with a value that is no number.
    #[error("unit {unit} cannot be forced to {value}: the value must be finite")]
    ForcedNotFinite {
        /// The unit.
        unit: UnitName,
        /// As asked for.
        value: f32,
    },
    /// A sampling setting out of its range.
    #[error(transparent)]
    Sampling(#[from] BadSampling),
    /// A name that is neither a folder nor a model on the hub.
    #[error(
        "model `{name}`: there is no such folder, and as a Hugging Face id it cannot be had: {problem} \
         (give a folder with config.json, tokenizer.json and model.safetensors, or check id, network and HF_TOKEN)"
    )]
    NotFound {
        /// As given.
        name: String,
        /// What the hub client said.
        problem: String,
    },
    /// The tensor library failed.
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}

/// Results of this crate.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;
