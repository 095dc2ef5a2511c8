//! A drawing with its caption.

use std::fmt::Write as _;

use super::escaped;

/// A drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Said above it.
    pub title: String,
    /// The `<svg>` element, or another that needs no more than a page's styles.
    pub drawing: String,
}

/// Drawings side by side, as many as fit.
pub fn figures(drawn: &[Figure]) -> String {
    let mut text = String::from("<div class=\"figures\">\n");
    for figure in drawn {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<figure><figcaption>{}</figcaption>\n{}\n</figure>",
            escaped(&figure.title),
            figure.drawing
        );
    }
    text.push_str("</div>\n");
    text
}
