//! Stop texts: matched in the text as it comes, whatever tokens it comes in.

/// Looks for the stop texts of one sequence.
#[derive(Debug)]
pub(crate) struct Stops {
    stops: Vec<String>,
    /// Text that may become a stop text: it begins one.
    held: String,
}

impl Stops {
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes new text; gives what is certain to belong to the sequence's text, and whether a stop text ended it.
    ///
    /// The stop text that is complete first counts, of those the one that began first.
    pub fn push(&mut self, text: String) -> (String, Stopped) {
        if self.stops.is_empty() || text.is_empty() {
            return (text, Stopped::No);
        }
        self.held.push_str(&text);
        let found =
            self.stops.iter().filter_map(|stop| self.held.find(stop.as_str()).map(|start| (start + stop.len(), start)));
        if let Some((_, start)) = found.min() {
            self.held.truncate(start);
            return (self.finish(), Stopped::Yes);
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, kept), Stopped::No)
    }

    /// What was held back, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Whether a stop text came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It did; the text ends before it.
    Yes,
    /// It did not.
    No,
}

/// Bytes of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let beginnings = stop.char_indices().map(|(start, _)| &stop[..start]).rev();
    beginnings.map(|beginning| if text.ends_with(beginning) { beginning.len() } else { 0 }).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, Stopped) {
        let mut stops = Stops::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut text = String::new();
        for &piece in pieces {
            let (new, stopped) = stops.push(piece.to_owned());
            text.push_str(&new);
            if stopped == Stopped::Yes {
                return (text, stopped);
            }
        }
        text.push_str(&stops.finish());
        (text, Stopped::No)
    }

    #[test]
    fn stop_texts_are_found_across_pieces() {
        let stopped = |text: &str| (text.to_owned(), Stopped::Yes);
        assert_eq!(run(&["\n\n"], &["a\n", "b\n", "\nc"]), stopped("a\nb"));
        assert_eq!(run(&["END"], &["the E", "N", "D."]), stopped("the "));
        assert_eq!(run(&["END"], &["the E", "N", "d."]), ("the ENd.".to_owned(), Stopped::No));
        assert_eq!(run(&["END"], &["the EN"]), ("the EN".to_owned(), Stopped::No), "what was held is given at the end");
        assert_eq!(run(&["京都"], &["東京", "京", "都"]), stopped("東京"));
        assert_eq!(run(&["aab"], &["aa", "ab"]), stopped("a"), "a stop text that began anew");
        assert_eq!(run(&["abcd", "bc"], &["abcd"]), stopped("a"), "the first that is complete");
        assert_eq!(run(&["abc", "bc"], &["ab", "cd"]), stopped(""), "of those the first that began");
        assert_eq!(run(&[], &["a", "b"]), ("ab".to_owned(), Stopped::No));
    }

    proptest! {
        /// The pieces that a text comes in do not matter.
        #[test]
        fn pieces_do_not_matter(
            pieces in prop::collection::vec("[abé]{0,3}", 0..12),
            stops in prop::collection::vec("[abé]{1,4}", 0..3),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let whole = pieces.concat();
            let letters: Vec<String> = whole.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            let found = run(&stops, &pieces);
            prop_assert_eq!(&found, &run(&stops, &letters));
            prop_assert_eq!(&found, &run(&stops, &[&whole]));
            let ends = stops.iter().filter_map(|stop| whole.find(stop).map(|start| (start + stop.len(), start)));
            match ends.min() {
                Some((_, start)) => prop_assert_eq!(found, (whole[..start].to_owned(), Stopped::Yes)),
                None => prop_assert_eq!(found, (whole.clone(), Stopped::No)),
            }
        }
    }
}
