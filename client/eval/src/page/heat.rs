//! Heat maps: numbers in a grid, each on a ground as strong as it is large.

use std::fmt::Write as _;

use super::{escaped, figure::Figure};

/// So many columns stand beside other drawings, with their names across; more take the whole width, with their names upright.
const FEW: usize = 6;

/// Numbers in a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// What is shown.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows, and a number a column; nothing where there is none.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
    /// Digits after the point.
    pub digits: usize,
}

impl Heat {
    /// Drawn, as a table that is read out as one.
    pub fn figure(&self) -> Figure {
        let values = self.rows.iter().flat_map(|(_, values)| values.iter().flatten());
        let most = values.copied().fold(0.0, f64::max);
        let class = if self.columns.len() > FEW { "heat many" } else { "heat" };
        let mut html = format!("<div class=\"wide\"><table class=\"{class}\"><thead><tr><td></td>");
        // Writing to a String cannot fail, here and below.
        for name in &self.columns {
            let _ = write!(html, "<th scope=\"col\"><span>{}</span></th>", escaped(name));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for (name, values) in &self.rows {
            let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escaped(name));
            for value in values {
                match value {
                    None => html.push_str("<td></td>"),
                    Some(value) => {
                        // Up to half, so that the number stays legible on its ground.
                        let strength = if most > 0.0 { 0.55 * (value / most).clamp(0.0, 1.0) } else { 0.0 };
                        let digits = self.digits;
                        let number = format!("{value:.digits$}").replace('-', "−");
                        let _ = write!(html, "<td style=\"background:rgba(var(--heat),{strength:.2})\">{number}</td>");
                    }
                }
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>");
        Figure { title: self.title.clone(), drawing: html }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_its_number_and_its_strength() {
        let rows = vec![("h.0".to_owned(), vec![Some(2.0), Some(4.0)]), ("h.1".to_owned(), vec![None, Some(0.0)])];
        let html = Heat { title: "t".into(), columns: vec!["a".into(), "b".into()], rows, digits: 0 }.figure().drawing;
        assert!(html.contains("0.28)\">2</td>") && html.contains("0.55)\">4</td>") && html.contains("0.00)\">0</td>"));
        assert!(html.contains("<th scope=\"row\">h.1</th><td></td>"), "{html}");
    }

    #[test]
    fn many_columns_have_their_names_upright() {
        let of = |columns: usize| {
            let rows = vec![("a".to_owned(), vec![Some(-0.5); columns])];
            Heat { title: "t".into(), columns: vec!["topic/sea".into(); columns], rows, digits: 1 }.figure().drawing
        };
        assert!(of(FEW).contains("class=\"heat\"") && of(FEW + 1).contains("class=\"heat many\""));
        assert!(of(1).contains(">−0.5</td>"), "{}", of(1));
    }
}
