//! Texts as the metrics read them: lower-case words, and marks.

/// The words and marks of a text, in order, lower case: a run of letters, digits and apostrophes is a word, any other visible
/// character a mark of its own.
///
/// `"It's late, isn't it?"` is `it's late , isn't it ?`.
pub fn tokens(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in text.chars() {
        let is_of_word = c.is_alphanumeric() || matches!(c, '\'' | '’');
        if is_of_word && in_word {
            if let Some(word) = found.last_mut() {
                word.extend(c.to_lowercase());
            }
        } else if !c.is_whitespace() {
            found.push(c.to_lowercase().collect());
        }
        in_word = is_of_word;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_marks_are_told_apart() {
        assert_eq!(tokens("It's late, isn't it?"), ["it's", "late", ",", "isn't", "it", "?"]);
        assert_eq!(tokens("  Über 3.5 m\n"), ["über", "3", ".", "5", "m"]);
        assert!(tokens(" \n").is_empty());
    }
}
