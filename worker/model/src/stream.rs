//! Tokens to text while they come: whole characters only, and spaces kept.

use crate::{error::Result, text::Text};

/// How many tokens before the new ones are decoded with them, so that a word's leading space is kept.
const CONTEXT: usize = 8;

/// What a decoder puts for bytes that are no character, or not yet.
const INCOMPLETE: char = '\u{fffd}';

/// The text of one sequence as far as it is complete.
pub(crate) struct TextStream {
    /// The last tokens, among them all whose text is not complete.
    window: Vec<u32>,
    /// Bytes of the window's text that have been given out, or belong to the prompt.
    shown: usize,
}

impl TextStream {
    /// For the continuation of `prompt`.
    pub fn new(text: &Text, prompt: &[u32]) -> Result<Self> {
        let mut stream = Self { window: prompt.to_vec(), shown: 0 };
        stream.slide(text)?;
        Ok(stream)
    }

    /// Takes a token and gives the text that is complete now; empty in the middle of a character.
    pub fn push(&mut self, text: &Text, token: u32) -> Result<String> {
        self.window.push(token);
        let all = text.decode(&self.window)?;
        if all.ends_with(INCOMPLETE) {
            return Ok(String::new());
        }
        let new = all.get(self.shown..).unwrap_or_default().to_owned();
        if !new.is_empty() {
            self.slide(text)?;
        }
        Ok(new)
    }

    /// What is left when no token follows, complete or not.
    pub fn finish(&self, text: &Text) -> Result<String> {
        Ok(text.decode(&self.window)?.get(self.shown..).unwrap_or_default().to_owned())
    }

    /// Forgets all but the last tokens.
    fn slide(&mut self, text: &Text) -> Result<()> {
        self.window.drain(..self.window.len().saturating_sub(CONTEXT));
        self.shown = text.decode(&self.window)?.trim_end_matches(INCOMPLETE).len();
        Ok(())
    }
}
