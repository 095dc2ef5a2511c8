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

use super::{Expertise, Row};

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
}";

/// Writes all rows as one row group.
pub(crate) fn write(expertise: &Expertise, to: impl Write + Send) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = expertise.rows().collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("lode".to_owned())
        .set_key_value_metadata(Some(metadata(expertise)))
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
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
    pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}
