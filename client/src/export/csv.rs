//! The reference's `expertise.csv`, with one more column at the end, and behind it those that the concept was mined with beside AP.

use std::io::Write;

use super::{Expertise, of_csv};

/// Names in the reference's order; `on_mean` is ours.
const COLUMNS: [&str; 10] =
    ["ap", "off_mean", "on_p50", "on_p90", "layer", "unit", "uuid", "concept", "group", "on_mean"];

/// Writes all rows; numbers are the shortest that read back as the same f32.
pub(crate) fn write(expertise: &Expertise, to: impl Write) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    let extra = expertise.extra_fields();
    writer.write_record(COLUMNS.into_iter().chain(extra.iter().map(|field| field.name))).map_err(of_csv)?;
    let concept = &expertise.header.concept.concept;
    for row in expertise.rows() {
        let values = row.expertise;
        let more =
            extra.iter().map(|field| (field.value)(&row.extra).map(|value| value.to_string()).unwrap_or_default());
        let fields = [
            values.ap.to_string(),
            values.off_mean.to_string(),
            values.on_p50.to_string(),
            values.on_p90.to_string(),
            row.layer(),
            row.unit.to_string(),
            row.uuid.to_string(),
            concept.name().to_owned(),
            concept.group().to_owned(),
            values.on_mean.to_string(),
        ];
        writer.write_record(fields.into_iter().chain(more)).map_err(of_csv)?;
    }
    writer.flush()?;
    Ok(())
}
