//! Reports as people read them.

use std::fmt::Write as _;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

use super::report::{Cell, Readers, Report, Table};

/// A rule under the header and nothing else: rows can be selected and copied.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Columns of a table that goes into a file or a pipe.
const FILE_WIDTH: u16 = 150;

/// Facts, then tables, then the remark.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let width = report.facts.iter().map(|(name, _)| label(name).len()).max().unwrap_or(0);
    for (name, cell) in &report.facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}  {}", label(name), shown(cell));
    }
    for table in &report.tables {
        if !text.is_empty() {
            text.push('\n');
        }
        if table.rows.is_empty() {
            let said =
                if table.if_empty.is_empty() { format!("no {}", label(table.name)) } else { table.if_empty.clone() };
            let _ = writeln!(text, "{said}");
            continue;
        }
        if report.tables.len() > 1 {
            let _ = writeln!(text, "{}", label(table.name).to_uppercase());
        }
        let _ = writeln!(text, "{}", render_table(table));
    }
    if !report.remark.is_empty() {
        let _ = writeln!(text, "\n{}", report.remark);
    }
    text
}

fn render_table(table: &Table) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if !drawn.is_tty() {
        drawn.set_width(FILE_WIDTH);
    }
    let places = table.places(Readers::Programs);
    drawn.set_header(places.iter().map(|&place| label(table.columns[place].name)));
    for row in &table.rows {
        drawn.add_row(places.iter().map(|&place| shown(&row[place])));
    }
    for (number, column) in drawn.column_iter_mut().enumerate() {
        let cells = table.rows.iter().map(|row| &row[places[number]]);
        let numeric = cells
            .into_iter()
            .all(|cell| !matches!(cell, Cell::Text(_) | Cell::Criteria(_) | Cell::Findings(_) | Cell::Table(_)));
        column.set_cell_alignment(if numeric { CellAlignment::Right } else { CellAlignment::Left });
        column.set_padding((0, 1));
    }
    drawn.trim_fmt()
}

/// A field's name for people, who are shown units of bytes beside the value.
fn label(name: &str) -> String {
    name.strip_suffix("_bytes").unwrap_or(name).replace('_', " ")
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Count(count) => thousands(*count),
        Cell::Number(number) => format!("{number:.4}"),
        Cell::Double(number) => format!("{number:.4}"),
        Cell::Rounded(number) => format!("{number:.2}"),
        Cell::Share(share) => format!("{:.1} %", share * 100.0),
        Cell::Bytes(bytes) => ByteSize(*bytes).to_string(),
        Cell::Table(table) => format!("{} rows", table.rows.len()),
        Cell::Criteria(criteria) => criteria.to_string(),
        Cell::Findings(findings) => {
            findings.iter().map(|f| format!("{} {}: {}", f.count, f.kind, f.example)).collect::<Vec<_>>().join("\n")
        }
        Cell::Nothing => String::new(),
    }
}

/// `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_report_reads_from_top_to_bottom() {
        let mut units = Table::new("units", &["unit", "on_mean", "~bar"]);
        units.push(vec!["h.0[1]".into(), 0.5f32.into(), "##".into()]);
        units.push(vec!["h.10[12]".into(), 12.25f32.into(), "#".into()]);
        let report = Report::of(units).fact("index_bytes", Cell::Bytes(2048)).remark("2 of 9 units");
        let expected = "\
index  2.0 KiB

unit      on mean  bar
───────────────────────
h.0[1]     0.5000  ##
h.10[12]  12.2500  #

2 of 9 units
";
        assert_eq!(render(&report), expected);
        let empty = Report::of(Table::new("units", &["unit"]).if_empty("no unit fits"));
        assert_eq!(render(&empty), "no unit fits\n");
    }
}
