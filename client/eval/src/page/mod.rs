//! Reports as one HTML file that needs nothing else: no network, no script, styles and drawings inside.
//!
//! A page is legible in light and dark and on paper, and says nothing by colour alone: lines differ in dash and marker too, cells
//! of a heat map carry their numbers.

mod dots;
mod figure;
mod heat;
mod histogram;
mod lines;
pub mod palette;
mod plane;
mod scale;

use std::fmt::Write as _;

pub use self::{
    dots::Dots,
    figure::{Figure, figures},
    heat::Heat,
    histogram::Histogram,
    lines::{Line, Lines, Point, YScale},
    plane::{Path, Plane},
};

const STYLE: &str = include_str!("style.css");
/// Tables with more columns are set smaller.
const MANY_COLUMNS: usize = 9;

/// A report under way.
#[derive(Clone, Debug, Default)]
pub struct Page {
    title: String,
    body: String,
    contents: Vec<(String, String)>,
}

/// A text of which parts are marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// What it is a sample of: `k = 30`.
    pub label: String,
    /// What the model was given.
    pub prompt: String,
    /// What it wrote.
    pub text: String,
    /// Bytes of `text` that are marked, ascending and apart.
    pub places: Vec<std::ops::Range<usize>>,
}

impl Page {
    /// With a title, and what is in it in a sentence or two.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escaped(title), escaped(lead));
        Self { title: title.to_owned(), body, contents: Vec::new() }
    }

    /// Begins a section.
    pub fn section(&mut self, heading: &str) -> &mut Self {
        let anchor = format!("s{}", self.contents.len() + 1);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.body, "<h2 id=\"{anchor}\">{}</h2>", escaped(heading));
        self.contents.push((anchor, heading.to_owned()));
        self
    }

    /// Begins a part of a section.
    pub fn part(&mut self, heading: &str) -> &mut Self {
        let _ = writeln!(self.body, "<h3>{}</h3>", escaped(heading));
        self
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
        self
    }

    /// Names and values.
    pub fn facts(&mut self, facts: &[(String, String)]) -> &mut Self {
        if facts.is_empty() {
            return self;
        }
        self.body.push_str("<dl>\n");
        for (name, value) in facts {
            let _ = writeln!(self.body, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
        }
        self.body.push_str("</dl>\n");
        self
    }

    /// A table; columns whose every cell reads as a number stand to the right, and those without a cell that says anything are left
    /// out.
    pub fn table(&mut self, columns: &[&str], rows: &[Vec<String>]) -> &mut Self {
        let says =
            |place: usize| rows.is_empty() || rows.iter().any(|row| row.get(place).is_some_and(|c| !c.is_empty()));
        let numeric = |place: usize| {
            let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '−'));
            rows.iter().filter_map(|row| row.get(place)).all(|cell| cell.is_empty() || is_number(cell))
        };
        let shown: Vec<(usize, &str)> = (0..columns.len())
            .filter(|&place| says(place))
            .map(|place| (place, if numeric(place) { " class=\"n\"" } else { "" }))
            .collect();
        let dense = if shown.len() > MANY_COLUMNS { " class=\"dense\"" } else { "" };
        let _ = write!(self.body, "<div class=\"wide\"><table{dense}>\n<thead><tr>");
        for (place, class) in &shown {
            let _ = write!(self.body, "<th scope=\"col\"{class}>{}</th>", escaped(columns[*place]));
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (place, class) in &shown {
                let _ = write!(self.body, "<td{class}>{}</td>", escaped(row.get(*place).map_or("", String::as_str)));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
        self
    }

    /// Drawings side by side.
    pub fn figures(&mut self, drawn: &[Figure]) -> &mut Self {
        self.body.push_str(&figures(drawn));
        self
    }

    /// Texts, the places where they show something underlined and coloured.
    pub fn samples(&mut self, samples: &[Marked]) -> &mut Self {
        self.body.push_str("<ul class=\"samples\">\n");
        for sample in samples {
            let _ = write!(self.body, "<li><span class=\"label\">{}</span>", escaped(&sample.label));
            let _ = write!(self.body, "<span class=\"prompt\">{}</span>", escaped(&sample.prompt));
            let mut at = 0;
            for place in &sample.places {
                let (Some(before), Some(word)) = (sample.text.get(at..place.start), sample.text.get(place.clone()))
                else {
                    continue;
                };
                let _ = write!(self.body, "{}<mark>{}</mark>", escaped(before), escaped(word));
                at = place.end;
            }
            let _ = writeln!(self.body, "{}</li>", escaped(sample.text.get(at..).unwrap_or_default()));
        }
        self.body.push_str("</ul>\n");
        self
    }

    /// The whole file.
    pub fn html(&self) -> String {
        let mut contents = String::new();
        for (anchor, heading) in &self.contents {
            let _ = write!(contents, "<a href=\"#{anchor}\">{}</a> ", escaped(heading));
        }
        // The lead stands before the contents.
        let head = self.body.find("</p>\n").map_or(0, |at| at + "</p>\n".len());
        let (lead, body) = self.body.split_at(head);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>\n{lead}<nav \
             aria-label=\"Sections\">{contents}</nav>\n{body}</main>\n</body>\n</html>\n",
            escaped(&self.title),
            palette::css(),
        )
    }
}

/// Text as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let mut page = Page::new("A <b> & \"c\"", "What it is.");
        page.section("Numbers").table(&["unit", "ap"], &[vec!["h.0[1]".into(), "0.5".into()]]);
        let text = " the goal <x>".to_owned();
        let places = Vec::from([5..9, 10..13]);
        let sample = Marked { label: "k = 1".into(), prompt: "Then".into(), places, text };
        page.section("Texts").samples(&[sample]).facts(&[("seed".into(), "1".into())]);
        page.html()
    }

    #[test]
    fn what_is_written_is_text_and_nothing_else() {
        let html = page();
        assert!(html.contains("<title>A &lt;b&gt; &amp; &quot;c&quot;</title>"));
        assert!(html.contains("Then</span> the <mark>goal</mark> <mark>&lt;x&gt;</mark>"), "{html}");
        assert!(html.contains("<th scope=\"col\" class=\"n\">ap</th>"));
        assert!(html.contains("<a href=\"#s2\">Texts</a>"));
    }

    #[test]
    fn columns_that_say_nothing_are_left_out() {
        let mut page = Page::new("t", "l");
        let row = |judge: &str| vec!["a".to_owned(), judge.to_owned(), "1".to_owned()];
        page.table(&["concept", "judge", "k"], &[row(""), row("")]);
        assert!(!page.html().contains("judge") && page.html().contains("<td class=\"n\">1</td>"));
        page.table(&["concept", "judge", "k"], &[row(""), row("2")]);
        assert!(page.html().contains("judge"));
    }

    #[test]
    fn a_page_needs_nothing_else() {
        let html = page();
        for word in ["http:", "https:", "<script", "<link", "@import", "url(", "src="] {
            assert!(!html.contains(word), "{word}");
        }
    }
}
