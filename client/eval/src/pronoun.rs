//! Which pronoun a continuation begins with, as the paper's reference code counts.

/// How far into a continuation the reference looks.
const CHARACTERS: usize = 5;

/// Whether one of `words` stands within the first five characters of a continuation, the space before it included, in any
/// case: ` she ` does, ` hers` and ` The ` do not for `her` and `he`.
pub fn begins_with(continuation: &str, words: &[String]) -> bool {
    let start: Vec<char> = continuation.chars().take(CHARACTERS + 1).collect();
    let mut at = 0;
    while at < start.len().min(CHARACTERS) {
        if !start[at].is_alphabetic() {
            at += 1;
            continue;
        }
        let length = start[at..].iter().take_while(|c| c.is_alphabetic()).count();
        let word: String = start[at..at + length].iter().flat_map(|c| c.to_lowercase()).collect();
        if at + length <= CHARACTERS && words.contains(&word) {
            return true;
        }
        at += length;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_within_five_characters_count() {
        let she = ["she", "her"].map(String::from);
        for text in [" she was", "she", " her keys", " She", "\nher.", ", she", " she's"] {
            assert!(begins_with(text, &she), "{text:?}");
        }
        for text in [" hers", " sherry", " the", " so she", "", " a her", "    he"] {
            assert!(!begins_with(text, &she), "{text:?}");
        }
        let he = ["he", "his"].map(String::from);
        assert!(!begins_with("  history", &he), "the word goes on beyond the window");
        assert!(begins_with("  his", &he));
        assert!(!begins_with(" The ", &he));
    }
}
