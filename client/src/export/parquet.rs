//! The csv's columns as a Parquet file; where they come from stands in its key-value metadata.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

use super::{Expertise, ExtraField, Row};

const SCHEMA: &str = "message expertise {
    REQUIRED FLOAT ap;
    REQUIRED FLOAT off_mean;
    REQUIRED FLOAT on_p50;
    REQUIRED FLOAT on_p90;
    REQUIRED BYTE_ARRAY layer (UTF8);
    REQUIRED INT32 unit;
    REQUIRED INT32 uuid;
    REQUIRED BYTE_ARRAY concept (UTF8);
    REQUIRED BYTE_ARRAY group (UTF8);
    REQUIRED FLOAT on_mean;
";

/// Writes all rows as one row group; columns that the concept was mined with beside AP come last.
pub(crate) fn write(expertise: &Expertise, to: impl Write + Send) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = expertise.rows().collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("lode".to_owned())
        .set_key_value_metadata(Some(metadata(expertise)))
        .build();
    let extra = expertise.extra_fields();
    let kind = |field: &ExtraField| if field.is_whole { "REQUIRED" } else { "OPTIONAL" };
    let more: String = extra.iter().map(|field| format!("    {} FLOAT {};\n", kind(field), field.name)).collect();
    let schema = Arc::new(parse_message_type(&format!("{SCHEMA}{more}}}"))?);
    let mut file = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    let concept = &expertise.header.concept.concept;
    let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    let (name, group_name) = (text(concept.name()), text(concept.group()));
    let floats = |column: fn(&Row<'_>) -> f32| rows.iter().map(column).collect::<Vec<f32>>();

    column::<FloatType>(&mut group, &floats(|row| row.expertise.ap))?;
    column::<FloatType>(&mut group, &floats(|row| row.expertise.off_mean))?;
    column::<FloatType>(&mut group, &floats(|row| row.expertise.on_p50))?;
    column::<FloatType>(&mut group, &floats(|row| row.expertise.on_p90))?;
    column::<ByteArrayType>(&mut group, &rows.iter().map(|row| text(&row.layer())).collect::<Vec<_>>())?;
    column::<Int32Type>(&mut group, &rows.iter().map(|row| row.unit.cast_signed()).collect::<Vec<_>>())?;
    column::<Int32Type>(&mut group, &rows.iter().map(|row| row.uuid.cast_signed()).collect::<Vec<_>>())?;
    column::<ByteArrayType>(&mut group, &vec![name; rows.len()])?;
    column::<ByteArrayType>(&mut group, &vec![group_name; rows.len()])?;
    column::<FloatType>(&mut group, &floats(|row| row.expertise.on_mean))?;
    for field in extra {
        let values: Vec<Option<f32>> = rows.iter().map(|row| (field.value)(&row.extra)).collect();
        optional_column(&mut group, &values, field.is_whole)?;
    }

    group.close()?;
    file.close()?;
    Ok(())
}

/// Writes the next column of the schema.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("no column is left".to_owned()))?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

/// The next column of the schema, `REQUIRED` if it is whole, else `OPTIONAL`.
fn optional_column(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[Option<f32>],
    is_whole: bool,
) -> Result<(), ParquetError> {
    if is_whole {
        return column::<FloatType>(group, &values.iter().map(|value| value.unwrap_or_default()).collect::<Vec<_>>());
    }
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("no column is left".to_owned()))?;
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let there: Vec<f32> = values.iter().flatten().copied().collect();
    column.typed::<FloatType>().write_batch(&there, Some(&levels), None)?;
    column.close()
}

fn metadata(expertise: &Expertise) -> Vec<KeyValue> {
    let (model, indexed) = (&expertise.header.model, &expertise.header.concept);
    let header = &indexed.header;
    let pairs = [
        ("lode.model", model.name.to_string()),
        ("lode.model_hash", model.hash.to_string()),
        ("lode.family", model.family.clone()),
        ("lode.pooling", indexed.recipe.pooling.to_string()),
        ("lode.tokens", indexed.recipe.tokens.to_string()),
        ("lode.dtype", header.precision.clone()),
        ("lode.positives", header.positives.to_string()),
        ("lode.negatives", header.negatives.to_string()),
        ("lode.limit_per_class", header.limit_per_class.to_string()),
        ("lode.seed", header.seed.to_string()),
    ];
    let criteria = (!header.measures.is_plain()).then(|| ("lode.criteria", header.measures.criteria.to_string()));
    let holdout = header.measures.holdout.map(|holdout| ("lode.holdout", holdout.to_string()));
    let pairs = pairs.into_iter().chain(criteria).chain(holdout);
    pairs.map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}
