//! Tokens to text while they come: whole characters only, and spaces kept.

use crate::{error::Result, text::Text};

/// How many tokens before the new ones are decoded with them, so that a word's leading space is kept.
const CONTEXT: usize = 8;

/// What a decoder puts for bytes that are no character, or not yet.
const INCOMPLETE: char = '\u{fffd}';

/// The text of one sequence as far as it is complete.
#[derive(Clone, Debug)]
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
        stream.show(text, &text.decode(prompt)?)?;
        Ok(stream)
    }

    /// Takes a token and gives the text that is complete now; empty in the middle of a character.
    pub fn push(&mut self, text: &Text, token: u32) -> Result<String> {
        self.window.push(token);
        let all = text.decode(&self.window)?;
        if all.ends_with(INCOMPLETE) {
            return Ok(String::new());
        }
        let new = self.unshown(&all);
        self.show(text, &all)?;
        Ok(new)
    }

    /// What is left when no token follows, complete or not.
    pub fn finish(&self, text: &Text) -> Result<String> {
        Ok(self.unshown(&text.decode(&self.window)?))
    }

    fn unshown(&self, all: &str) -> String {
        // Byte tokens that turn out to be no character are decoded anew, to another length: the text goes on from the
        // next whole character.
        let start = (self.shown..all.len()).find(|&byte| all.is_char_boundary(byte));
        start.map_or_else(String::new, |start| all[start..].to_owned())
    }

    /// Counts `all`, the window's text, as shown, and shortens the window where that does not change what it says: not
    /// in the middle of a character.
    fn show(&mut self, text: &Text, all: &str) -> Result<()> {
        self.shown = all.trim_end_matches(INCOMPLETE).len();
        if self.shown == all.len() && self.window.len() > 2 * CONTEXT {
            let forgotten = self.window.len() - CONTEXT;
            let rest = text.decode(&self.window[forgotten..])?;
            if all.ends_with(&rest) {
                self.window.drain(..forgotten);
                self.shown = rest.len();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Every kind of tokenizer in the golden cases, with and without byte fallback.
    #[test]
    fn pieces_are_whole_characters_and_add_up() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cases");
        for case in cases.read_dir().unwrap() {
            let text = Text::load(&case.unwrap().path().join("model")).unwrap();
            let ids = text
                .encode("The café in 東京 sells naïve 🎈 bread,  and tea. \u{1f469}\u{200d}\u{1f373}!")
                .unwrap()
                .ids;
            for prompt_len in [1, 3, 12, ids.len() - 1] {
                let (prompt, new) = ids.split_at(prompt_len);
                let mut stream = TextStream::new(&text, prompt).unwrap();
                let mut streamed = text.decode(prompt).unwrap().trim_end_matches(INCOMPLETE).to_owned();
                for &token in new {
                    let piece = stream.push(&text, token).unwrap();
                    assert!(!piece.contains(INCOMPLETE), "{piece:?}");
                    streamed.push_str(&piece);
                }
                streamed.push_str(&stream.finish(&text).unwrap());
                assert_eq!(streamed, text.decode(&ids).unwrap(), "{prompt_len}");
            }
        }
    }

    #[test]
    fn half_a_character_is_given_only_at_the_end() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cases/gpt2/model");
        let text = Text::load(&folder).unwrap();
        let ids = text.encode("a🎈").unwrap().ids;
        let mut stream = TextStream::new(&text, &ids[..1]).unwrap();
        assert_eq!(stream.push(&text, ids[1]).unwrap(), "");
        assert_eq!(stream.finish(&text).unwrap(), INCOMPLETE.to_string());
    }
}
