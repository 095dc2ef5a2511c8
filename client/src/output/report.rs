//! A command's answer: a few facts and some tables, each cell once, in all its forms.

use lode_domain::{criterion::Criteria, lint::Finding};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Count(u64),
    /// Shown with four decimals, written in full.
    Number(f32),
    /// Likewise.
    Double(f64),
    /// Shown and written with two decimals.
    Rounded(f64),
    /// A share of one: shown in percent.
    Share(f64),
    /// Bytes: shown with a unit.
    Bytes(u64),
    /// What was found in a concept's sentences.
    Findings(Vec<Finding>),
    /// Shown side by side.
    Criteria(Criteria),
    /// Rows of their own; JSON also in CSV.
    Table(Table),
    Nothing,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// The field's name in JSON and CSV, and the header.
    pub(crate) name: &'static str,
    pub(crate) readers: Readers,
}

/// Who is shown a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    Everyone,
    /// In tables only.
    People,
    /// In JSON and CSV only.
    Programs,
}

/// Rows under columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    /// The field's name in JSON, the title for people if there are several tables.
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// Said in place of a table without rows.
    pub(crate) if_empty: String,
}

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Facts about the whole, by the field's name in JSON.
    pub(crate) facts: Vec<(&'static str, Cell)>,
    /// The first is the one that CSV has.
    pub(crate) tables: Vec<Table>,
    /// Said below the tables, to people only.
    pub(crate) remark: String,
}

impl Table {
    /// A table without rows; a column whose name begins with `~` is for people, one with `=` for programs only.
    pub(crate) fn new(name: &'static str, columns: &[&'static str]) -> Self {
        let column = |text: &&'static str| match (text.strip_prefix('~'), text.strip_prefix('=')) {
            (Some(name), _) => Column { name, readers: Readers::People },
            (_, Some(name)) => Column { name, readers: Readers::Programs },
            _ => Column { name: text, readers: Readers::Everyone },
        };
        Self { name, columns: columns.iter().map(column).collect(), ..Self::default() }
    }

    /// What to say when there are no rows.
    pub(crate) fn if_empty(mut self, text: impl Into<String>) -> Self {
        self.if_empty = text.into();
        self
    }

    /// Appends a row, one cell a column.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row of table {}", self.name);
        self.rows.push(row);
    }

    /// Places of the columns that are not only for `others`.
    pub(crate) fn places(&self, others: Readers) -> Vec<usize> {
        (0..self.columns.len()).filter(|&place| self.columns[place].readers != others).collect()
    }
}

impl Report {
    /// A report that is one table: in JSON an array of objects.
    pub(crate) fn of(table: Table) -> Self {
        Self { tables: vec![table], ..Self::default() }
    }

    /// Adds a fact; in JSON the report is then an object.
    pub(crate) fn fact(mut self, name: &'static str, cell: impl Into<Cell>) -> Self {
        self.facts.push((name, cell.into()));
        self
    }

    /// Adds a table.
    pub(crate) fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// Adds a line for people.
    pub(crate) fn remark(mut self, text: impl Into<String>) -> Self {
        self.remark = text.into();
        self
    }

    /// Every fact and every table.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// The first table, or the facts if there is none.
    pub(crate) fn csv(&self) -> anyhow::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        match self.tables.first() {
            Some(table) => {
                let places = table.places(Readers::People);
                writer.write_record(places.iter().map(|&place| table.columns[place].name))?;
                for row in &table.rows {
                    writer.write_record(places.iter().map(|&place| row[place].plain()))?;
                }
            }
            None => {
                writer.write_record(self.facts.iter().map(|(name, _)| name))?;
                writer.write_record(self.facts.iter().map(|(_, cell)| cell.plain()))?;
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

impl Cell {
    /// The value in full, as one text.
    fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) | Self::Bytes(count) => count.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Double(number) | Self::Share(number) => number.to_string(),
            Self::Rounded(number) => format!("{number:.2}"),
            Self::Criteria(criteria) => criteria.to_string(),
            Self::Findings(findings) => {
                findings.iter().map(|f| format!("{} {} {}", f.count, f.kind, f.example)).collect::<Vec<_>>().join("; ")
            }
            Self::Table(table) => serde_json::to_string(table).unwrap_or_default(),
            Self::Nothing => String::new(),
        }
    }
}

macro_rules! cells {
    ($($type:ty => |$value:ident| $cell:expr),+ $(,)?) => {
        $(impl From<$type> for Cell {
            fn from($value: $type) -> Self {
                $cell
            }
        })+
    };
}

cells!(
    &str => |text| Self::Text(text.to_owned()),
    String => |text| Self::Text(text),
    u32 => |count| Self::Count(count.into()),
    u64 => |count| Self::Count(count),
    usize => |count| Self::Count(count as u64),
    f32 => |number| Self::Number(number),
    f64 => |number| Self::Double(number),
    Vec<Finding> => |findings| Self::Findings(findings),
    Criteria => |criteria| Self::Criteria(criteria),
    Table => |table| Self::Table(table),
);

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Count(count) | Self::Bytes(count) => serializer.serialize_u64(*count),
            Self::Number(number) => serializer.serialize_f32(*number),
            Self::Double(number) | Self::Share(number) => serializer.serialize_f64(*number),
            Self::Rounded(number) => serializer.serialize_f64((number * 100.0).round() / 100.0),
            Self::Findings(findings) => findings.serialize(serializer),
            Self::Criteria(criteria) => criteria.serialize(serializer),
            Self::Table(table) => table.serialize(serializer),
            Self::Nothing => serializer.serialize_none(),
        }
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let places = self.places(Readers::People);
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            rows.serialize_element(&Object { table: self, places: &places, row })?;
        }
        rows.end()
    }
}

/// A row as an object.
struct Object<'t> {
    table: &'t Table,
    places: &'t [usize],
    row: &'t [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.places.iter().map(|&place| (self.table.columns[place].name, &self.row[place])))
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let ([], [table]) = (self.facts.as_slice(), self.tables.as_slice()) {
            return table.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        for (name, cell) in &self.facts {
            map.serialize_entry(name, cell)?;
        }
        for table in &self.tables {
            map.serialize_entry(table.name, table)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::lint::FindingKind;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new("units", &["unit", "ap", "~bar", "=index"]);
        table.push(vec!["h.0[1]".into(), 0.1f32.into(), "##".into(), 1u32.into()]);
        table.push(vec!["a, \"b\"".into(), Cell::Nothing, "".into(), 2u32.into()]);
        table
    }

    #[test]
    fn one_table_is_an_array_of_objects() {
        let json: serde_json::Value = serde_json::from_str(&Report::of(table()).json().unwrap()).unwrap();
        let rows = serde_json::json!([
            {"unit": "h.0[1]", "ap": 0.1, "index": 1}, {"unit": "a, \"b\"", "ap": null, "index": 2}
        ]);
        assert_eq!(json, rows);
    }

    #[test]
    fn facts_and_tables_are_an_object() {
        let finding = Finding { kind: FindingKind::Duplicate, count: 3, example: "\"x\"".to_owned() };
        let report = Report::of(table()).fact("jaccard", 0.5).fact("findings", vec![finding]);
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((&json["jaccard"], &json["units"][0]["ap"]), (&0.5.into(), &0.1.into()));
        assert_eq!(json["findings"][0]["kind"], "duplicate");
    }

    #[test]
    fn a_table_can_stand_in_a_cell() {
        let mut outer = Table::new("samples", &["text", "units"]);
        outer.push(vec!["x".into(), table().into()]);
        let report = Report::of(outer);
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json[0]["units"][1]["index"], 2);
        assert!(report.csv().unwrap().contains(r#""[{""unit"":""h.0[1]"""#));
    }

    #[test]
    fn csv_has_the_first_table_in_full() {
        assert_eq!(Report::of(table()).csv().unwrap(), "unit,ap,index\nh.0[1],0.1,1\n\"a, \"\"b\"\"\",,2\n");
        assert_eq!(Report::default().fact("job", "job-1").fact("n", 2u32).csv().unwrap(), "job,n\njob-1,2\n");
    }
}
