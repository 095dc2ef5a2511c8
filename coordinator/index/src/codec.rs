//! How a value is sealed: format version, payload, checksum.
//!
//! The checksum covers the key as well, so that a whole value under the wrong key is found out too.

/// The format of everything in the index; a database says so in its marker, a value in its first byte.
pub(crate) const FORMAT: u8 = 1;

const CHECKSUM: usize = 4;

/// Why a stored value cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Damage {
    #[error("it is {0} bytes long, too short to be whole")]
    Short(usize),
    #[error("its checksum does not fit")]
    Checksum,
    #[error("it has format {0}, not {FORMAT}")]
    Format(u8),
    #[error("its content is malformed: {0}")]
    Content(String),
}

/// `[format: 1][payload][crc32 of key, format and payload, little-endian: 4]`.
pub(crate) fn seal(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + payload.len() + CHECKSUM);
    value.push(FORMAT);
    value.extend_from_slice(payload);
    value.extend_from_slice(&checksum(key, &value).to_le_bytes());
    value
}

/// The payload of a sealed value.
pub(crate) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Damage> {
    let Some((body, stored)) = value.split_last_chunk::<CHECKSUM>() else {
        return Err(Damage::Short(value.len()));
    };
    let Some((&format, payload)) = body.split_first() else {
        return Err(Damage::Short(value.len()));
    };
    // The checksum first: only a value that was written like this has a format to speak of.
    if checksum(key, body) != u32::from_le_bytes(*stored) {
        return Err(Damage::Checksum);
    }
    if format != FORMAT {
        return Err(Damage::Format(format));
    }
    Ok(payload)
}

/// Values as little-endian bytes.
pub(crate) fn floats_to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Appends the values that `bytes` holds; they must be `expected` many.
pub(crate) fn bytes_to_floats(bytes: &[u8], expected: usize, into: &mut Vec<f32>) -> Result<(), Damage> {
    if bytes.len() != 4 * expected {
        return Err(Damage::Content(format!("{} bytes for {expected} values", bytes.len())));
    }
    into.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    Ok(())
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_round_trip(key in prop::collection::vec(any::<u8>(), 0..40), payload in prop::collection::vec(any::<u8>(), 0..400)) {
            let sealed = seal(&key, &payload);
            prop_assert_eq!(unseal(&key, &sealed), Ok(&payload[..]));
        }

        #[test]
        fn floats_round_trip_to_the_bit(bits in prop::collection::vec(any::<u32>(), 0..100)) {
            let values: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).collect();
            let mut back = Vec::new();
            bytes_to_floats(&floats_to_bytes(&values), values.len(), &mut back).unwrap();
            prop_assert_eq!(back.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits);
        }

        #[test]
        fn no_bytes_panic_the_codec(key in prop::collection::vec(any::<u8>(), 0..20), value in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(unseal(&key, &value).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        let (key, payload) = (b"key".as_slice(), [1u8, 2, 3, 250, 0, 0]);
        let sealed = seal(key, &payload);
        for bit in 0..8 * sealed.len() {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(key, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(unseal(key, &sealed[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(unseal(b"other", &sealed), Err(Damage::Checksum));
    }

    #[test]
    fn another_format_is_named() {
        let mut value = vec![FORMAT + 1, 7];
        value.extend_from_slice(&checksum(b"k", &value).to_le_bytes());
        assert_eq!(unseal(b"k", &value), Err(Damage::Format(FORMAT + 1)));
    }
}
