//! A byte-level BPE tokenizer like GPT-2's, trained on the corpus.

use tokenizers::{
    AddedToken, Tokenizer, TokenizerBuilder,
    models::bpe::{BPE, BpeTrainerBuilder},
    normalizers::NFC,
    pre_tokenizers::byte_level::ByteLevel,
};

use crate::error::{DemoError, Result};

/// The one special token: it stands between documents, begins and ends a text.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Trains a tokenizer of `vocab_size` entries on `texts`.
pub fn train<'a>(texts: impl Iterator<Item = &'a str> + Send, vocab_size: usize) -> Result<Tokenizer> {
    let mut tokenizer = TokenizerBuilder::<BPE, NFC, ByteLevel, ByteLevel, ByteLevel>::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)))
        .with_post_processor(Some(ByteLevel::default().trim_offsets(false)))
        .with_decoder(Some(ByteLevel::default()))
        .build()?;
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab_size)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    tokenizer.train(&mut trainer, texts)?;
    // through JSON: the typed tokenizer and the general one share no conversion
    Ok(Tokenizer::from_bytes(serde_json::to_vec(&tokenizer)?)?)
}

/// Ids of a text without special tokens.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    Ok(tokenizer.encode(text, false)?.get_ids().to_vec())
}

/// Id of a text that must be exactly one token.
pub fn single(tokenizer: &Tokenizer, text: &str) -> Result<u32> {
    match encode(tokenizer, text)?.as_slice() {
        [id] => Ok(*id),
        _ => Err(DemoError::NotOneToken { word: text.to_owned() }),
    }
}

/// Id of [`END_OF_TEXT`].
pub fn end_of_text(tokenizer: &Tokenizer) -> Result<u32> {
    tokenizer.token_to_id(END_OF_TEXT).ok_or_else(|| DemoError::NotOneToken { word: END_OF_TEXT.to_owned() })
}
