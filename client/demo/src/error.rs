//! The one error type: every failure a fact with its fields.

use std::path::PathBuf;

/// Why the demo could not be built or measured.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A grammar line that is neither a slot, a clause, a directive nor a comment.
    #[error("grammar {file}, line {line}: {problem}")]
    Grammar {
        /// Grammar file, relative to `grammar/`.
        file: String,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong with the line.
        problem: String,
    },
    /// A clause names a slot that its grammar does not define.
    #[error("grammar {topic}: no slot {slot:?}")]
    UnknownSlot {
        /// Topic the clause belongs to.
        topic: String,
        /// Slot that was asked for.
        slot: String,
    },
    /// A grammar cannot give as many different sentences as were asked for.
    #[error("grammar {topic}: only {found} of {wanted} different sentences")]
    TooFewSentences {
        /// Topic that ran dry.
        topic: String,
        /// Different sentences found.
        found: usize,
        /// Different sentences asked for.
        wanted: usize,
    },
    /// The training text does not fill one window of the model.
    #[error("{tokens} tokens of training text, a window needs {window}")]
    TooLittleText {
        /// Tokens there are.
        tokens: usize,
        /// Tokens a window needs.
        window: usize,
    },
    /// A word that the evaluation needs as one token is split by the tokenizer.
    #[error("the tokenizer has no single token for {word:?}")]
    NotOneToken {
        /// The word, with its leading space.
        word: String,
    },
    /// A tensor that the model needs is not in its file.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Hugging Face name of the tensor.
        name: String,
    },
    /// A demonstration counts texts that it does not have.
    #[error("{concept} at k = {k}: {found} of {wanted} texts are in the file; `lode demo --show {wanted}` prints all")]
    TextsMissing {
        /// Concept of the texts.
        concept: String,
        /// Units forced.
        k: u32,
        /// Texts in the file.
        found: usize,
        /// Texts it counts.
        wanted: usize,
    },
    /// A training worker thread panicked.
    #[error("a training thread panicked")]
    ThreadPanicked,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tokenizers crate refused.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A progress bar template was refused.
    #[error(transparent)]
    Progress(#[from] indicatif::style::TemplateError),
    /// candle refused.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A JSON document could not be read or written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<tokenizers::Error> for DemoError {
    fn from(error: tokenizers::Error) -> Self {
        Self::Tokenizer(error.to_string())
    }
}

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, DemoError>;
