//! Text to tokens and back: the tokenizer, the context length, and the ends of a text. Needs no weights.

use std::path::{Path, PathBuf};

use lode_domain::pooling::{SELFCOND_LEN, Tokens};
use tokenizers::Tokenizer;

use crate::{ModelError, config::Config, error::Result, prepared::Prepared};

/// The tokenizer side of a model.
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    path: PathBuf,
    context_len: usize,
    vocab_len: usize,
    /// Tokens that end a text; the first pads in `--compat selfcond`.
    ends: Vec<u32>,
    /// The token that begins a text, if the model has one.
    start: Option<u32>,
}

/// A text as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids `[position]`, special tokens included.
    pub ids: Vec<u32>,
    /// Whether the token is the text's own, `[position]`; the tokenizer adds the others (BOS, ...).
    pub own: Vec<bool>,
}

/// Why a sentence is not mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It has no token of its own.
    Empty,
    /// It does not fit.
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// The most that fit.
        limit: usize,
    },
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::TooLong { tokens, limit } => write!(f, "too long: {tokens} tokens of at most {limit}"),
        }
    }
}

impl Text {
    /// Reads `config.json`, `generation_config.json` (if there) and `tokenizer.json` of a model's folder.
    ///
    /// # Errors
    /// If a file is missing or does not parse, or the tokenizer produces ids that the model does not know.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = Config::read(&folder.join("config.json"))?;
        let path = folder.join("tokenizer.json");
        if let Err(source) = std::fs::metadata(&path) {
            return Err(ModelError::Read { path, source });
        }
        let failed =
            |error: tokenizers::Error| ModelError::Tokenizer { path: path.clone(), problem: error.to_string() };
        let mut tokenizer = Tokenizer::from_file(&path).map_err(failed)?;
        // Saved tokenizers carry the settings of their training runs; a sentence is never cut or padded here.
        tokenizer.with_truncation(None).map_err(failed)?;
        tokenizer.with_padding(None);
        let vocab_len = config.size("vocab_size")?;
        let largest = tokenizer.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        if let Some((token, id)) = largest.filter(|(_, id)| *id as usize >= vocab_len) {
            return Err(ModelError::WrongTokenizer { path, id, token, vocab: vocab_len });
        }
        let mut ends = config.token_ids("eos_token_id")?;
        let generation = folder.join("generation_config.json");
        if generation.exists() {
            ends.extend(Config::read(&generation)?.token_ids("eos_token_id")?);
        }
        ends.retain(|&id| (id as usize) < vocab_len);
        let begins = config.token_ids("bos_token_id")?;
        let start = begins.into_iter().chain(ends.first().copied()).find(|&id| (id as usize) < vocab_len);
        Ok(Self { tokenizer, context_len: config.context_len()?, path, vocab_len, ends, start })
    }

    /// Longest text in tokens.
    pub fn context_len(&self) -> usize {
        self.context_len
    }

    /// Number of token ids that the model knows.
    pub fn vocab_len(&self) -> usize {
        self.vocab_len
    }

    /// Whether `token` ends a text.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The tokens of `text`, with the special tokens that the tokenizer adds.
    ///
    /// # Errors
    /// If the tokenizer cannot handle the text.
    pub fn encode(&self, text: &str) -> Result<Encoded> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| self.failed(error))?;
        let own = encoding.get_special_tokens_mask().iter().map(|&special| special == 0).collect();
        Ok(Encoded { ids: encoding.get_ids().to_vec(), own })
    }

    /// The tokens of a prompt; of an empty one, the token that begins a text. Where the prompt spells the tokenizer's first special
    /// tokens out, as chat templates do, they are not added a second time.
    ///
    /// # Errors
    /// If the tokenizer cannot handle the text, or it is empty and the model has no token to begin with.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let Encoded { ids, own } = self.encode(text)?;
        let added = own.iter().take_while(|own| !**own).count();
        if added > 0 {
            let spelled = self.tokenizer.encode(text, false).map_err(|error| self.failed(error))?;
            if spelled.get_ids().starts_with(&ids[..added]) {
                return Ok(spelled.get_ids().to_vec());
            }
        }
        self.or_start(ids)
    }

    /// The text of `ids`, without special tokens.
    ///
    /// # Errors
    /// If the tokenizer cannot handle the ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| self.failed(error))
    }

    /// The text of `token` after the token `before`, a leading space included; empty for a special token, and a replacement
    /// character for part of one.
    ///
    /// # Errors
    /// If the tokenizer cannot handle the ids.
    pub fn piece(&self, before: u32, token: u32) -> Result<String> {
        let both = self.decode(&[before, token])?;
        match both.strip_prefix(&self.decode(&[before])?) {
            Some(piece) => Ok(piece.to_owned()),
            // The two make one character together.
            None => self.decode(&[token]),
        }
    }

    /// Makes a sentence ready for mining, or says why it is dropped.
    ///
    /// # Errors
    /// If the tokenizer cannot handle the text, or the model cannot do what `tokens` asks for.
    pub fn prepare(&self, text: &str, tokens: Tokens) -> Result<Result<Prepared, Dropped>> {
        let Encoded { mut ids, own } = self.encode(text)?;
        if !own.contains(&true) {
            return Ok(Err(Dropped::Empty));
        }
        let (len, limit) = match tokens {
            Tokens::Own => (ids.len(), self.context_len),
            Tokens::Selfcond => (ids.len(), SELFCOND_LEN),
        };
        if len > limit {
            return Ok(Err(Dropped::TooLong { tokens: len, limit }));
        }
        Ok(Ok(match tokens {
            Tokens::Own => {
                let counted = own.iter().enumerate().filter(|(_, own)| **own).map(|(position, _)| position as u32);
                Prepared { counted: counted.collect(), visible: len, ids }
            }
            Tokens::Selfcond => {
                ids.resize(SELFCOND_LEN, self.selfcond_pad()?);
                Prepared { ids, counted: (0..SELFCOND_LEN as u32).collect(), visible: len }
            }
        }))
    }

    /// Checks that mining in the mode `tokens` is possible with this model.
    ///
    /// # Errors
    /// If it is `Selfcond` and the context is too short or there is no end token to pad with.
    pub fn check(&self, tokens: Tokens) -> Result<()> {
        match tokens {
            Tokens::Own => Ok(()),
            Tokens::Selfcond => self.selfcond_pad().map(drop),
        }
    }

    /// `ids`, or the token that begins a text if there are none.
    pub(crate) fn or_start(&self, ids: Vec<u32>) -> Result<Vec<u32>> {
        if ids.is_empty() { Ok(vec![self.start.ok_or(ModelError::EmptyPrompt)?]) } else { Ok(ids) }
    }

    fn selfcond_pad(&self) -> Result<u32> {
        if self.context_len < SELFCOND_LEN {
            let problem = format!("the model's context has only {}", self.context_len);
            return Err(ModelError::NoSelfcond { problem });
        }
        self.ends
            .first()
            .copied()
            .ok_or_else(|| ModelError::NoSelfcond { problem: "config.json names no eos_token_id".to_owned() })
    }

    fn failed(&self, error: tokenizers::Error) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), problem: error.to_string() }
    }
}
